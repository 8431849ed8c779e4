"""Fluctuations of the number of muons at fixed condition.

The Fano factor is the variance over the mean: 1 for Poisson numbers, 0 for a model
that gives every condition one number.
"""

import dataclasses

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from jaxphys.cr_muons.analysis.metrics import half_of_showers
from jaxphys.cr_muons.physics.events import Events

LARGE_MEAN = 10.0  # true muons a condition, from which the median is taken
_EDGES = (2.0, 5.0, 10.0, 20.0, 40.0, 100.0)  # of the predicted mean
_MIN_EVENTS = 20  # of a bin


@dataclasses.dataclass(frozen=True, eq=False)
class Replicas:
    """Numbers of muons of independent events with the same conditions.

    Attributes:
        primaries: [C, 4] conditions.
        num_muons: [C, R] numbers in R events each.
    """

    primaries: np.ndarray
    num_muons: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """[C] mean number of muons."""
        return self.num_muons.mean(axis=1, dtype=np.float64)

    @property
    def fano(self) -> np.ndarray:
        """[C] variance over mean, 0 where there is no muon."""
        variance = self.num_muons.astype(np.float64).var(axis=1, ddof=1)
        mean = self.mean
        return np.where(mean > 0, variance / np.where(mean > 0, mean, 1.0), 0.0)


def repeat_primaries(primaries: np.ndarray, replicas: int) -> np.ndarray:
    """Returns [C * R, 4], every row R times in a row."""
    return np.repeat(np.asarray(primaries, np.float32), replicas, axis=0)


def replicas_of(events: Events, replicas: int) -> Replicas:
    """Returns the numbers of muons of events of `repeat_primaries`."""
    if len(events) % replicas:
        raise ValueError(
            f"replicas_of: expected a multiple of {replicas} events, got {len(events)}"
        )
    return Replicas(
        events.primaries[::replicas], events.num_muons.reshape(-1, replicas)
    )


def fano_ratios(truth: Replicas, model: Replicas) -> dict[str, float]:
    """Compares Fano factors condition by condition.

    Returns:
        fano_pooled, the sum of the model's factors over that of the truth, and
        fano_median, the median ratio over the conditions with more than 10 muons.
    """
    if len(truth.num_muons) != len(model.num_muons):
        raise ValueError(
            f"fano_ratios: expected {len(truth.num_muons)} conditions, got "
            f"{len(model.num_muons)}"
        )
    large = (truth.mean > LARGE_MEAN) & (truth.fano > 0)
    ratio = model.fano[large] / truth.fano[large]
    return {
        "fano_pooled": float(model.fano.sum() / truth.fano.sum()),
        "fano_median": float(np.median(ratio)) if len(ratio) else float("nan"),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class RegressionFano:
    """Fano factors about a regression of the mean, for data without replicas.

    Attributes:
        edges: [B + 1] limits of the predicted mean.
        truth: [B] sum of (N - mean) ** 2 over the sum of the mean, NaN in a bin with
            few events.
        model: [B] the same of the model, about the same regression.
        events: [B] number of true events of a bin.
    """

    edges: tuple[float, ...]
    truth: np.ndarray
    model: np.ndarray
    events: np.ndarray

    def ratios(self) -> dict[str, float]:
        """Returns fano_pooled over events, and fano_median of bins with mean > 10."""
        known = np.isfinite(self.truth) & np.isfinite(self.model) & (self.truth > 0)
        large = known & (np.array(self.edges[:-1]) >= LARGE_MEAN)
        ratio = self.model[large] / self.truth[large]
        sums = [(f[known] * self.events[known]).sum() for f in (self.model, self.truth)]
        return {
            "fano_pooled": float(sums[0] / sums[1]) if known.any() else float("nan"),
            "fano_median": float(np.median(ratio)) if len(ratio) else float("nan"),
        }


def regression_fano(
    truth: Events, model: Events, further: Events | None = None, seed: int = 0
) -> RegressionFano:
    """Returns Fano factors in bins of a mean that boosted trees learn from the truth.

    Args:
        truth: True events.
        model: Generated events.
        further: True events of other showers, which train the trees; None trains them
            with one half of the primaries of `truth` and takes the factors of the
            other half.
        seed: Of the trees and the halves.
    """
    size = len(_EDGES) - 1
    if further is None:
        half = half_of_showers(truth.primaries, seed)
        truth, further = truth.select(~half), truth.select(half)
    if not len(truth) or not further.num_muons.any():
        unknown = np.full(size, np.nan)
        return RegressionFano(_EDGES, unknown, unknown, np.zeros(size, np.int64))
    trees = HistGradientBoostingRegressor(loss="poisson", random_state=seed)
    with threadpool_limits(1):
        trees.fit(_inputs(further.primaries), further.num_muons)

    def factors(events):
        with threadpool_limits(1):
            mean = trees.predict(_inputs(events.primaries))
        place = np.digitize(mean, _EDGES)
        squares, means, count = (
            np.bincount(place, weights, size + 2)[1:-1]
            for weights in ((events.num_muons - mean) ** 2, mean, None)
        )
        enough = count >= _MIN_EVENTS
        return np.where(enough, squares / np.where(enough, means, 1.0), np.nan), count

    true, count = factors(truth)
    return RegressionFano(_EDGES, true, factors(model)[0], count)


def _inputs(primaries):
    primaries = np.asarray(primaries, np.float64)
    return np.stack(
        [
            np.log10(primaries[:, 0]),
            np.cos(primaries[:, 1]),
            np.log10(primaries[:, 2]),
            primaries[:, 3],
        ],
        axis=1,
    )
