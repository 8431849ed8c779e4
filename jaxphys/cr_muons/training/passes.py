"""A batch that is taken in several passes, one after the other, to save memory."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model.parts import Muons, Noise, generate
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training.latents import Latents, Plan
from jaxphys.cr_muons.training.penalty import Pairs

PyTree = Any


class Pass(NamedTuple):
    """The parts of one pass.

    Attributes:
        batch: arrays of these parts.
        plan: of the generated muons; `total` and `overflow` are left out.
        noise: of these.
        pairs: of the penalty, if there is one.
        alpha: [D, B], likewise.
    """

    batch: Mapping[str, jax.Array]
    plan: Plan
    noise: Noise
    pairs: Pairs | None = None
    alpha: jax.Array | None = None


def passes_of(
    batch: Mapping[str, jax.Array],
    latents: Latents,
    settings: GanSettings,
    pairs: Pairs | None = None,
    alpha: jax.Array | None = None,
) -> Pass:
    """Returns all passes of a step, on a leading axis G."""
    plan = latents.plan._replace(total=None, overflow=None)
    whole = Pass(dict(batch), plan, latents.noise, pairs, alpha)
    return split_passes(whole, settings.grad_accum_steps)


def generated(one: Pass, gen_params: PyTree, settings: GanSettings) -> Muons:
    """Generates the muons of the parts of a pass."""
    return generate(
        gen_params,
        one.batch["conditions"],
        one.plan.counts,
        one.plan.places,
        one.noise,
        settings,
    ).muons


def split_passes(tree: PyTree, passes: int) -> PyTree:
    """Returns arrays [A, ...] as [G, A / G, ...]; a device keeps its parts."""
    if passes == 1:
        return jax.tree.map(lambda a: a[None], tree)

    def split(a):
        if a.shape[0] % passes:
            raise ValueError(
                f"--grad_accum_steps={passes}: expected a batch of a multiple of so "
                f"many parts, got {a.shape[0]}"
            )
        return jnp.moveaxis(a.reshape(-1, passes, *a.shape[1:]), 1, 0)

    return jax.tree.map(split, tree)


def sum_passes(function: Callable[[PyTree], PyTree], stacked: PyTree) -> PyTree:
    """Returns the sum of a function over the leading axis of its argument."""
    first = jax.tree.map(lambda a: a[0], stacked)
    if jax.tree.leaves(stacked)[0].shape[0] == 1:
        return function(first)
    shapes = jax.eval_shape(function, first)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total, one):
        return jax.tree.map(jnp.add, total, function(one)), None

    return jax.lax.scan(add, zeros, stacked)[0]
