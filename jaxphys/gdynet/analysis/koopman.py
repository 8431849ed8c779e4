"""Koopman operators of state probabilities, and what follows from their eigenvalues.

All in float64 NumPy. Predictions are the probabilities p [F, n, S] of F frames, n
target atoms and S states, one array or one per trajectory; pairs of frames never cross
trajectories. With C0 = sum p_t p_t' and Cl = sum p_t p_{t+l}' over frames, targets and
trajectories, K(l) = C0^+ Cl, without removal of means. The rows of K sum to one; for
one-hot predictions K is the transition matrix of the counts.

References: Xie et al., Nat. Commun. 10, 2667 (2019); Mardt et al., Nat. Commun. 9, 5
(2018).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

Predictions = np.ndarray | Sequence[np.ndarray]
ESTIMATORS = ("plain", "reversible", "constrained")
EPSILON = 1e-10
# directions of C0 with a smaller part of its trace are no resolved state
RESOLVED = 1e-6
_ROWS = 2**18


class PairSums(NamedTuple):
    """Sums over pairs of frames that are a lag apart, [..., S, S].

    Attributes:
      c0: sum of p_t p_t'.
      cl: sum of p_t p_{t+l}'.
      ct: sum of p_{t+l} p_{t+l}'.
    """

    c0: np.ndarray
    cl: np.ndarray
    ct: np.ndarray


def trajectories(predictions: Predictions) -> list[np.ndarray]:
    """Returns the predictions as a list of arrays [F, n, S].

    Raises:
      ValueError: there is none, one has another number of axes, or another S.
    """
    if isinstance(predictions, np.ndarray):
        predictions = [predictions]
    found = [np.asarray(p) for p in predictions]
    if not found:
        raise ValueError("predictions: expected one trajectory or more, got none")
    for index, p in enumerate(found):
        if p.ndim != 3 or p.shape[2] != found[0].shape[-1]:
            raise ValueError(
                f"predictions of trajectory {index}: expected [F, n, "
                f"{found[0].shape[-1]}], got {list(p.shape)}"
            )
    return found


def default_lags(num_frames: int, lag: int, count: int = 15) -> np.ndarray:
    """Returns about `count` lags from 1 to min(F / 10, 20 lag), in equal ratios."""
    longest = max(1, min(num_frames // 10, 20 * lag))
    return np.unique(np.round(np.geomspace(1, longest, count)).astype(int))


def _parts(
    p: np.ndarray, lag: int, start: int, stop: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows of p_t and p_{t+lag} in pieces, t from start to stop."""
    step = max(1, _ROWS // max(1, p.shape[1]))
    stop = min(stop, len(p) - lag)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        rows = [p[first + shift : last + shift] for shift in (0, lag)]
        a, b = (np.asarray(r, np.float64).reshape(-1, p.shape[2]) for r in rows)
        yield a, b


def block_sums(
    predictions: Predictions, lag: int, blocks: Sequence[tuple[int, int, int]]
) -> PairSums:
    """Returns the sums of blocks of time, [blocks, S, S] each.

    Args:
      predictions: probabilities.
      lag: in frames, 1 or more.
      blocks: (trajectory, first frame, last frame + 1); a pair belongs to the block of
        its first frame.
    """
    found = trajectories(predictions)
    states = found[0].shape[2]
    sums = PairSums(*(np.zeros((len(blocks), states, states)) for _ in range(3)))
    for index, (trajectory, start, stop) in enumerate(blocks):
        for a, b in _parts(found[trajectory], lag, start, stop):
            sums.c0[index] += a.T @ a
            sums.cl[index] += a.T @ b
            sums.ct[index] += b.T @ b
    return sums


def pair_sums(predictions: Predictions, lag: int) -> PairSums:
    """Returns the sums over all pairs of frames, [S, S] each.

    Raises:
      ValueError: the lag is below 1, or no trajectory is longer than it.
    """
    found = trajectories(predictions)
    longest = max(len(p) for p in found)
    if not 1 <= lag < longest:
        raise ValueError(
            f"lag: expected 1 to {longest - 1} frames (the longest trajectory has "
            f"{longest}), got {lag}"
        )
    every = [(index, 0, len(p)) for index, p in enumerate(found)]
    return PairSums(*(a.sum(axis=0) for a in block_sums(found, lag, every)))


def pseudo_inverse(matrix: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Returns the inverse on the eigenvalues above epsilon, [S, S]; 0 elsewhere."""
    w, v = np.linalg.eigh(0.5 * (matrix + matrix.T))
    kept = w > epsilon
    return (v * np.where(kept, 1 / np.where(kept, w, 1), 0)) @ v.T


def operator_of_sums(
    sums: PairSums, epsilon: float = EPSILON, estimator: str = "plain"
) -> np.ndarray:
    """Returns the Koopman operator of known sums, [S, S].

    Args:
      sums: over pairs of frames.
      epsilon: threshold of eigenvalues of C0, absolute, strictly above counts.
      estimator: `plain` C0^+ Cl; `reversible` with (Cl + Cl')/2 and the mean of C0 and
        its lagged form; `constrained` the best one without negative entries.

    Raises:
      ValueError: the estimator is unknown.
    """
    if estimator == "plain":
        return pseudo_inverse(sums.c0, epsilon) @ sums.cl
    if estimator == "reversible":
        both = 0.5 * (sums.c0 + sums.ct)
        return pseudo_inverse(both, epsilon) @ (0.5 * (sums.cl + sums.cl.T))
    if estimator == "constrained":
        return _constrained(sums, epsilon)
    raise ValueError(
        f"koopman: expected one of {', '.join(ESTIMATORS)}, got {estimator!r}"
    )


def _constrained(sums: PairSums, epsilon: float) -> np.ndarray:
    """Minimises sum |p_{t+l} - K'p_t|^2 over stochastic matrices K.

    A least-squares problem with nonnegative unknowns; the row sums are rows of large
    weight, then exact for the entries that are not zero.
    """
    size, scale = len(sums.c0), np.trace(sums.c0)
    w, v = np.linalg.eigh(sums.c0 / scale)
    kept = w > epsilon / scale
    root = np.sqrt(np.where(kept, w, 1))
    half = (v * np.where(kept, root, 0)) @ v.T
    target = (v * np.where(kept, 1 / root, 0)) @ v.T @ (sums.cl / scale)
    eye, ridge, heavy = np.eye(size), 1e-6, 1e3
    rows = np.kron(eye, np.ones((1, size)))
    # the ridge sends what never occurs to equilibrium at once
    mean = sums.c0.sum(axis=0) / sums.c0.sum()
    a = np.concatenate([np.kron(half, eye), ridge * np.eye(size**2)])
    b = np.concatenate([target.ravel(), ridge * np.tile(mean, size)])
    found, _ = nnls(
        np.concatenate([a, heavy * rows]), np.concatenate([b, heavy * np.ones(size)])
    )
    free = found > 0
    normal, fixed = a[:, free].T @ a[:, free], rows[:, free]
    system = np.block([[normal, fixed.T], [fixed, np.zeros((size, size))]])
    right = np.concatenate([a[:, free].T @ b, np.ones(size)])
    exact = np.linalg.lstsq(system, right, rcond=None)[0][: free.sum()]
    if np.all(exact > -1e-9):
        found[free] = exact
    operator = np.maximum(found, 0).reshape(size, size)
    return operator / operator.sum(axis=1, keepdims=True)


def koopman_operator(
    predictions: Predictions,
    lag: int,
    epsilon: float = EPSILON,
    estimator: str = "plain",
) -> np.ndarray:
    """Returns the Koopman operator at a lag, [S, S]; see `operator_of_sums`."""
    return operator_of_sums(pair_sums(predictions, lag), epsilon, estimator)


def eigenvalues_of(operator: np.ndarray) -> np.ndarray:
    """Returns the eigenvalues, [S], the smallest absolute value first."""
    values = np.linalg.eigvals(operator)
    return values[np.argsort(np.abs(values), kind="stable")]


def timescales_of(values: np.ndarray, lag: float, strict: bool = True) -> np.ndarray:
    """Returns -lag / ln|eigenvalue|, of the form of `values`, in the unit of `lag`.

    Args:
      values: eigenvalues, without the largest.
      lag: between the frames of a pair.
      strict: NaN where an eigenvalue is no decay: not positive, not below 1, or with
        an imaginary part above a tenth of the real part. Else the absolute value
        counts, whatever it is.
    """
    values = np.asarray(values)
    size, real, imag = np.abs(values), np.real(values), np.imag(values)
    good = (real > 0) & (np.abs(imag) <= 0.1 * np.abs(real)) & (size < 1 - 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = -lag / np.log(size)
    return np.where(good, found, np.nan) if strict else found


def timescales_of_sums(
    sums: PairSums,
    lag: float,
    epsilon: float = EPSILON,
    estimator: str = "plain",
    strict: bool = True,
) -> np.ndarray:
    """Returns the implied timescales of known sums, [S - 1], the shortest first.

    Args:
      sums: over pairs of frames.
      lag: of the pairs; its unit is that of the result.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `operator_of_sums`.
      strict: give NaN for what is no resolved process, see `timescales_of`; directions
        of C0 with less than 1e-6 of its trace count as no state, so outputs that are
        all equal have no timescale.
    """
    unresolved = 0
    if strict:
        c0 = 0.5 * (sums.c0 + sums.ct) if estimator == "reversible" else sums.c0
        epsilon = max(epsilon, RESOLVED * float(np.trace(c0)))
        unresolved = int(np.sum(np.linalg.eigvalsh(c0) <= epsilon))
    values = eigenvalues_of(operator_of_sums(sums, epsilon, estimator))[:-1]
    found = timescales_of(values, lag, strict)
    found[:unresolved] = np.nan  # their eigenvalues are 0, to rounding
    return found


def implied_timescales(
    predictions: Predictions,
    lags: Sequence[int] | np.ndarray,
    *,
    epsilon: float = EPSILON,
    estimator: str = "plain",
    time_unit: float = 1.0,
    strict: bool = True,
) -> np.ndarray:
    """Returns the implied timescales, [S - 1, lags], the shortest process first.

    Args:
      predictions: probabilities.
      lags: in frames.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `operator_of_sums`.
      time_unit: duration of a frame.
      strict: see `timescales_of_sums`.
    """
    columns = [
        timescales_of_sums(
            pair_sums(predictions, int(lag)),
            lag * time_unit,
            epsilon,
            estimator,
            strict,
        )
        for lag in lags
    ]
    return np.stack(columns, axis=1)


def chapman_kolmogorov(
    predictions: Predictions,
    lag: int,
    steps: int,
    epsilon: float = EPSILON,
    estimator: str = "plain",
) -> tuple[np.ndarray, np.ndarray]:
    """Returns predicted K(l)^k and estimated K(k l), [S, S, steps] each.

    Args:
      predictions: probabilities.
      lag: l, in frames.
      steps: k runs from 0, the identity, to steps - 1.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `operator_of_sums`.
    """
    sums = [pair_sums(predictions, k * lag) for k in range(1, max(steps, 2))]
    return chapman_kolmogorov_of_sums(sums, steps, epsilon, estimator)


def chapman_kolmogorov_of_sums(
    sums: Sequence[PairSums],
    steps: int,
    epsilon: float = EPSILON,
    estimator: str = "plain",
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `chapman_kolmogorov` does, from the sums at the lags l, 2 l, ..."""
    found = [operator_of_sums(s, epsilon, estimator) for s in sums]
    estimated = [np.eye(len(found[0])), *found][:steps]
    predicted = [np.linalg.matrix_power(found[0], k) for k in range(steps)]
    return np.stack(predicted, axis=-1), np.stack(estimated, axis=-1)


def stationary_vector(operator: np.ndarray) -> np.ndarray:
    """Returns the left eigenvector of the eigenvalue next to 1, [S], of sum 1."""
    values, vectors = np.linalg.eig(operator.T)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return vector / vector.sum()


def eigenvectors_of(operator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns eigenvalues [S], the largest first, and right eigenvectors [S, S].

    Columns are the eigenvectors, of length 1 with their largest entry positive.
    """
    values, vectors = np.linalg.eig(operator)
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order]
    largest = np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=0)[None], 0)
    return values, vectors * (np.abs(largest) / largest)
