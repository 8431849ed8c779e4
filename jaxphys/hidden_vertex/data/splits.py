"""Training, validation and test events; no signal in training unless asked for."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Positions of events in a data set.

    Attributes:
        train: [n] background (and `num_contaminating` signal events, asked for).
        val: [n] background.
        test_background: [n].
        test_signal: [n] every signal event that is not in `train`, ascending.
        num_contaminating: Signal events in `train`.
    """

    train: np.ndarray
    val: np.ndarray
    test_background: np.ndarray
    test_signal: np.ndarray
    num_contaminating: int = 0

    @property
    def test(self) -> np.ndarray:
        """Returns the test events: background, then signal."""
        return np.concatenate([self.test_background, self.test_signal])


def split_events(
    label: np.ndarray,
    seed: int = 42,
    train_ratio: float = 0.7,
    val_ratio: float = 0.15,
    subset_size: int = 0,
    max_train_events: int = 0,
    contamination: float = 0.0,
    event_id: np.ndarray | None = None,
) -> Split:
    """Splits a labelled data set: background 70 / 15 / 15 %, all signal to the test.

    Args:
        label: [E] 0 background, 1 signal.
        seed: Of the shuffle of the background (legacy numpy RandomState).
        train_ratio: Part of the background for training.
        val_ratio: Part of the background for validation.
        subset_size: Keep the training events whose row in the file is below this; 0
            keeps all.
        max_train_events: Keep this many of the shuffled training events; 0 keeps all.
        contamination: Fraction of signal in training, on purpose.
        event_id: [E] rows in the file; None: the positions.

    Returns:
        Positions in `label`; train and val are checked for signal.

    Raises:
        ValueError: If a label is not 0 or 1, the ratios or the numbers are out of
            range, or there is too little signal for the contamination.
    """
    label = _checked(label)
    # 0.7 + 0.2 is a little below 0.9: the sum is meant in decimals
    until_val = round(train_ratio + val_ratio, 12)
    if not (0 < train_ratio < 1 and val_ratio >= 0 and until_val <= 1):
        raise ValueError(
            "train_ratio, val_ratio: expected a positive training part and a sum of at "
            f"most 1, got {train_ratio} and {val_ratio}"
        )
    if subset_size < 0 or max_train_events < 0 or not 0 <= contamination < 1:
        raise ValueError(
            "subset_size, max_train_events, contamination: expected >= 0, >= 0 and in "
            f"[0, 1), got {subset_size}, {max_train_events}, {contamination}"
        )
    background = np.flatnonzero(label == 0)
    random = np.random.RandomState(seed)
    random.shuffle(background)
    first = int(train_ratio * len(background))
    second = int(until_val * len(background))
    train = background[:first]
    if subset_size:
        rows = train if event_id is None else np.asarray(event_id)[train]
        train = train[rows < subset_size]
    if max_train_events:
        train = train[:max_train_events]
    signal = np.flatnonzero(label == 1)
    train, signal, mixed = _contaminate(train, signal, contamination, random)
    split = Split(train, background[first:second], background[second:], signal, mixed)
    check_split(split, label, event_id)
    return split


def split_quotas(
    label: np.ndarray,
    train_target: int,
    test_bg_target: int,
    test_sig_target: int,
    event_id: np.ndarray | None = None,
) -> Split:
    """Splits in file order: training, then test quotas; there is no validation part.

    Args:
        label: [E] 0 background, 1 signal.
        train_target: Background events for training, the first of the file.
        test_bg_target: Background events for the test, the next ones.
        test_sig_target: Signal events for the test, the first of the file.
        event_id: [E] rows in the file; None: the positions.

    Raises:
        ValueError: If a quota cannot be met.
    """
    label = _checked(label)
    background, signal = np.flatnonzero(label == 0), np.flatnonzero(label == 1)
    quotas = {
        "train_target": (train_target, len(background)),
        "test_bg_target": (test_bg_target, len(background) - train_target),
        "test_sig_target": (test_sig_target, len(signal)),
    }
    for name, (asked, there) in quotas.items():
        if not 0 <= asked <= there:
            raise ValueError(f"{name}: asked for {asked} events, there are {there}")
    stop = train_target + test_bg_target
    split = Split(
        background[:train_target],
        background[:0],
        background[train_target:stop],
        signal[:test_sig_target],
    )
    check_split(split, label, event_id)
    return split


def check_split(
    split: Split, label: np.ndarray, event_id: np.ndarray | None = None
) -> dict[str, str]:
    """Looks at every label of train and val.

    Args:
        split: The events.
        label: [E] of the data set.
        event_id: [E] rows in the file; None: the positions.

    Returns:
        A line per part: its size and "clean", or the contamination that was asked for.

    Raises:
        ValueError: If there is signal in train or val that was not asked for; names
            its number and first rows.
    """
    lines = {}
    allowed = {"train": split.num_contaminating, "val": 0}
    for name, count in allowed.items():
        positions = getattr(split, name)
        check_contamination(name, positions, label, event_id, count)
        state = f"{count} signal events on purpose" if count else "clean"
        lines[name] = f"{len(positions):,} events, {state}"
    lines["test"] = (
        f"{len(split.test_background):,} background, {len(split.test_signal):,} signal"
    )
    return lines


def check_contamination(
    name: str,
    positions: np.ndarray,
    label: np.ndarray,
    event_id: np.ndarray | None = None,
    allowed: int = 0,
) -> None:
    """Raises ValueError unless exactly `allowed` of the events are not background.

    Args:
        name: Of the part, for the message.
        positions: [n] events in the data set.
        label: [E] of the data set.
        event_id: [E] rows in the file; None: the positions.
        allowed: Number of signal events that were asked for.
    """
    bad = positions[np.asarray(label)[positions] != 0]
    if len(bad) == allowed:
        return
    rows = bad if event_id is None else np.asarray(event_id)[bad]
    raise ValueError(
        f"{name}: expected {allowed} events with a label other than 0, got {len(bad)} "
        f"of {len(positions)}; first rows: {', '.join(map(str, rows[:5].tolist()))}"
    )


def _contaminate(train, signal, fraction, random):
    """Returns training events with signal mixed in, the rest of the signal, the count.

    What is trained on is no test event any more.
    """
    count = round(len(train) * fraction / (1 - fraction))
    if not count:
        return train, signal, 0
    if count > len(signal):
        raise ValueError(
            f"contamination={fraction}: needs {count} signal events, there are "
            f"{len(signal)}"
        )
    chosen = random.choice(signal, count, replace=False)
    mixed = np.concatenate([train, chosen])
    random.shuffle(mixed)
    return mixed, np.setdiff1d(signal, chosen), count


def _checked(label):
    label = np.asarray(label)
    bad = np.flatnonzero((label != 0) & (label != 1))
    if label.ndim != 1 or len(bad):
        got = f"{label[bad[0]]} at {bad[0]}" if label.ndim == 1 else str(label.shape)
        raise ValueError(f"label: expected [E] of 0 and 1, got {got}")
    return label
