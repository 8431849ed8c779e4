"""Whether a cut on the score changes the shape of the dijet mass of the background."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

CUTS = (0.10, 0.05, 0.01)
_ONE_SIGMA = 1.0


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float | None:
    """Returns Spearman's rank correlation over pairs that are finite.

    None with fewer than three pairs or where one side is constant.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    keep = np.isfinite(a) & np.isfinite(b)
    first, second = _ranks(a[keep]), _ranks(b[keep])
    if keep.sum() < 3 or not np.ptp(first) or not np.ptp(second):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the rank of each value [E]; ties share their mean."""
    _, level, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[level]


@dataclasses.dataclass(frozen=True, eq=False)
class Sculpting:
    """The dijet mass before and after cuts on the score.

    Attributes:
        edges: [B + 1] GeV.
        before: [B] events per bin.
        after: fraction kept -> [B] events per bin.
        kept: fraction asked for -> events that pass (more where scores are equal).
        mean: mean mjj by fraction kept, GeV; without a cut under 1.0.
        total: events with a finite mass.
    """

    edges: np.ndarray
    before: np.ndarray
    after: Mapping[float, np.ndarray]
    kept: Mapping[float, int]
    mean: Mapping[float, float]
    total: int

    def ratio(self, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns normalised after / before [B] and its error [2, B].

        It is the efficiency of the cut in a bin over that in all; the errors are the
        Wilson interval of the efficiency. NaN where there was no event.
        """
        n, k = self.before.astype(np.float64), self.after[fraction]
        n = np.where(n > 0, n, np.nan)
        p, z2 = k / n, _ONE_SIGMA**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
        overall = self.kept[fraction] / self.total
        error = np.stack([p - (middle - half), middle + half - p])
        return p / overall, np.maximum(error, 0) / overall


def mass_sculpting(
    mjj: ArrayLike,
    score: ArrayLike,
    fractions: Sequence[float] = CUTS,
    bins: int = 20,
) -> Sculpting | None:
    """Returns the spectrum of mjj before and after cuts that keep fractions of events.

    Args:
        mjj: [E] GeV; events without a finite mass are left out.
        score: [E].
        fractions: of the events that the cuts keep.
        bins: between the 0.5 % and 99.5 % quantiles of the mass; fewer where there are
            fewer than 50 events for each.

    Returns:
        None with fewer than 10 events or where all masses are equal.
    """
    mjj, score = np.asarray(mjj, np.float64), np.asarray(score, np.float64)
    keep = np.isfinite(mjj)
    mjj, score = mjj[keep], score[keep]
    if len(mjj) < 10 or np.ptp(mjj) == 0:
        return None
    low, high = np.quantile(mjj, [0.005, 0.995])
    edges = np.linspace(low, high, int(np.clip(len(mjj) // 50, 4, bins)) + 1)
    falling = np.sort(score)[::-1]
    after, kept, mean = {}, {}, {1.0: float(mjj.mean())}
    for fraction in fractions:
        threshold = falling[max(round(fraction * len(mjj)), 1) - 1]
        passing = mjj[score >= threshold]
        after[fraction] = np.histogram(passing, edges)[0]
        kept[fraction], mean[fraction] = len(passing), float(passing.mean())
    before = np.histogram(mjj, edges)[0]
    return Sculpting(edges, before, after, kept, mean, len(mjj))
