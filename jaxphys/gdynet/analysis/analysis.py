"""The whole kinetic analysis of predictions, from timescales to macrostates."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np

from jaxphys.gdynet.analysis import koopman, markov, uncertainty
from jaxphys.gdynet.analysis.kinetics import Kinetics, kinetics, lumped
from jaxphys.gdynet.training import vamp
from jaxphys.options import check, option

# threshold of eigenvalues of the covariances behind the singular values
_EPSILON = 1e-6
_LAGS = 15
# a process with more of its variance between targets is a label of them
_LABEL = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """How predictions are analysed; its fields are flags."""

    GROUP: ClassVar = "evaluation"

    lags: tuple[int, ...] = option(
        (),
        "lags of the implied timescales; empty: about 15, in equal ratios from 1 frame",
        unit="frames",
        minimum=1,
    )
    lag_max: int = option(
        0,
        "longest of the lags that are chosen; 0: the least of F/10 and 20 tau",
        unit="frames",
        minimum=0,
    )
    ck_steps: int = option(
        6, "steps of the Chapman-Kolmogorov test, the identity among them", minimum=2
    )
    koopman_epsilon: float = option(
        koopman.EPSILON,
        "eigenvalues of the covariance C0 below this are left out of the Koopman "
        "matrix",
        minimum=0.0,
        maximum=1.0,
    )
    koopman: str = option(
        "plain", "estimator of the Koopman matrix", choices=tuple(koopman.ESTIMATORS)
    )
    n_bootstrap: int = option(
        100, "resamples of the errors of --error_method=bootstrap", minimum=2
    )
    error_method: str = option(
        "bootstrap", "how errors of timescales are found", choices=uncertainty.METHODS
    )
    n_splits: int = option(2, "parts of the data of --error_method=split", minimum=1)
    split_axis: int = option(
        0,
        "what --error_method=split splits: time (0) or targets (1)",
        minimum=0,
        maximum=1,
    )
    n_macrostates: int = option(
        0,
        "number of states that the states are lumped to; 0: one more than there are "
        "resolved processes",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.koopman_epsilon == 1:
            raise ValueError("--koopman_epsilon=1.0: expected a number below 1")


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """What predictions of S states say about the dynamics.

    Processes are ordered from the slowest to the fastest; times have the unit of a
    frame's duration.

    Attributes:
        tau: lag of the model, in frames.
        time_unit: duration of a frame.
        lags: [L] in frames, growing, tau among them.
        timescales: implied timescales, [S - 1, L]; NaN where a process is unresolved.
        lower: lower end of their 95 % intervals, [S - 1, L]; NaN where there is none.
        upper: upper end, [S - 1, L].
        resolved: [S - 1, L] whether a timescale is a number above its lag, has an
            interval where intervals could be computed, and is no static one.
        between_targets: part of the variance of each process that lies between the
            means of the targets, [S - 1]: 1 for a label of the target that never
            changes; NaN for a single target.
        eigenvalues: of the operator at tau, [S], the largest first.
        eigenvectors: right ones, [S, S], in columns.
        singular_values: of the whitened operator at tau without means, [S], the
            largest first; their squares add up to VAMP-2.
        suggested_lag: shortest lag from which on timescales are constant, in frames;
            None where there is none.
        collapsed: whether all outputs are equal.
        states: kinetics of the S states at tau.
        labels: macrostate of each state, [S]; of one state each where none are lumped.
        macrostates: kinetics of the macrostates at tau; None where none are lumped.
        notes: sentences on what could not be done.
    """

    tau: int
    time_unit: float
    lags: np.ndarray
    timescales: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    resolved: np.ndarray
    between_targets: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    singular_values: np.ndarray
    suggested_lag: int | None
    collapsed: bool
    states: Kinetics
    labels: np.ndarray
    macrostates: Kinetics | None
    notes: tuple[str, ...] = ()

    @property
    def num_states(self) -> int:
        """S."""
        return self.states.num_states

    @property
    def static(self) -> np.ndarray:
        """Whether a process is a label of the targets that hardly changes, [S - 1]."""
        return self.between_targets > _LABEL

    @property
    def rank(self) -> np.ndarray:
        """Number of each process among those that are not static, [S - 1]."""
        return np.where(self.static, -1, np.cumsum(~self.static) - 1)

    @property
    def at_tau(self) -> int:
        """The column of the model's lag."""
        return int(np.flatnonzero(self.lags == self.tau)[0])

    @property
    def resolved_processes(self) -> np.ndarray:
        """The processes that are resolved at the model's lag, by number."""
        return np.flatnonzero(self.resolved[:, self.at_tau])

    @property
    def unresolved(self) -> bool:
        """Whether no process is resolved at the model's lag."""
        return not len(self.resolved_processes)

    @property
    def vamp1(self) -> float:
        """VAMP-1 of the predictions at tau."""
        return float(self.singular_values.sum())

    @property
    def vamp2(self) -> float:
        """VAMP-2 of the predictions at tau."""
        return float(np.sum(self.singular_values**2))


def choose_lags(
    lengths: Sequence[int], tau: int, settings: AnalysisSettings
) -> np.ndarray:
    """Returns the lags of an analysis in frames, growing, tau among them.

    Args:
        lengths: frames of the trajectories.
        tau: lag of the model, in frames.
        settings: lags and lag_max.

    Raises:
        ValueError: a lag is below 1, or no trajectory is longer.
    """
    longest = max(lengths)
    if settings.lags:
        lags = np.asarray(settings.lags, int)
    elif settings.lag_max:
        lags = np.round(np.geomspace(1, settings.lag_max, _LAGS)).astype(int)
    else:
        lags = koopman.default_lags(longest, tau, _LAGS)
    for name, some in (("tau", np.array([tau])), ("lags", lags)):
        wrong = some[(some < 1) | (some >= longest)]
        if len(wrong):
            raise ValueError(
                f"{name}: expected 1 to {longest - 1} frames (the longest trajectory "
                f"has {longest}), got {wrong[-1]}"
            )
    return np.unique([*lags, tau])


def analyse(
    predictions: koopman.Predictions,
    *,
    tau: int,
    time_unit: float = 1.0,
    settings: AnalysisSettings | None = None,
) -> Analysis:
    """Returns the analysis of state probabilities.

    Args:
        predictions: probabilities, [F_r, n, S] per trajectory.
        tau: lag of the model, in frames.
        time_unit: duration of a frame; the unit of all times that are returned.
        settings: of the analysis.

    Raises:
        ValueError: a lag is out of range, or n_macrostates is.
    """
    settings = settings or AnalysisSettings()
    found = koopman.trajectories(predictions)
    states = found[0].shape[2]
    if settings.n_macrostates > states:
        raise ValueError(
            f"n_macrostates: expected 0 to {states}, got {settings.n_macrostates}"
        )
    lags = choose_lags([len(p) for p in found], tau, settings)
    times, notes = _timescales(found, lags, tau, time_unit, settings)
    resolved = times.mean > lags * time_unit  # False for a NaN
    if not notes:
        resolved &= np.isfinite(times.lower)
    own = _kinetics(found, tau, time_unit, settings)
    values, vectors = koopman.eigenvectors_of(own.operator)
    between = _between_targets(found, np.real(vectors[:, 1:]))
    static = between > _LABEL
    resolved &= ~static[:, None]
    sums = koopman.pair_sums(found, tau)
    # labels of the targets divide the states like processes do
    slow = static | resolved[:, lags == tau][:, 0]
    count = settings.n_macrostates or 1 + int(slow.sum())
    labels, macrostates = np.arange(states), None
    if 1 < count < states:
        labels = markov.lump(own.operator, count)
        macrostates = _kinetics(lumped(found, labels), tau, time_unit, settings)
    return Analysis(
        tau=tau,
        time_unit=time_unit,
        lags=lags,
        timescales=times.mean,
        lower=times.lower,
        upper=times.upper,
        resolved=resolved,
        between_targets=between,
        eigenvalues=values,
        eigenvectors=vectors,
        singular_values=singular_values(sums),
        suggested_lag=uncertainty.suggested_lag(
            lags, uncertainty.Timescales(*(a[::-1] for a in times)), time_unit
        ),
        collapsed=is_collapsed(sums.c0),
        states=own,
        labels=labels,
        macrostates=macrostates,
        notes=notes,
    )


def _kinetics(found, tau, time_unit, settings: AnalysisSettings) -> Kinetics:
    return kinetics(
        found,
        tau,
        time_unit=time_unit,
        ck_steps=settings.ck_steps,
        n_bootstrap=settings.n_bootstrap,
        epsilon=settings.koopman_epsilon,
        estimator=settings.koopman,
    )


def is_collapsed(c0: np.ndarray) -> bool:
    """Returns whether probabilities of this sum of p p', [S, S], are all equal."""
    values = np.linalg.eigvalsh(c0)
    return len(c0) > 1 and bool(values[-2] < koopman.RESOLVED * values.sum())


def _timescales(
    found: list[np.ndarray],
    lags: np.ndarray,
    tau: int,
    time_unit: float,
    settings: AnalysisSettings,
) -> tuple[uncertainty.Timescales, tuple[str, ...]]:
    """Returns timescales, the slowest first, and why they have no intervals if so."""
    options = {
        "epsilon": settings.koopman_epsilon,
        "estimator": settings.koopman,
        "time_unit": time_unit,
    }
    notes: tuple[str, ...] = ()
    try:
        if settings.error_method == "bootstrap":
            n_bootstrap = settings.n_bootstrap
            times = uncertainty.bootstrap(
                found, lags, tau, n_bootstrap=n_bootstrap, **options
            )
        else:
            axis = settings.split_axis
            times = uncertainty.split_errors(
                found, lags, settings.n_splits, axis, **options
            )
    except ValueError as error:  # too little data for parts; the values still hold
        mean = koopman.implied_timescales(found, lags, **options)
        none = np.full(mean.shape, np.nan)
        times = uncertainty.Timescales(mean, none, none)
        notes = (f"The timescales have no error. {error}",)
    return uncertainty.Timescales(*(a[::-1] for a in times)), notes


def singular_values(sums: koopman.PairSums) -> np.ndarray:
    """Returns the singular values of the whitened operator without means, [S].

    Args:
        sums: over pairs of frames, of probabilities that add up to 1.
    """
    # x 1 = 1, so row sums of sum x'x are the sum of x
    count = sums.c0.sum()
    x, y = sums.c0.sum(axis=1), sums.ct.sum(axis=1)
    centred = [
        (raw - np.outer(a, b) / count) / max(count - 1, 1)
        for raw, a, b in ((sums.c0, x, x), (sums.cl, x, y), (sums.ct, y, y))
    ]
    with jax.enable_x64(True):
        covariances = vamp.Covariances(*centred)
        whitened = np.asarray(vamp.whitened(covariances, _EPSILON, "trunc"))
    return np.linalg.svd(whitened, compute_uv=False)


def _between_targets(found: list[np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """Returns the part of the variance of p v that is between targets, [S - 1]."""
    targets = {p.shape[1] for p in found}
    if len(targets) > 1 or targets == {1}:  # of different systems, or a single one
        return np.full(vectors.shape[1], np.nan)
    frames = sum(len(p) for p in found)
    centre = sum(p.sum(axis=(0, 1), dtype=np.float64) for p in found)
    centre = centre / (frames * targets.pop())
    first, second = 0.0, 0.0
    for p in found:
        value = (p - centre) @ vectors  # [F, n, S - 1]
        first, second = first + value.sum(axis=0), second + np.sum(value**2, axis=0)
    total = np.mean(np.asarray(second) / frames, axis=0)
    between = np.mean((np.asarray(first) / frames) ** 2, axis=0)
    out = np.full(vectors.shape[1], np.nan)
    return np.divide(between, total, out=out, where=total > 1e-12)
