"""The generator step: fool the critic, and learn the numbers of muons."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxphys.cr_muons.model import critic, multiplicity, parts
from jaxphys.cr_muons.model.generator import predicted_log_count
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import passes, updates
from jaxphys.cr_muons.training.critic_step import Looks, looks_of
from jaxphys.cr_muons.training.latents import Latents
from jaxphys.cr_muons.training.passes import Pass
from jaxphys.cr_muons.training.updates import Optimizers

PyTree = Any
Batch = Mapping[str, jax.Array]


def multiplicity_loss(
    head: jax.Array, batch: Batch, events: jax.Array, settings: GanSettings
) -> jax.Array:
    """Returns the sum of the multiplicity loss over `events`.

    Args:
        head: output of the multiplicity network, [D, B, 1 or 2].
        batch: some parts of a batch.
        events: number of events of the whole batch.
        settings: of the model.
    """
    each = multiplicity.loss(head, batch["num_muons"], settings)
    return jnp.sum(jnp.where(batch["event_mask"] > 0, each, 0)) / events


def update_multiplicity(
    params: PyTree,
    opt_state: PyTree,
    batch: Batch,
    settings: GanSettings,
    optimizer: optax.GradientTransformation,
    factor: jax.Array | None,
) -> tuple[PyTree, PyTree, jax.Array]:
    """Takes the step of the recipe "split" on the multiplicity network alone.

    Args:
        params: of the generator.
        opt_state: of the network's optimizer.
        batch: see `jaxphys.cr_muons.training.step`.
        settings: of the model.
        optimizer: of the multiplicity network.
        factor: of the learning rate, or None.

    Returns:
        Parameters of the generator, state of the network's optimizer, loss before.
    """
    events = jnp.maximum(jnp.sum(batch["event_mask"]), 1)

    def one_pass(batch):
        def loss(net):
            found = {**params, "multiplicity_net": net}
            head = parts.heads(found, batch["conditions"], settings)
            return multiplicity_loss(head, batch, events, settings)

        return jax.value_and_grad(loss)(params["multiplicity_net"])

    stacked = passes.split_passes(dict(batch), settings.grad_accum_steps)
    value, gradient = passes.sum_passes(one_pass, stacked)
    gradient, _ = updates.clipped(gradient, settings.grad_clip_norm)
    net, opt_state = updates.apply(
        optimizer, params["multiplicity_net"], gradient, opt_state, factor
    )
    return {**params, "multiplicity_net": net}, opt_state, value


def gradient(
    params: Mapping[str, PyTree],
    looks: Looks,
    latents: Latents,
    batch: Batch,
    settings: GanSettings,
) -> tuple[PyTree, Looks, dict[str, jax.Array]]:
    """Returns the clipped gradient of the generator's loss, looks and metrics.

    Args:
        params: {"generator", "critic"}.
        looks: of the running mean of |raw|.
        latents: of the generated events; their numbers of muons are those of the
            generator's weights.
        batch: see `jaxphys.cr_muons.training.step`.
        settings: of the model.
    """
    several = settings.grad_accum_steps > 1
    joint = settings.train_recipe == "joint"
    events = jnp.maximum(jnp.sum(batch["event_mask"]), 1)
    total = jnp.maximum(latents.plan.total, 1)

    def one_pass(one: Pass):
        def loss(found):
            # once for both losses: two would be differentiated one after the other
            again = parts.heads(found, one.batch["conditions"], settings)
            counts = one.plan.counts
            if settings.multiplicity == "deterministic":
                # the same numbers, with a gradient through log10(N + 1)
                fresh = predicted_log_count(again, settings)
                counts = counts._replace(log_count=fresh)
            planned = one._replace(plan=one.plan._replace(counts=counts))
            fakes = passes.generated(planned, found, settings)
            raw = parts.raw_scores(
                params["critic"], fakes, one.batch["conditions"], settings
            )
            after = looks_of(looks.ema).seen(raw, one.plan.weight, several)
            score = critic.score(raw, after.ema, total, settings.score_head)
            g_loss = -jnp.sum(score * one.plan.weight) / total
            m_loss = jnp.zeros_like(g_loss)
            if joint:
                m_loss = multiplicity_loss(again, one.batch, events, settings)
            return g_loss + m_loss, (g_loss, m_loss, after)

        slope = jax.value_and_grad(loss, has_aux=True)
        (_, aux), found = slope(params["generator"])
        return aux, found

    (g_loss, m_loss, after), found = passes.sum_passes(
        one_pass, passes.passes_of(batch, latents, settings)
    )
    if several:
        after = looks.plus(after)
    found, norm = updates.clipped(found, settings.grad_clip_norm)
    metrics = {"g_loss": g_loss, "m_loss": m_loss, "grad_norm_gen": norm}
    return found, after, metrics


def update(
    params: PyTree,
    opt_state: Mapping[str, PyTree],
    slope: PyTree,
    optimizer: Optimizers,
    factor: jax.Array | None,
) -> tuple[PyTree, dict[str, PyTree]]:
    """Takes one optimizer step of the generator; returns weights and states.

    Args:
        params: of the generator.
        opt_state: of all optimizers.
        slope: clipped gradient.
        optimizer: all of them.
        factor: of the learning rate, or None.
    """
    trees, slopes = updates.groups_of(params), updates.groups_of(slope)
    states = {}
    for group in trees:
        trees[group], states[group] = updates.apply(
            optimizer[group], trees[group], slopes[group], opt_state[group], factor
        )
    return updates.from_groups(trees), states
