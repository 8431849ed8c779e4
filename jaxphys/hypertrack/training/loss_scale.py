"""Dynamic scale of the loss, for gradients that pass through float16."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxphys.training.task import TrainState

PyTree = Any
FIRST, GROWTH, INTERVAL, LARGEST = 2.0**15, 2.0, 2000, 2.0**24


def initial() -> dict[str, jax.Array]:
    """Returns the entry loss_scale of `TrainState.extra` at step 0."""
    return {"factor": jnp.float32(FIRST), "good_steps": jnp.int32(0)}


def factor(extra: Mapping[str, PyTree]) -> jax.Array:
    """Returns what the loss is multiplied by; 1 where nothing is scaled."""
    if "loss_scale" not in extra:
        return jnp.ones(())
    return extra["loss_scale"]["factor"]


def keep_if_finite(old: TrainState, new: TrainState, norm: jax.Array) -> TrainState:
    """Returns the new state, or the old one with half the scale after an overflow.

    Args:
        old: before the step.
        new: after it.
        norm: of all gradients; not finite after an overflow.
    """
    if "loss_scale" not in old.extra:
        return new
    finite = jnp.isfinite(norm)
    chosen = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
    before = old.extra["loss_scale"]
    good = jnp.where(finite, before["good_steps"] + 1, 0)
    grown = good >= INTERVAL
    size = before["factor"]
    size = jnp.where(grown, jnp.minimum(size * GROWTH, LARGEST), size)
    size = jnp.where(finite, size, jnp.maximum(before["factor"] / GROWTH, 1))
    scale = {"factor": size, "good_steps": jnp.where(grown, 0, good)}
    return chosen.replace(extra={**chosen.extra, "loss_scale": scale})
