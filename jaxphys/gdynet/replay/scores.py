"""Replays the golden files of scores and of the kinetic analysis."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.gdynet.analysis import koopman, markov, uncertainty
from jaxphys.gdynet.training import vamp
from jaxphys.numerics.inverse_sqrt import MODES

Outputs = dict[str, Any]


def replay_vamp_loss(golden: Golden) -> Outputs:
    """Scores, the symmetric loss and all gradients, in the recorded precision."""
    epsilon, inputs = golden.config["epsilon"], golden.inputs
    sides, wide = ("chi0", "chit"), golden.config["dtype"] == "float64"
    directions = [inputs[f"direction_{name}"] if wide else None for name in sides]
    with jax.enable_x64(golden.config["dtype"] == "float64"):
        compiled = jax.jit(_vamp_loss, static_argnums=3)
        found = compiled(inputs["chi0"], inputs["chit"], directions, epsilon)
        return jax.tree.map(np.asarray, found)


def _vamp_loss(chi0, chit, directions, epsilon) -> dict[str, jax.Array]:
    c = vamp.covariances(chi0, chit)
    metric = vamp.metrics(chi0, chit, None, epsilon)
    outputs = {f"cov/{name}": value for name, value in c._asdict().items()}
    outputs |= {f"metric/{name}": value for name, value in metric.items()}
    functions: dict[str, Callable[..., Any]] = {
        "vamp1": vamp.vamp1,
        "vamp2": vamp.vamp2,
        "sym": vamp.loss_vamp1,
    }
    for (kind, function), mode in itertools.product(functions.items(), MODES):
        value, grads = jax.value_and_grad(
            lambda x, y, f=function, m=mode: f(x, y, None, epsilon, m), (0, 1)
        )(chi0, chit)
        prefix = f"{kind}/{mode}"
        outputs[f"{prefix}/{'loss' if kind == 'sym' else 'score'}"] = value
        outputs[f"{prefix}/grad_chi0"], outputs[f"{prefix}/grad_chit"] = grads
        if kind != "sym" and directions[0] is not None:
            parts = [
                jnp.sum(d * g[None], axis=(1, 2))
                for d, g in zip(directions, grads, strict=True)
            ]
            outputs[f"{prefix}/directional_derivative"] = parts[0] + parts[1]
    return outputs


def replay_deeptime_scores(golden: Golden) -> Outputs:
    """Scores on the same and on other data, with the constant function."""
    config, inputs = golden.config, golden.inputs
    one = 1 if config["plus_one"] else 0
    with jax.enable_x64(True):
        compiled = jax.jit(_deeptime_scores, static_argnums=4)
        arrays = (inputs[name] for name in ("x", "y", "x_test", "y_test"))
        k, found = jax.tree.map(np.asarray, compiled(*arrays, config["epsilon"]))
    outputs = {"singular_values": np.linalg.svd(k, compute_uv=False)}
    for kind, scores in found.items():
        for name, value in scores.items():
            name = "vampE" if name == "vampe" else name
            outputs[f"{kind}/{name}"] = value + one
    return outputs


def _deeptime_scores(x, y, x_test, y_test, epsilon):
    train, test = vamp.covariances(x, y), vamp.covariances(x_test, y_test)
    return vamp.whitened(train, epsilon, "trunc"), {
        "self": vamp.cross_scores(train, train, epsilon),
        "self_top2": vamp.cross_scores(train, train, epsilon, k_eig=2),
        "cross": vamp.cross_scores(train, test, epsilon),
    }


def replay_koopman(golden: Golden) -> Outputs:
    """Operators, timescales and their errors, and the original's analyser."""
    config, p = golden.config, golden.inputs["predictions"]
    lags = [int(lag) for lag in golden.inputs["lags"]]
    epsilon, tau, unit = config["epsilon"], config["tau"], config["time_unit"]
    operators = {
        name: np.stack([koopman.koopman_operator(p, lag, limit) for lag in lags])
        for name, limit in (("koopman", epsilon), ("txie", config["txie_epsilon"]))
    }
    operator = koopman.koopman_operator(p, tau, epsilon)
    predicted, estimated = koopman.chapman_kolmogorov(p, tau, config["steps"], epsilon)
    sizes = np.abs(koopman.eigenvalues_of(operator))[::-1]
    clipped = np.clip(sizes, epsilon, 1 - epsilon)[1:]
    stationary = koopman.stationary_vector(operator)
    outputs = {
        "koopman": operators["koopman"],
        "its": _timescales(p, lags, epsilon),
        "ck_predicted": predicted,
        "ck_estimated": estimated,
        "stationary": stationary,
        "analysis/timescales": koopman.timescales_of(clipped, tau * unit, False),
        "analysis/eigenvalues_abs": sizes,
        "analysis/stationary": stationary,
        "txie/koopman": operators["txie"],
        "txie/its": _timescales(p, lags, config["txie_epsilon"]),
    }
    declared = _split_axes(golden)
    for axis in (0, 1):
        if axis in declared or f"its_split_axis{axis}/mean" in golden.outputs:
            times = uncertainty.split_errors(
                p,
                lags,
                config["n_splits"],
                axis,
                epsilon=epsilon,
                time_unit=unit,
                strict=False,
            )
            for name, value in times._asdict().items():
                outputs[f"its_split_axis{axis}/{name}"] = value
    return outputs | _analyzer(golden, p, tau) | _deeptime(golden, lags)


def _split_axes(golden: Golden) -> list[int]:
    """Returns the axes of frames and of targets that are long enough to be split."""
    sizes = golden.inputs["predictions"].shape[:2]
    return [axis for axis in (0, 1) if sizes[axis] >= golden.config["n_splits"]]


def _timescales(p, lags, epsilon) -> np.ndarray:
    return koopman.implied_timescales(p, lags, epsilon=epsilon, strict=False)


def _analyzer(golden: Golden, p: np.ndarray, tau: int) -> Outputs:
    counts = markov.count_matrix(markov.hard_states(p), tau, p.shape[2])
    per_frame = markov.populations_per_frame(p)
    length = len(golden.outputs["analyzer/autocorrelation"])
    return {
        "analyzer/transition_matrix": markov.transition_matrix(counts),
        "analyzer/populations_per_frame": per_frame,
        "analyzer/autocorrelation": markov.autocorrelation(per_frame[:, 0], length),
        "analyzer/summary": np.array(list(markov.summary(p).values())),
    }


def _deeptime(golden: Golden, lags: list[int]) -> Outputs:
    recorded = any(name.startswith("deeptime/") for name in golden.outputs)
    if "dtrajs" not in golden.inputs and not recorded:
        return {}
    size = golden.config["state_len"]
    counts = [markov.count_matrix([golden.inputs["dtrajs"]], lag, size) for lag in lags]
    balanced = [markov.reversible_transition_matrix(c) for c in counts]
    times = [
        koopman.timescales_of(koopman.eigenvalues_of(t)[:-1], lag)
        for t, lag in zip(balanced, lags, strict=True)
    ]
    return {
        "deeptime/count_matrix": np.stack(counts),
        "deeptime/transition_matrix": np.stack(
            [markov.transition_matrix(c) for c in counts]
        ),
        "deeptime/transition_matrix_reversible": np.stack(balanced),
        "deeptime/timescales_reversible": np.stack(times),
    }


def _vamp_loss_outputs(golden: Golden) -> Names:
    names = [f"cov/{name}" for name in ("c00", "c0t", "ctt")]
    names += ["metric/vamp1", "metric/vamp2"]
    for kind, mode in itertools.product(("vamp1", "vamp2", "sym"), MODES):
        value = "loss" if kind == "sym" else "score"
        names += [f"{kind}/{mode}/{n}" for n in (value, "grad_chi0", "grad_chit")]
        # recorded where finite differences settled, which only their tolerance tells
        derivative = f"{kind}/{mode}/directional_derivative"
        if derivative in golden.meta["tolerance"]:
            names.append(derivative)
    return tuple(names)


def _koopman_outputs(golden: Golden) -> Names:
    analysis = ("timescales", "eigenvalues_abs", "stationary")
    analyzer = ("transition_matrix", "populations_per_frame", "autocorrelation")
    names = ["koopman", "its", "ck_predicted", "ck_estimated", "stationary"]
    names += [f"analysis/{name}" for name in analysis]
    names += [f"analyzer/{name}" for name in (*analyzer, "summary")]
    names += ["txie/koopman", "txie/its"]
    for axis in _split_axes(golden):
        names += [f"its_split_axis{axis}/{n}" for n in ("mean", "lower", "upper")]
    return (*names, "deeptime/*")


_KINDS = ("self", "self_top2", "cross")
_DEEPTIME = tuple(f"{kind}/vamp{r}" for kind in _KINDS for r in ("1", "2", "E"))
CASES = {
    "vamp_loss": Case(replay_vamp_loss, _vamp_loss_outputs),
    "deeptime_scores": Case(replay_deeptime_scores, (*_DEEPTIME, "singular_values")),
    "koopman": Case(replay_koopman, _koopman_outputs),
}
