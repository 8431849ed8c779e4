"""How far generated bundles are from true ones; numpy on the host, in float64.

Energies are in GeV and radii, the distances to the shower axis, in m. The first
argument is the truth, the second the model.
"""

import dataclasses

import numpy as np
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from jaxphys.cr_muons.physics.events import Events

MIN_RADIUS_M = 0.1  # closer muons are left out where the logarithm counts
BIN_EDGES = (
    ("log10 E0", (5.0, 5.5, 6.0, 6.5)),
    ("mass", (2.0, 8.0, 20.0, 40.0)),  # GeV
    ("depth", (1400.0, 1800.0, 2200.0, 2600.0)),  # m
)
MIN_TRUE_MUONS = 200  # of a bin that is compared
FEATURES = (
    *("lg N", "max lg E", "mean lg E", "lg sum E", "mean lg r", "max r"),
    *("lg E0", "cos zenith", "mass", "depth"),
)
_TINY = 1e-6  # GeV or m, smallest argument of a logarithm


def log_energy(events: Events) -> np.ndarray:
    """Returns [M] log10 of the energies in GeV."""
    return np.log10(np.maximum(events.muons[:, 0].astype(np.float64), _TINY))


def radius(events: Events) -> np.ndarray:
    """Returns [M] distances to the shower axis in m."""
    x, y = events.muons[:, 1:].astype(np.float64).T
    return np.hypot(x, y)


def _log_radius(events):
    distance = radius(events)
    return np.log10(distance[distance > MIN_RADIUS_M])


def log_multiplicity(events: Events) -> np.ndarray:
    """Returns [N] log10 of one plus the number of muons."""
    return np.log10(1.0 + events.num_muons)


def wasserstein(truth: np.ndarray, model: np.ndarray) -> float:
    """Returns the area between two distribution functions, NaN if one is empty."""
    if not len(truth) or not len(model):
        return float("nan")
    return float(stats.wasserstein_distance(truth, model))


def summed_wasserstein(truth: Events, model: Events) -> dict[str, float]:
    """Returns the distances of N, E and r, and their sum.

    Returns:
        w1_n of log10(1 + N), w1_logE, w1_logr of r > 0.1 m, and w1_sum. A model without
        muons has NaN.
    """
    found = {
        "w1_n": wasserstein(log_multiplicity(truth), log_multiplicity(model)),
        "w1_logE": wasserstein(log_energy(truth), log_energy(model)),
        "w1_logr": wasserstein(_log_radius(truth), _log_radius(model)),
    }
    return found | {"w1_sum": sum(found.values())}


def empty_fraction(events: Events) -> float:
    """Returns the fraction of events without muons."""
    return float(np.mean(events.num_muons == 0))


def energy_radius_correlation(events: Events) -> float:
    """Returns the linear correlation of lg E and lg r, of r > 0.1 m."""
    distance = radius(events)
    far = distance > MIN_RADIUS_M
    if far.sum() < 2:
        return float("nan")
    pair = np.stack([log_energy(events)[far], np.log10(distance[far])])
    if not pair.std(axis=1).all():
        return float("nan")
    return float(np.corrcoef(pair)[0, 1])


def isotropy_p_value(events: Events) -> float:
    """Returns the Kolmogorov-Smirnov p-value of uniform angles around the axis."""
    if not len(events.muons):
        return float("nan")
    x, y = events.muons[:, 1:].astype(np.float64).T
    turns = np.arctan2(y, x) / (2 * np.pi) + 0.5
    return float(stats.kstest(turns, "uniform").pvalue)


@dataclasses.dataclass(frozen=True, eq=False)
class YieldRatios:
    """Mean number of muons, model over truth, in bins of the condition.

    Attributes:
        ratio: [5, 5, 5] over log10 E0, mass and depth; NaN where there are few muons.
        true_muons: [5, 5, 5] number of true muons of a bin.
        model_muons: [5, 5, 5].
    """

    ratio: np.ndarray
    true_muons: np.ndarray
    model_muons: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """The absolute differences from 1 of all bins with a ratio."""
        return np.abs(self.ratio[np.isfinite(self.ratio)] - 1)


def condition_bins(primaries: np.ndarray) -> np.ndarray:
    """Returns [N, 3] the bin of `BIN_EDGES` that an event is in, 0 to 4 each."""
    primaries = np.asarray(primaries, np.float64)
    values = (np.log10(primaries[:, 0]), primaries[:, 2], primaries[:, 3])
    bins = [np.digitize(v, e) for v, (_, e) in zip(values, BIN_EDGES, strict=True)]
    return np.stack(bins, axis=1)


def yield_ratios(truth: Events, model: Events) -> YieldRatios:
    """Compares mean numbers of muons in bins of energy, mass and depth."""
    shape = tuple(len(edges) + 1 for _, edges in BIN_EDGES)

    def sums(events):
        flat = np.ravel_multi_index(tuple(condition_bins(events.primaries).T), shape)
        size = int(np.prod(shape))
        count = np.bincount(flat, minlength=size)
        muons = np.bincount(flat, weights=events.num_muons, minlength=size)
        return count.reshape(shape), muons.reshape(shape)

    (true_events, true_muons), (model_events, model_muons) = sums(truth), sums(model)
    compared = (true_muons >= MIN_TRUE_MUONS) & (model_events > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (model_muons / model_events) / (true_muons / true_events)
    return YieldRatios(np.where(compared, ratio, np.nan), true_muons, model_muons)


def event_features(events: Events) -> np.ndarray:
    """Returns [K, 10] the `FEATURES` of the K events that have muons."""
    filled = np.flatnonzero(events.num_muons > 0)
    count = events.num_muons[filled].astype(np.float64)
    first = events.offsets[filled]
    energy, distance = log_energy(events), radius(events)
    log_distance = np.log10(np.maximum(distance, _TINY))
    primaries = events.primaries[filled].astype(np.float64)
    if not len(filled):
        return np.zeros((0, len(FEATURES)))
    return np.stack(
        [
            np.log10(count),
            np.maximum.reduceat(energy, first),
            np.add.reduceat(energy, first) / count,
            np.log10(np.add.reduceat(10.0**energy, first)),
            np.add.reduceat(log_distance, first) / count,
            np.maximum.reduceat(distance, first),
            np.log10(primaries[:, 0]),
            np.cos(primaries[:, 1]),
            primaries[:, 2],
            primaries[:, 3],
        ],
        axis=1,
    )


def classifier_auc(truth: Events, model: Events, seed: int = 0) -> float:
    """Returns how well boosted trees tell generated from true bundles.

    One half of the events with muons trains the trees and the other tests them: 0.5
    means that they cannot be told apart. All events of a primary, true and generated,
    are in the same half, so that no shower is recognised by its condition.

    Args:
        truth: True events.
        model: Generated events.
        seed: Of the split and the trees.
    """
    found = [event_features(events) for events in (truth, model)]
    if min(map(len, found)) < 2:
        return float("nan")
    features = np.concatenate(found)
    label = np.repeat([0, 1], [len(f) for f in found])
    primaries = [e.primaries[e.num_muons > 0] for e in (truth, model)]
    train = half_of_showers(np.concatenate(primaries), seed)
    if min(np.bincount(label[part], minlength=2).min() for part in (train, ~train)) < 2:
        return float("nan")
    trees = HistGradientBoostingClassifier(random_state=seed)
    with threadpool_limits(1):  # many threads on a busy machine took 30 times as long
        trees.fit(features[train], label[train])
        scores = trees.predict_proba(features[~train])[:, 1]
    return float(roc_auc_score(label[~train], scores))


def half_of_showers(primaries: np.ndarray, seed: int) -> np.ndarray:
    """Returns [N] bool, a random half of the primaries with all their depths."""
    rows = np.ascontiguousarray(primaries[:, :3], np.float32)
    names = rows.view(np.dtype((np.void, rows.itemsize * 3))).reshape(-1)
    found, number = np.unique(names, return_inverse=True)
    return (np.random.default_rng(seed).random(len(found)) < 0.5)[number.reshape(-1)]
