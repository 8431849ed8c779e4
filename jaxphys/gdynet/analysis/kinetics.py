"""What the states of a prediction do at one lag: populations, transitions, lifetimes.

All of the same states and the same lag in one place, made of the functions of
`koopman`, `markov` and `uncertainty`. Times are in the unit of a frame's duration.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxphys.gdynet.analysis import koopman, markov, uncertainty
from jaxphys.gdynet.analysis.uncertainty import ChapmanKolmogorov

# entries of an operator may miss those of a stochastic matrix by that much
_STOCHASTIC = 1e-6
AUTOCORRELATION_LAGS = 50


@dataclasses.dataclass(frozen=True, eq=False)
class Kinetics:
    """S states at one lag.

    Attributes:
        operator: Koopman operator, [S, S]; rows are where an atom comes from.
        mean: mean probabilities, [S].
        stationary: left eigenvector of the operator, [S].
        hard: part of atoms for which a state is the most probable, [S].
        crispness: mean probability of the most probable state; 1 for hard states.
        transition: stochastic matrix, [S, S]: the operator where it is one, else the
            best operator without negative entries.
        constrained: whether it is the latter.
        hard_transition: transition matrix of the most probable states, [S, S].
        rates: ln(transition) / lag, [S, S]; NaN where there is no real logarithm.
        passage_times: mean time to reach j first from i, [S, S].
        lifetimes: mean duration of a stay of the most probable state, [S]; NaN where
            none ended.
        exits: how many stays ended, [S].
        decay: -lag / ln of the diagonal of the transition matrix, [S].
        autocorrelation: of the populations in time, [S, lags], mean over trajectories.
        ck: Chapman-Kolmogorov test; its errors may be NaN.
    """

    operator: np.ndarray
    mean: np.ndarray
    stationary: np.ndarray
    hard: np.ndarray
    crispness: float
    transition: np.ndarray
    constrained: bool
    hard_transition: np.ndarray
    rates: np.ndarray
    passage_times: np.ndarray
    lifetimes: np.ndarray
    exits: np.ndarray
    decay: np.ndarray
    autocorrelation: np.ndarray
    ck: ChapmanKolmogorov

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.mean)


def lumped(predictions: koopman.Predictions, labels: np.ndarray) -> list[np.ndarray]:
    """Returns the probabilities of macrostates, [F, n, max(labels) + 1] each.

    Args:
        predictions: probabilities, [F, n, S] per trajectory.
        labels: macrostate of each state, [S].
    """
    member = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    return [np.asarray(p @ member) for p in koopman.trajectories(predictions)]


def stochastic(
    predictions: koopman.Predictions, lag: int, operator: np.ndarray, epsilon: float
) -> tuple[np.ndarray, bool]:
    """Returns a transition matrix for an operator, and whether it is another one.

    Args:
        predictions: probabilities.
        lag: in frames.
        operator: of the same lag, [S, S].
        epsilon: threshold of eigenvalues of C0, absolute.
    """
    rows = np.abs(operator.sum(axis=1) - 1).max()
    if rows < _STOCHASTIC and operator.min() > -_STOCHASTIC:
        return markov.transition_matrix(np.maximum(operator, 0)), False
    found = koopman.koopman_operator(predictions, lag, epsilon, "constrained")
    return found, True


def chapman_kolmogorov(
    predictions: koopman.Predictions,
    lag: int,
    steps: int,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
    epsilon: float = koopman.EPSILON,
    estimator: str = "plain",
) -> ChapmanKolmogorov:
    """Returns the test with an error for each entry, as far as the data go.

    Args:
        predictions: probabilities.
        lag: l, in frames, shorter than a trajectory.
        steps: k runs from 0, the identity, to steps - 1, or as far as there are pairs.
        n_bootstrap: number of samples; without two blocks errors are NaN.
        seed: of the draws.
        epsilon: threshold of eigenvalues of C0, absolute.
        estimator: see `koopman.operator_of_sums`.
    """
    found = koopman.trajectories(predictions)
    steps = min(steps, (max(len(p) for p in found) - 1) // lag + 1)
    options = {"epsilon": epsilon, "estimator": estimator}
    if len(uncertainty.blocks(found, lag)) > 1:
        return uncertainty.chapman_kolmogorov_test(
            found, lag, steps, n_bootstrap=n_bootstrap, seed=seed, **options
        )
    predicted, estimated = koopman.chapman_kolmogorov(found, lag, steps, **options)
    difference = np.abs(predicted - estimated)
    none = np.full(difference.shape, np.nan)
    return ChapmanKolmogorov(
        predicted, estimated, none, float(difference.max()), float("nan")
    )


def kinetics(
    predictions: koopman.Predictions,
    lag: int,
    *,
    time_unit: float = 1.0,
    ck_steps: int = 6,
    n_bootstrap: int = 100,
    epsilon: float = koopman.EPSILON,
    estimator: str = "plain",
) -> Kinetics:
    """Returns what the states do at a lag.

    Args:
        predictions: probabilities.
        lag: in frames, shorter than a trajectory.
        time_unit: duration of a frame.
        ck_steps: steps of the Chapman-Kolmogorov test, with step 0.
        n_bootstrap: samples for its errors.
        epsilon: threshold of eigenvalues of C0, absolute.
        estimator: see `koopman.operator_of_sums`.

    Raises:
        ValueError: no trajectory is longer than the lag.
    """
    found = koopman.trajectories(predictions)
    states, duration = found[0].shape[2], lag * time_unit
    operator = koopman.koopman_operator(found, lag, epsilon, estimator)
    people = markov.populations(found, lag, epsilon, estimator)
    transition, constrained = stochastic(found, lag, operator, epsilon)
    hard = markov.hard_states(found)
    lifetimes, exits = markov.lifetimes(hard, states, time_unit)
    diagonal = np.diag(transition)
    decay = np.full(states, np.nan)
    stays = (diagonal > 0) & (diagonal < 1)
    decay[stays] = -duration / np.log(diagonal[stays])
    return Kinetics(
        operator=operator,
        mean=people["mean"],
        stationary=people["stationary"],
        hard=people["hard"],
        crispness=_crispness(found),
        transition=transition,
        constrained=constrained,
        hard_transition=markov.transition_matrix(
            markov.count_matrix(hard, lag, states)
        ),
        rates=markov.rates(transition, duration),
        passage_times=markov.mean_first_passage_times(transition, duration),
        lifetimes=lifetimes,
        exits=exits,
        decay=decay,
        autocorrelation=_autocorrelation(found),
        ck=chapman_kolmogorov(
            found,
            lag,
            ck_steps,
            n_bootstrap=n_bootstrap,
            epsilon=epsilon,
            estimator=estimator,
        ),
    )


def _crispness(found: Sequence[np.ndarray]) -> float:
    total = sum(float(np.sum(p.max(axis=2), dtype=np.float64)) for p in found)
    return total / sum(p.shape[0] * p.shape[1] for p in found)


def _autocorrelation(found: Sequence[np.ndarray]) -> np.ndarray:
    """Returns [S, lags]; trajectories without change do not count."""
    count = min(AUTOCORRELATION_LAGS, max(len(p) for p in found))
    states = found[0].shape[2]
    total, used = np.zeros((states, count)), np.zeros(states)
    for p in found:
        series = markov.populations_per_frame(p)
        for state in range(states):
            own = markov.autocorrelation(series[:, state], count)
            total[state] += own
            used[state] += own[0]  # 0 for a constant series
    out = np.full((states, count), np.nan)
    return np.divide(total, used[:, None], out=out, where=used[:, None] > 0)
