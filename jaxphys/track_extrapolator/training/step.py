"""Pure update and evaluation steps of the track extrapolator.

A batch holds, each with B rows:

* inputs [B, n_in]: what the network is fed, normalised already or raw;
* target [B, 4]: of the parametrisation, normalised already or raw;
* weight [B]: 1 for a track, 0 for padding;
* importance [B] (optional): weight of a track in the loss, mean 1;
* scale [B, 4] (optional): what turns an error of the network into mm and slopes;
* slopes [B, 4, n_in] (optional): derivatives of the normalised target.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.track_extrapolator.model.model import TrackMLP
from jaxphys.training.task import Metrics, TrainState

PyTree = Any
Batch = Mapping[str, jax.Array]


class Objective(NamedTuple):
    """What is minimised.

    Attributes:
      model: the network.
      stats: its statistics, or None where inputs and targets come normalised.
      raw: the original's loss: squared error in mm^2 and rad^2 mixed, and the loss of
        an epoch as the plain mean over its batches.
      jacobian_weight: weight of the squared error of the derivatives.
      importance: whether batches weight their tracks.
      ema_decay: decay of the averaged weights per step; 0 keeps none.
    """

    model: TrackMLP
    stats: Mapping[str, jax.Array] | None
    raw: bool = False
    jacobian_weight: float = 0.0
    importance: bool = False
    ema_decay: float = 0.0


def initial_state(
    params: PyTree, *, objective: Objective, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state of step 0 for given weights."""
    extra = {"ema_params": params} if objective.ema_decay else {}
    return TrainState(
        step=jnp.int32(0), params=params, opt_state=optimizer.init(params), extra=extra
    )


def evaluated_params(state: TrainState) -> PyTree:
    """Returns the weights that are evaluated: averaged ones, where they are kept."""
    return state.extra.get("ema_params", state.params)


def evaluated(state: TrainState) -> dict[str, PyTree]:
    """Returns what is kept of the best evaluation, {"params"}."""
    return {"params": evaluated_params(state)}


def network_error(objective: Objective, params: PyTree, batch: Batch) -> jax.Array:
    """Returns output minus target, [B, 4], in the units of the target."""
    if objective.stats is None:
        return _net(objective, params, batch["inputs"]) - batch["target"]
    variables = {"params": params, "stats": objective.stats}
    output: Any = objective.model.apply(variables, batch["inputs"])
    return output - batch["target"]


def _net(objective: Objective, params: PyTree, inputs: jax.Array) -> jax.Array:
    output: Any = objective.model.apply({"params": params}, inputs, method="net")
    return output


def _slope_error(objective: Objective, params: PyTree, batch: Batch) -> jax.Array:
    """Returns the squared error of the derivatives, [B]: mean over outputs, inputs."""
    inputs = batch["inputs"]

    def column(direction: jax.Array) -> jax.Array:
        tangent = jnp.broadcast_to(direction[None], inputs.shape)
        return jax.jvp(lambda x: _net(objective, params, x), (inputs,), (tangent,))[1]

    slopes = jax.vmap(column)(jnp.eye(inputs.shape[1], dtype=inputs.dtype))
    error = slopes.transpose(1, 2, 0) - batch["slopes"]  # [B, 4, n_in]
    return jnp.mean(jnp.square(error), axis=(1, 2))


def loss(
    objective: Objective, params: PyTree, batch: Batch
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss of a batch and the number of its tracks."""
    error = network_error(objective, params, batch)
    each = jnp.mean(jnp.square(error), axis=1)  # [B]
    if objective.jacobian_weight:
        each = each + objective.jacobian_weight * _slope_error(objective, params, batch)
    weight = batch["weight"].astype(each.dtype)
    count = jnp.sum(weight)
    if objective.importance:
        weight = weight * batch["importance"]
    return jnp.sum(weight * each) / count, count


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None = None,
    phase: str = "train",
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    Args:
      state: before the step; the caller advances `step`.
      batch: see the top of the module.
      key: nothing is random.
      phase: there is one.
      objective: what is minimised.
      optimizer: any optax transformation.

    Returns:
      The state after the step and {"loss"}: taken before the update.
    """
    del key, phase
    (value, count), grads = jax.value_and_grad(
        lambda params: loss(objective, params, batch), has_aux=True
    )(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    extra = dict(state.extra)
    if objective.ema_decay:
        extra["ema_params"] = optax.incremental_update(
            params, extra["ema_params"], 1 - objective.ema_decay
        )
    weight = jnp.ones_like(count) if objective.raw else count
    metrics = {"loss": (value * weight, weight)}
    return state.replace(params=params, opt_state=opt_state, extra=extra), metrics


def eval_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None = None,
    phase: str = "train",
    *,
    objective: Objective,
) -> dict[str, jax.Array]:
    """Returns per track: squared_error [B], error [B, 4] (mm, slopes), weight [B]."""
    del key, phase
    error = network_error(objective, evaluated_params(state), batch)
    physical = error * batch["scale"] if "scale" in batch else error
    return {
        "squared_error": jnp.mean(jnp.square(error), axis=1),
        "error": physical,
        "weight": batch["weight"],
    }


def summarize(
    batches: Sequence[Mapping[str, np.ndarray]], *, objective: Objective
) -> dict[str, float]:
    """Returns the statistics of an evaluation over all its tracks.

    Returns:
      val_loss in the units of the loss; pos_mean, pos_p95 in mm; slope_mean.
    """
    del objective
    real = np.concatenate([b["weight"] for b in batches]) > 0
    squared = np.concatenate([b["squared_error"] for b in batches])[real]
    error = np.concatenate([b["error"] for b in batches])[real].astype(np.float64)
    radial = np.hypot(error[:, 0], error[:, 1])
    slope = np.hypot(error[:, 2], error[:, 3])
    return {
        "val_loss": float(np.mean(squared, dtype=np.float64)),
        "pos_mean": float(radial.mean()),
        "pos_p95": float(np.percentile(radial, 95)),
        "slope_mean": float(slope.mean()),
    }
