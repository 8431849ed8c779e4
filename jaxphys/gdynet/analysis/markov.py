"""Markov models of the most probable states, and what a transition matrix tells."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.linalg import logm

from jaxphys.gdynet.analysis.koopman import (
    EPSILON,
    Predictions,
    eigenvectors_of,
    koopman_operator,
    stationary_vector,
    trajectories,
)

States = Sequence[np.ndarray]


def hard_states(predictions: Predictions) -> list[np.ndarray]:
    """Returns the most probable state of each atom, [F, n] per trajectory."""
    return [np.argmax(p, axis=2) for p in trajectories(predictions)]


def count_matrix(states: States, lag: int, num_states: int) -> np.ndarray:
    """Returns how often state i is followed by j a lag later, [S, S].

    Args:
      states: numbers of states, [F, n] per trajectory.
      lag: in frames; every pair of frames counts.
      num_states: S.
    """
    counts = np.zeros(num_states**2)
    for s in states:
        pair = s[: max(len(s) - lag, 0)] * num_states + s[lag:]
        counts += np.bincount(pair.ravel(), minlength=num_states**2)
    return counts.reshape(num_states, num_states)


def transition_matrix(counts: np.ndarray) -> np.ndarray:
    """Returns the counts over the sums of their rows, [S, S]; 0 in an empty row."""
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.where(total > 0, total, 1)


def reversible_transition_matrix(
    counts: np.ndarray, tolerance: float = 1e-12, steps: int = 100_000
) -> np.ndarray:
    """Returns the most likely transition matrix in detailed balance, [S, S].

    Fixed point of x_ij = (c_ij + c_ji) / (c_i / x_i + c_j / x_j) with row sums c_i,
    x_i; T_ij = x_ij / x_i.

    Reference: Trendelkamp-Schroer et al., J. Chem. Phys. 143, 174101 (2015).

    Raises:
      ValueError: it does not converge.
    """
    both, total = counts + counts.T, counts.sum(axis=1)
    visited = both.sum(axis=1) > 0
    x = both / max(both.sum(), 1)
    for _ in range(steps):
        weight = np.where(visited, x.sum(axis=1), 1)
        ratio = total / weight
        sums = ratio[:, None] + ratio[None, :]
        new = both / np.where(sums > 0, sums, 1)
        new /= max(new.sum(), np.finfo(float).tiny)
        if np.max(np.abs(new - x)) < tolerance:
            return transition_matrix(new)
        x = new
    raise ValueError(
        f"reversible transition matrix: no convergence to {tolerance:g} in {steps} "
        "steps; is a state left and never entered again?"
    )


def mean_first_passage_times(transition: np.ndarray, lag: float) -> np.ndarray:
    """Returns the mean time to reach j first from i, [S, S]; 0 where i = j.

    Args:
      transition: stochastic matrix, [S, S].
      lag: its duration; the result has the same unit.

    Returns:
      Infinite or NaN where j is never reached.
    """
    size = len(transition)
    times = np.zeros((size, size))
    for goal in range(size):
        others = np.arange(size) != goal
        system = np.eye(size - 1) - transition[np.ix_(others, others)]
        try:
            found = np.linalg.solve(system, np.full(size - 1, float(lag)))
        except np.linalg.LinAlgError:
            found = np.full(size - 1, np.inf)
        # a set that is never left has a singular system: rounding gives any number
        found[(found < 0) | (found > 1e12 * lag)] = np.inf
        times[others, goal] = found
    return times


def rates(transition: np.ndarray, lag: float) -> np.ndarray:
    """Returns the rate matrix ln(T) / lag, [S, S]; NaN where T has no real logarithm.

    Args:
      transition: stochastic matrix, [S, S].
      lag: its duration; the rates are per the same unit.
    """
    values = np.linalg.eigvals(transition)
    negative = (np.abs(values.imag) < 1e-12) & (values.real <= 1e-12)
    if np.any(negative):
        return np.full_like(transition, np.nan, dtype=np.float64)
    return np.real(logm(transition)) / lag


def lifetimes(
    states: States, num_states: int, time_unit: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean duration of a stay in each state, [S], and how many ended, [S].

    The time in a state over the number of exits: stays that the end of a trajectory
    cuts count with their time. NaN where no stay ended.

    Args:
      states: numbers of states, [F, n] per trajectory.
      num_states: S.
      time_unit: duration of a frame.
    """
    time, exits = np.zeros(num_states), np.zeros(num_states, int)
    for s in states:
        before, after = s[:-1], s[1:]
        time += np.bincount(before.ravel(), minlength=num_states)
        left = before[before != after]
        exits += np.bincount(left, minlength=num_states)
    mean = np.full(num_states, np.nan)
    np.divide(time * time_unit, exits, out=mean, where=exits > 0)
    return mean, exits


def lump(operator: np.ndarray, num_macrostates: int) -> np.ndarray:
    """Returns the macrostate of each state, [S], from signs of slow eigenvectors.

    One process after the other, the slowest first, splits the macrostate in which its
    right eigenvector differs most, at the mean there; for the first that is its sign.

    Args:
      operator: Koopman operator or transition matrix, [S, S].
      num_macrostates: 1 to S.

    Raises:
      ValueError: the number is outside that range.
    """
    size = len(operator)
    if not 1 <= num_macrostates <= size:
        raise ValueError(f"n_macrostates: expected 1 to {size}, got {num_macrostates}")
    population = np.maximum(stationary_vector(operator), 1e-12)
    _, vectors = eigenvectors_of(operator)
    labels = np.zeros(size, int)
    for process in range(1, num_macrostates):
        value = np.real(vectors[:, process])
        groups = [np.flatnonzero(labels == label) for label in range(process)]
        widest = max(
            (g for g in groups if len(g) > 1), key=lambda group: np.ptp(value[group])
        )
        mean = np.average(value[widest], weights=population[widest])
        leaves = value[widest] > mean
        if not leaves.any():  # all are equal
            leaves[-1] = True
        labels[widest[leaves]] = process
    return labels


def populations(
    predictions: Predictions,
    lag: int,
    epsilon: float = EPSILON,
    estimator: str = "plain",
) -> dict[str, np.ndarray]:
    """Returns the populations of the states, [S] each, in three ways.

    Args:
      predictions: probabilities.
      lag: of the operator, in frames.
      epsilon: threshold of eigenvalues of C0, absolute.
      estimator: see `koopman.operator_of_sums`.

    Returns:
      mean: probability; stationary: left eigenvector of the operator; hard: counts of
      the most probable state.
    """
    found = trajectories(predictions)
    states = found[0].shape[2]
    rows = sum(p.shape[0] * p.shape[1] for p in found)
    mean = sum(np.sum(p, axis=(0, 1), dtype=np.float64) for p in found) / rows
    hard = [np.bincount(s.ravel(), minlength=states) for s in hard_states(found)]
    operator = koopman_operator(found, lag, epsilon, estimator)
    return {
        "mean": np.asarray(mean),
        "stationary": stationary_vector(operator),
        "hard": np.sum(hard, axis=0) / rows,
    }


def populations_per_frame(predictions: np.ndarray) -> np.ndarray:
    """Returns the mean probabilities over the targets of a trajectory, [F, S]."""
    return np.asarray(np.mean(predictions, axis=1, dtype=np.float64))


def autocorrelation(values: np.ndarray, count: int = 50) -> np.ndarray:
    """Returns the autocorrelation of a series at the lags 0 to count - 1, [count].

    The mean is removed and lag 0 is 1; each sum is over the pairs there are, without
    a factor for their number. A constant series has 0 at all lags.

    Args:
      values: [F].
      count: number of lags; those of F and more have 0.
    """
    values = np.asarray(values, np.float64)
    values = values - values.mean()
    size = len(values)
    found = np.zeros(count)
    for lag in range(min(count, size)):
        found[lag] = values[: size - lag] @ values[lag:]
    return found / found[0] if found[0] > 0 else found


def summary(predictions: np.ndarray) -> Mapping[str, float]:
    """Returns mean, std, min and max of all, then mean and std of each state."""
    p = np.asarray(predictions, np.float64)
    found = {"mean": p.mean(), "std": p.std(), "min": p.min(), "max": p.max()}
    for state in range(p.shape[2]):
        found[f"state_{state}_mean"] = p[:, :, state].mean()
        found[f"state_{state}_std"] = p[:, :, state].std()
    return {name: float(value) for name, value in found.items()}
