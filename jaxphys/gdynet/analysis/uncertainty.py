"""Errors of timescales and of the Chapman-Kolmogorov test, and the lag to choose."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxphys.gdynet.analysis.koopman import (
    EPSILON,
    PairSums,
    Predictions,
    block_sums,
    chapman_kolmogorov_of_sums,
    implied_timescales,
    pair_sums,
    timescales_of_sums,
    trajectories,
)

METHODS = ("bootstrap", "split")
Lags = Sequence[int] | np.ndarray
# so many whole trajectories are enough to resample them
_WHOLE = 10


class Timescales(NamedTuple):
    """Implied timescales with a 95 % interval, the shortest process first.

    Attributes:
      mean: [S - 1, lags].
      lower: [S - 1, lags].
      upper: [S - 1, lags].
    """

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def blocks(predictions: Predictions, lag: int) -> list[tuple[int, int, int]]:
    """Returns what is resampled: (trajectory, first frame, last frame + 1).

    Whole trajectories where there are ten or more, else pieces of max(10 lag, F / 50)
    frames of each.
    """
    found = trajectories(predictions)
    if len(found) >= _WHOLE:
        return [(index, 0, len(p)) for index, p in enumerate(found)]
    pieces = []
    for index, p in enumerate(found):
        length = max(10 * lag, len(p) // 50)
        count = max(1, len(p) // length)
        edges = np.linspace(0, len(p), count + 1).astype(int)
        pieces += [(index, int(a), int(b)) for a, b in itertools.pairwise(edges)]
    return pieces


def _draws(size: int, count: int, seed: int) -> np.ndarray:
    """Returns how often each block is drawn, [count, blocks]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(size, np.full(size, 1 / size), size=count)


def _drawn(sums: PairSums, times: np.ndarray) -> PairSums:
    return PairSums(*(np.tensordot(times, a, 1) for a in sums))


def _interval(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % interval over axis 0; NaN where fewer than half are numbers."""
    enough = np.mean(np.isfinite(logs), axis=0) >= 0.5
    filled = np.where(enough[None], logs, 0.0)
    lower, upper = np.exp(np.nanpercentile(filled, (2.5, 97.5), axis=0))
    return np.where(enough, lower, np.nan), np.where(enough, upper, np.nan)


def bootstrap(
    predictions: Predictions,
    lags: Lags,
    model_lag: int,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
    epsilon: float = EPSILON,
    estimator: str = "plain",
    time_unit: float = 1.0,
) -> Timescales:
    """Returns implied timescales of all data and their bootstrap intervals.

    Blocks are drawn with all their targets, since those of one frame are correlated.

    Args:
      predictions: probabilities.
      lags: in frames.
      model_lag: lag of the training, in frames; it sets the length of blocks.
      n_bootstrap: number of samples.
      seed: of the draws.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `koopman.operator_of_sums`.
      time_unit: duration of a frame.

    Raises:
      ValueError: the data are too short for two blocks.
    """
    found = trajectories(predictions)
    pieces = _two_or_more(found, model_lag)
    draws = _draws(len(pieces), n_bootstrap, seed)
    mean, logs = [], []
    for lag in lags:
        pair_sums(found, int(lag))  # says which lag is too long
        sums = block_sums(found, int(lag), pieces)
        options = (lag * time_unit, epsilon, estimator)
        every = _drawn(sums, np.ones(len(pieces)))
        mean.append(timescales_of_sums(every, *options))
        times = [timescales_of_sums(_drawn(sums, t), *options) for t in draws]
        logs.append(np.log(times))
    lower, upper = _interval(np.stack(logs, axis=-1))
    return Timescales(np.stack(mean, axis=1), lower, upper)


def _two_or_more(found: list[np.ndarray], lag: int) -> list[tuple[int, int, int]]:
    pieces = blocks(found, lag)
    if len(pieces) < 2:
        raise ValueError(
            f"bootstrap: {len(found[0])} frames hold one block of {10 * lag} frames; "
            "expected two: use error_method=split or a shorter lag"
        )
    return pieces


def _pieces(found: list[np.ndarray], n_splits: int, axis: int) -> list[list]:
    if axis == 0 and len(found) >= n_splits > 1:
        groups = np.array_split(np.arange(len(found)), n_splits)
        return [[found[i] for i in group] for group in groups]
    parts = [np.array_split(p, n_splits, axis) for p in found]
    return [list(piece) for piece in zip(*parts, strict=True)]


def split_errors(
    predictions: Predictions,
    lags: Lags,
    n_splits: int,
    axis: int = 0,
    *,
    epsilon: float = EPSILON,
    estimator: str = "plain",
    time_unit: float = 1.0,
    strict: bool = True,
) -> Timescales:
    """Returns the geometric mean of timescales of parts of the data, and its interval.

    The interval is 1.96 standard deviations of the logarithm (over the parts, divided
    by their number) over the root of the number of parts.

    Args:
      predictions: probabilities.
      lags: in frames.
      n_splits: number of parts.
      axis: 0 splits the time (or the set of trajectories, where there are enough), 1
        the targets.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `koopman.operator_of_sums`.
      time_unit: duration of a frame.
      strict: see `koopman.timescales_of_sums`.

    Raises:
      ValueError: the axis is neither, or there are fewer frames or targets than parts.
    """
    found = trajectories(predictions)
    if axis not in (0, 1):
        raise ValueError(f"split_axis: expected 0 (time) or 1 (targets), got {axis}")
    least = min(p.shape[axis] for p in found)
    if axis == 0:
        least = max(least, len(found))
    if not 1 <= n_splits <= least:
        raise ValueError(f"n_splits: expected 1 to {least}, got {n_splits}")
    times = [
        implied_timescales(
            piece,
            lags,
            epsilon=epsilon,
            estimator=estimator,
            time_unit=time_unit,
            strict=strict,
        )
        for piece in _pieces(found, n_splits, axis)
    ]
    with np.errstate(invalid="ignore"):  # eigenvalues above 1 have no logarithm
        logs = np.log(times)
    mean = logs.mean(axis=0)
    error = 1.96 * logs.std(axis=0) / np.sqrt(n_splits)
    return Timescales(np.exp(mean), np.exp(mean - error), np.exp(mean + error))


class ChapmanKolmogorov(NamedTuple):
    """A Chapman-Kolmogorov test in numbers.

    Attributes:
      predicted: K(l)^k, [S, S, steps].
      estimated: K(k l), [S, S, steps].
      error: bootstrap standard deviation of their difference, [S, S, steps].
      deviation: largest absolute difference.
      z_value: that difference in bootstrap standard deviations of it.
    """

    predicted: np.ndarray
    estimated: np.ndarray
    error: np.ndarray
    deviation: float
    z_value: float


def chapman_kolmogorov_test(
    predictions: Predictions,
    lag: int,
    steps: int,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
    epsilon: float = EPSILON,
    estimator: str = "plain",
) -> ChapmanKolmogorov:
    """Returns the test with its largest deviation and the z-value of that one.

    Args:
      predictions: probabilities.
      lag: l, in frames.
      steps: k runs from 0, the identity, to steps - 1.
      n_bootstrap: number of samples.
      seed: of the draws.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `koopman.operator_of_sums`.

    Raises:
      ValueError: the longest lag is beyond the data, or they are too short for blocks.
    """
    found = trajectories(predictions)
    lags = [k * lag for k in range(1, max(steps, 2))]
    pair_sums(found, lags[-1])
    pieces = _two_or_more(found, lag)
    sums = [block_sums(found, own, pieces) for own in lags]

    def test(times):
        drawn = [_drawn(s, times) for s in sums]
        return chapman_kolmogorov_of_sums(drawn, steps, epsilon, estimator)

    predicted, estimated = test(np.ones(len(pieces)))
    difference = np.abs(predicted - estimated)
    place = np.unravel_index(np.argmax(difference), difference.shape)
    pairs = [test(times) for times in _draws(len(pieces), n_bootstrap, seed)]
    error = np.std([one - other for one, other in pairs], axis=0)
    deviation, own = float(difference[place]), float(error[place])
    z_value = deviation / own if own > 0 else float("nan")
    return ChapmanKolmogorov(predicted, estimated, error, deviation, z_value)


def suggested_lag(lags: Lags, times: Timescales, time_unit: float = 1.0) -> int | None:
    """Returns the shortest lag from which on all timescales stay within their errors.

    A timescale at this lag must lie in the intervals of all longer lags that resolve
    the process, that is where the lag is shorter than the timescale.

    Args:
      lags: in frames, growing.
      times: implied timescales with their intervals.
      time_unit: duration of a frame.

    Returns:
      The lag in frames; None where no lag with a longer one behind it fulfils this.
    """
    duration = np.asarray(lags) * time_unit
    resolved = times.mean > duration[None, :]  # False for a NaN
    for index in range(len(duration) - 1):
        now, later = resolved[:, index], resolved[:, index + 1 :]
        here = times.mean[:, index, None]
        inside = times.lower[:, index + 1 :] <= here
        inside &= here <= times.upper[:, index + 1 :]
        compared = later & now[:, None]
        if compared.any() and np.all(inside[compared]):
            return int(lags[index])
    return None
