"""Which events of a data set are trained on, by their number of muons alone."""

import dataclasses

import numpy as np

from jaxphys.cr_muons.data.splits import splitmix64


@dataclasses.dataclass(frozen=True)
class Filters:
    """Rules that take events out; 0 is off.

    Attributes:
        drop_empty: Leave out events without muons.
        max_muons_per_event: Events with more are outliers.
        max_muons_per_batch: The same, where max_muons_per_event is 0: such an event
            would not fit a batch.
        thin_above: Keep an event of N muons with probability thin_above / N, so that
            few large events do not hold most of the muons.
    """

    drop_empty: bool = False
    max_muons_per_event: int = 0
    max_muons_per_batch: int = 0
    thin_above: int = 0

    def __post_init__(self) -> None:
        for name in ("thin_above", "max_muons_per_event", "max_muons_per_batch"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name}: expected >= 0 (0: off), got {getattr(self, name)}"
                )

    @property
    def outlier_limit(self) -> int:
        """The most muons of an event that is no outlier; 0: any number."""
        return self.max_muons_per_event or self.max_muons_per_batch

    def outliers(self, num_muons: np.ndarray) -> np.ndarray:
        """Returns [N] bool, events with too many muons."""
        limit = self.outlier_limit
        return num_muons > limit if limit else np.zeros(len(num_muons), bool)

    def kept(self, num_muons: np.ndarray) -> np.ndarray:
        """Returns [N] bool, events to train on; the same in every call."""
        kept = ~self.outliers(num_muons)
        if self.thin_above:
            rows = np.arange(len(num_muons), dtype=np.uint64)
            lot = splitmix64(rows) / 2.0**64
            kept &= lot * np.maximum(num_muons, 1) < self.thin_above
        return kept & (num_muons > 0) if self.drop_empty else kept
