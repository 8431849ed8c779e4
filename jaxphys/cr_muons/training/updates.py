"""Optimizers of both networks and their steps: clipping, moments, rates."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.training.optimizers import make_optimizer

PyTree = Any
Optimizers = Mapping[str, optax.GradientTransformation]
BETAS = (0.0, 0.9)
# each has a state of its own: in the recipe "split" the multiplicity network takes two
# steps per batch where the other networks of the generator take one
GROUPS = ("critic", "multiplicity", "muons")


def optimizers(settings: GanSettings) -> dict[str, optax.GradientTransformation]:
    """Returns the optimizer of each group; its gradients are clipped already."""
    rates = {
        "critic": settings.learning_rate_critic or settings.learning_rate,
        "multiplicity": settings.learning_rate_multiplicity or settings.learning_rate,
        "muons": settings.learning_rate,
    }
    return {
        group: make_optimizer(
            settings.optimizer, rates[group], momentum=settings.momentum, betas=BETAS
        )
        for group in GROUPS
    }


def groups_of(params: PyTree) -> dict[str, PyTree]:
    """Returns the parameters of a generator as the groups of its optimizers."""
    muons = {name: params[name] for name in ("global_net", "local_net")}
    return {"multiplicity": params["multiplicity_net"], "muons": muons}


def from_groups(groups: Mapping[str, PyTree]) -> PyTree:
    """Inverts `groups_of`."""
    return {"multiplicity_net": groups["multiplicity"], **groups["muons"]}


def initial(params: PyTree, optimizer: Optimizers) -> dict[str, PyTree]:
    """Returns the state of all optimizers for {"generator", "critic"}."""
    trees = {"critic": params["critic"], **groups_of(params["generator"])}
    return {group: optimizer[group].init(trees[group]) for group in GROUPS}


def clipped(gradient: PyTree, largest: float) -> tuple[PyTree, jax.Array]:
    """Returns a gradient of at most this norm, and the norm it had."""
    norm = optax.tree.norm(gradient)
    if not largest:
        return gradient, norm
    factor = jnp.minimum(1.0, largest / (norm + 1e-6))  # PyTorch's rule
    return jax.tree.map(lambda g: g * factor, gradient), norm


def rate_factor(step: jax.Array, settings: GanSettings) -> jax.Array | None:
    """Returns what the rates are multiplied with in a batch; None for 1."""
    if not settings.lr_decay_steps:
        return None
    done = jnp.minimum(step / settings.lr_decay_steps, 1.0)
    return 0.5 * (1 + jnp.cos(math.pi * done))


def apply(
    optimizer: optax.GradientTransformation,
    params: PyTree,
    gradient: PyTree,
    opt_state: PyTree,
    factor: jax.Array | None = None,
) -> tuple[PyTree, PyTree]:
    """Returns parameters and state of a group after a step.

    Args:
        optimizer: of the group.
        params: of the group.
        gradient: of the group, clipped.
        opt_state: of the group.
        factor: see `rate_factor`.
    """
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    if factor is not None:
        updates = jax.tree.map(lambda u: u * factor, updates)
    return optax.apply_updates(params, updates), opt_state


def averaged(mean: PyTree, params: PyTree, step: jax.Array, decay: float) -> PyTree:
    """Returns the running mean of parameters after a step; short-lived at first."""
    keep = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda m, p: keep * m + (1 - keep) * p, mean, params)
