"""Packs events into parts of static shape: so many events, so many muons.

Events are taken in order until the places for events or for muons are used up; what
does not fit opens the next part, so that no event is lost and none is seen twice.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from jaxphys.cr_muons.physics.events import Events, ragged_rows

MOST_BUCKETS = 4
HEADROOM = 1.25  # of the mean number of muons
MEASURED_BATCHES = 64  # that the mean is taken from
_ROUND_UP = 256
_RARE = 0.01  # parts that may need more than the common bucket
Array = np.ndarray


def choose_budget(
    num_muons: np.ndarray,
    batch_size: int,
    parts: int = 1,
    budget: int = 0,
    most: int | None = None,
) -> int:
    """Returns the places for muons of one part.

    Args:
        num_muons: [N] muons of the events in the order they are read.
        batch_size: Events of a batch.
        parts: Parts of a batch.
        budget: Muons of a batch; 0: the next power of two above 1.25 times what
            batch_size events have on average in the first 64 batches, and more than
            the largest event has.
        most: Muons of the largest event; None: of `num_muons`.

    Raises:
        ValueError: If the largest event does not fit.
    """
    if most is None:
        most = int(num_muons.max()) if len(num_muons) else 0
    if budget:
        if budget < 0 or budget % parts:
            raise ValueError(
                f"muon_budget (global): expected a multiple of the {parts} parts, got "
                f"{budget}"
            )
        if most > budget // parts:
            raise ValueError(
                f"muon_budget: {budget} in {parts} parts leaves {budget // parts} "
                f"places, but an event has {most} muons: expected at least "
                f"{most * parts}, or max_muons_per_event below {budget // parts + 1}"
            )
        return budget // parts
    measured = num_muons[: MEASURED_BATCHES * batch_size]
    mean = float(measured.mean()) if len(measured) else 0.0
    per_part = HEADROOM * batch_size // parts * mean
    return power_of_two(max(int(np.ceil(per_part)), most + 1, 1))


def power_of_two(number: int) -> int:
    """Returns the least power of two that is not below a number."""
    return 1 << max(number - 1, 0).bit_length()


def plan_parts(blocks: Iterable[Array], events: int, muons: int) -> tuple[Array, Array]:
    """Finds where each part of an epoch begins.

    Args:
        blocks: Muons of the events in the order of the epoch, block by block.
        events: Most events of a part.
        muons: Most muons of a part; no event may have more.

    Returns:
        (edges [P + 1] int64, the first event of each part, then the events of the
        epoch; needed [P] int64, muons of each part).
    """
    edges, needed, first = [0], [], 0
    left = np.zeros(0, np.int64)  # counts of the part that is still open
    for block in blocks:
        counts = np.concatenate([left, block])
        total = np.cumsum(counts, dtype=np.int64)
        start, before, size = 0, 0, len(counts)
        while start < size:
            fits = int(np.searchsorted(total, before + muons, side="right"))
            stop = min(fits, start + events)
            if stop >= size and stop < start + events:
                break  # more events may come
            if stop == start:
                raise ValueError(
                    f"muon budget: an event has {counts[start]} muons, expected at "
                    f"most {muons}"
                )
            start = stop
            edges.append(first + stop)
            needed.append(int(total[stop - 1]) - before)
            before = int(total[stop - 1])
        left, first = counts[start:], first + start
    if len(left):
        edges.append(first + len(left))
        needed.append(int(left.sum(dtype=np.int64)))
    return np.asarray(edges, np.int64), np.asarray(needed, np.int64)


def choose_buckets(needed: np.ndarray, muons: int) -> tuple[int, ...]:
    """Returns the places for muons that parts are padded to, ascending, at most 4.

    Most parts need about the same; one bucket holds 99 % of them, and the last is the
    budget. A bucket that saves less than a tenth is left out.

    Args:
        needed: [P] muons of parts.
        muons: The budget.
    """
    if not len(needed):
        return (muons,)
    common = float(np.quantile(needed, 1 - _RARE, method="higher"))
    common = -(-int(common * 1.02 + 1) // _ROUND_UP) * _ROUND_UP
    return (common, muons) if common <= 0.9 * muons else (muons,)


@dataclasses.dataclass(frozen=True)
class Packed:
    """Parts to fill: arrays with a leading axis of D parts.

    Attributes:
        arrays: What the step sees, see `jaxphys.cr_muons.batches.batches`.
    """

    arrays: dict[str, Array]

    @staticmethod
    def empty(parts: int, events: int, muons: int) -> "Packed":
        """Returns parts of padding alone."""
        padding = np.zeros((parts, muons, 3), np.float32)
        padding[:, :, 0] = 1.0  # GeV, so that its logarithm is finite
        primaries = np.zeros((parts, events, 4), np.float32)
        primaries[:, :, [0, 2]] = 1.0  # GeV, the same
        return Packed(
            {
                "primaries": primaries,
                "num_muons": np.zeros((parts, events), np.int32),
                "muons": padding,
                "muon_event": np.full((parts, muons), events, np.int32),
                "event_mask": np.zeros((parts, events), np.float32),
            }
        )

    def fill(
        self, part: int, pieces: Iterable[tuple[Events, Array | slice]]
    ) -> tuple[int, int]:
        """Copies events into a part.

        Args:
            part: Which one.
            pieces: (events, positions of those to take), one after the other.

        Returns:
            (events, muons) of the part.
        """
        arrays = self.arrays
        event, muon = 0, 0
        for events, positions in pieces:
            if isinstance(positions, slice):
                chosen = events.rows(positions.start, positions.stop)
                last, stop = event + len(chosen), muon + len(chosen.muons)
                arrays["num_muons"][part, event:last] = chosen.num_muons
                arrays["primaries"][part, event:last] = chosen.primaries
                arrays["muons"][part, muon:stop] = chosen.muons
            else:
                rows = ragged_rows(events.offsets, positions)
                last, stop = event + len(positions), muon + len(rows)
                arrays["num_muons"][part, event:last] = events.num_muons[positions]
                # indices are in range; with "raise" numpy would copy through a buffer
                primaries = arrays["primaries"][part, event:last]
                np.take(events.primaries, positions, 0, primaries, mode="clip")
                muons = arrays["muons"][part, muon:stop]
                np.take(events.muons, rows, 0, muons, mode="clip")
            event, muon = last, stop
        numbers = np.arange(event, dtype=np.int32)
        arrays["muon_event"][part, :muon] = np.repeat(
            numbers, arrays["num_muons"][part, :event]
        )
        arrays["event_mask"][part, :event] = 1
        return event, muon
