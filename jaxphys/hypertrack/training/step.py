"""Pure update and evaluation steps of both training phases.

The weights are {"net", "transformer", "thr"}; the running statistics of the net lie in
`extra`. Batches are those of `jaxphys.hypertrack.training.objective`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.hypertrack.model.batch_norm import fold_moments
from jaxphys.hypertrack.training.objective import (
    Batch,
    Settings,
    evaluate,
    graph_weight,
    weighted_sums,
)
from jaxphys.hypertrack.training.optimizer import freeze
from jaxphys.training.task import Metrics, TrainState

PyTree = Any


def initial_variables(key: jax.Array, settings: Settings) -> dict[str, PyTree]:
    """Draws the weights: {"params": {net, transformer, thr}, "batch_stats"}."""
    graph = {
        "position": jnp.ones((2, 3)),
        "edge_index": jnp.zeros((2, 2), jnp.int32),
    }
    width = settings.transformer.in_features

    def draw(key: jax.Array) -> dict[str, PyTree]:
        keys = jax.random.split(key)
        net: Any = settings.net.init(keys[0], graph, False)
        rows, mask = jnp.zeros((1, 2, width)), jnp.ones((1, 2), bool)
        found: Any = settings.transformer.init(keys[1], rows, rows, mask)
        params = {
            "net": net["params"],
            "transformer": found["params"],
            "thr": {"value": jnp.asarray(settings.threshold, jnp.float32)},
        }
        return {"params": params, "batch_stats": net.get("batch_stats", {})}

    # compiled: drawing array by array compiles a hundred small programs
    return jax.jit(draw)(key)


def initial_state(
    variables: Mapping[str, PyTree],
    *,
    objective: Settings,
    optimizer: optax.GradientTransformation,
) -> TrainState:
    """Returns the state of step 0; batch statistics lie in `extra`."""
    variables = jax.tree.map(jnp.array, dict(variables))  # the state is donated
    extra = {"batch_stats": variables["batch_stats"]}
    del objective
    return TrainState(
        step=jnp.int32(0),
        params=variables["params"],
        opt_state=optimizer.init(variables["params"]),
        extra=extra,
    )


def enter_phase(
    state: TrainState, phase: str, *, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state with a new optimizer: moments and schedule start again."""
    del phase
    return state.replace(opt_state=optimizer.init(state.params))


def gradients(
    settings: Settings,
    state: TrainState,
    batch: Batch,
    phase: str,
    key: jax.Array | None = None,
) -> tuple[PyTree, Metrics, PyTree]:
    """Returns gradients, zeros for what is frozen, metrics and new statistics."""
    weight = graph_weight(batch)
    stats = state.extra["batch_stats"]

    def value(params: PyTree) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        values, _, found = evaluate(settings, params, stats, batch, phase, True, key)
        metrics = weighted_sums(values, weight)
        total, count = metrics["loss"]
        mean = total / jnp.maximum(count, 1)
        return mean, (metrics, found)

    trained = settings.trained(phase)
    moving = {key: state.params[key] for key in trained}
    still = {key: tree for key, tree in state.params.items() if key not in trained}
    grads, (metrics, found) = jax.grad(
        lambda part: value({**still, **part}), has_aux=True
    )(moving)
    grads = {**grads, **jax.tree.map(jnp.zeros_like, still)}
    stats = fold_moments(stats, found, weight, settings.bn_momentum)
    return grads, metrics, stats


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None,
    phase: str,
    *,
    objective: Settings,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step on the mean loss of the graphs.

    Args:
        state: before the step; the caller advances `step`.
        batch: graphs.
        key: of the step; only read where micrographs are proposed.
        phase: "edges": net alone; "joint": transformer too.
        objective: nets and losses.
        optimizer: of `jaxphys.hypertrack.training.optimizer`.

    Returns:
        The state after the step and the metrics of the graphs before it: loss, its
        parts, auc, auc_without_self; the norm of the gradients before they are cut.
    """
    grads, metrics, stats = gradients(objective, state, batch, phase, key)
    norm = optax.tree.norm(grads)
    trained = objective.trained(phase)
    params = freeze(state.params, trained)
    updates, opt_state = optimizer.update(grads, state.opt_state, params)
    new = state.replace(
        params=optax.apply_updates(state.params, updates),
        opt_state=opt_state,
        extra={**state.extra, "batch_stats": stats},
    )
    metrics = {**metrics, "grad_norm": (norm, jnp.ones_like(norm))}
    return new, metrics


def eval_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None,
    phase: str,
    *,
    objective: Settings,
) -> Metrics:
    """Evaluates a batch.

    Args:
        state: of the run.
        batch: graphs.
        key: see `train_step`.
        phase: "edges" or "joint".
        objective: nets and losses.

    Returns:
        name -> (weighted sum, weight), as in training.
    """
    stats, train = state.extra["batch_stats"], objective.batchnorm_mode == "train"
    found = evaluate(objective, state.params, stats, batch, phase, train, key)
    return weighted_sums(found[0], graph_weight(batch))


def summarize(
    batches: Sequence[Mapping[str, Any]], *, objective: Settings
) -> dict[str, float]:
    """Returns val_<name>, the mean over the graphs of an evaluation."""
    del objective
    found = {}
    for name in batches[0]:
        total = sum(float(np.asarray(batch[name][0])) for batch in batches)
        weight = sum(float(np.asarray(batch[name][1])) for batch in batches)
        found[f"val_{name}"] = total / weight if weight else math.nan
    return found
