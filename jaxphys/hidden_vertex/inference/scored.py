"""Events with their scores and all that is known about them."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Test events with all that is known about them, one entry per event.

    Attributes:
        label: [E] int8, 0 background, 1 signal; None where there is none.
        event_id: [E] int64, row of the source file.
        scores: name -> [E]; the higher, the more anomalous.
        headline: the score that leads.
        code: [E, J, L], J codes of width L per event; None where there is none.
        size: [E] number of particles.
        observables: name -> [E]: n, mean_log_pt, mjj, and pt, eta, phi, m, maybe tau21
            of the two jets (pt1, ..., tau21_2); masses and pT in GeV.
    """

    label: np.ndarray | None
    event_id: np.ndarray
    scores: Mapping[str, np.ndarray]
    headline: str
    code: np.ndarray | None
    size: np.ndarray
    observables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.headline not in self.scores:
            raise ValueError(
                f"headline: expected one of {sorted(self.scores)}, got "
                f"{self.headline!r}"
            )
        entries = {
            "label": self.label,
            "code": self.code,
            "size": self.size,
            **{f"scores[{name!r}]": s for name, s in self.scores.items()},
            **{f"observables[{name!r}]": o for name, o in self.observables.items()},
        }
        for name, values in entries.items():
            if values is not None and len(values) != len(self):
                raise ValueError(
                    f"{name}: expected one entry for each of {len(self)} events, got "
                    f"{len(values)}"
                )
        for name, score in self.scores.items():
            bad = np.flatnonzero(~np.isfinite(score))
            if len(bad):
                raise ValueError(
                    f"scores[{name!r}], event {self.event_id[bad[0]]}: expected a "
                    f"finite number, got {score[bad[0]]} ({len(bad)} such events)"
                )

    def __len__(self):
        return len(self.event_id)

    @property
    def score(self) -> np.ndarray:
        """The leading score, [E] float64."""
        return np.asarray(self.scores[self.headline], np.float64)

    @property
    def has_both(self) -> bool:
        """Whether there are labels of background and of signal."""
        return self.label is not None and len(np.unique(np.asarray(self.label) > 0)) > 1

    @property
    def background(self) -> np.ndarray:
        """Which events are background [E]; without labels all of them."""
        if self.label is None:
            return np.ones(len(self), bool)
        return np.asarray(self.label) == 0

    @property
    def counts(self) -> dict[str, int]:
        """The number of events, and of each kind where there are labels."""
        if self.label is None:
            return {"events": len(self)}
        background = int(self.background.sum())
        return {
            "events": len(self),
            "background": background,
            "signal": len(self) - background,
        }


def with_background(signal: Scored, other: Scored) -> Scored:
    """Returns signal events and the background of another sample.

    Args:
        signal: events without background.
        other: its background is taken.
    """
    chosen = np.flatnonzero(other.background)

    def join(a, b):
        return np.concatenate([a, np.asarray(b)[chosen]])

    return dataclasses.replace(
        signal,
        label=join(signal.label, other.label),
        event_id=join(signal.event_id, other.event_id),
        scores={k: join(v, other.scores[k]) for k, v in signal.scores.items()},
        code=join(signal.code, other.code),
        size=join(signal.size, other.size),
        observables={
            k: join(v, other.observables[k]) for k, v in signal.observables.items()
        },
    )
