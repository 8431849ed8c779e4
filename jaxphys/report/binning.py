"""Statistics in bins, with their sampling errors."""

import dataclasses

import numpy as np


def log_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Returns bin edges [bins + 1] with equal ratios from low to high."""
    return np.geomspace(low, high, bins + 1)


@dataclasses.dataclass(frozen=True)
class Profile:
    """A statistic of y in bins of x, each array [B].

    Attributes:
        low: lower bin edges.
        high: upper bin edges.
        value: the statistic; NaN in bins with fewer entries than asked for.
        error: lower and upper error of the value [2, B].
        count: entries per bin.
    """

    low: np.ndarray
    high: np.ndarray
    value: np.ndarray
    error: np.ndarray
    count: np.ndarray


def bin_profile(
    x, y, edges, statistic: str | float = "mean", min_count: int = 2
) -> Profile:
    """Returns a statistic of y in bins [low, high) of x with its sampling error.

    Args:
        x: positions [N].
        y: values [N]; those that are not finite are left out.
        edges: bin edges [B + 1].
        statistic: "mean" (error: standard error) or a quantile between 0 and 1
            (error: the order statistics one binomial standard deviation away).
        min_count: entries below which a bin has no value.

    Returns:
        The profile.
    """
    edges = np.asarray(edges, np.float64)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    bins = len(edges) - 1
    index = np.searchsorted(edges, x, side="right") - 1
    value, error = np.full(bins, np.nan), np.full((2, bins), np.nan)
    count = np.bincount(index[(index >= 0) & (index < bins)], minlength=bins)
    for b in np.flatnonzero(count >= min_count):
        value[b], error[:, b] = _statistic(y[index == b], statistic)
    return Profile(edges[:-1], edges[1:], value, error, count)


def _statistic(y: np.ndarray, statistic: str | float) -> tuple[float, np.ndarray]:
    if statistic == "mean":
        return y.mean(), np.full(2, y.std(ddof=1) / np.sqrt(y.size))
    q = float(statistic)
    spread = np.sqrt(q * (1 - q) / y.size)
    low, middle, high = np.quantile(y, np.clip([q - spread, q, q + spread], 0, 1))
    return middle, np.array([middle - low, high - middle])
