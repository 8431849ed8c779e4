"""The adversarial step of a batch: some critic steps, then a generator step.

Reference: Gulrajani et al., https://arxiv.org/abs/1704.00028, algorithm 1.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import (
    adaptive,
    critic_step,
    generator_step,
    latents,
    updates,
)
from jaxphys.cr_muons.training.critic_step import CriticState
from jaxphys.cr_muons.training.updates import Optimizers
from jaxphys.training.task import Metrics, TrainState

PyTree = Any
Batch = Mapping[str, jax.Array]


def gan_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    settings: GanSettings,
    optimizer: Optimizers,
) -> tuple[TrainState, Metrics]:
    """Takes the critic steps and the generator step of a batch.

    Args:
        state: see `jaxphys.cr_muons.training.step`.
        batch: likewise.
        key: of the step.
        settings: of the model and its recipe.
        optimizer: of each group of parameters.

    Returns:
        The state after the step and, of the last critic step, c_loss, w_gap, gp,
        grad_norm_crit, num_fake and fake_overflow_events; of the generator step
        g_loss, m_loss, grad_norm_gen; score_ema, critic_steps and lambda_gp.
    """
    params, opt_state = dict(state.params), dict(state.opt_state)
    factor = updates.rate_factor(state.step, settings)
    split, m_loss = settings.train_recipe == "split", None
    if split:
        params["generator"], opt_state["multiplicity"], m_loss = (
            generator_step.update_multiplicity(
                params["generator"],
                opt_state["multiplicity"],
                batch,
                settings,
                optimizer["multiplicity"],
                factor,
            )
        )
    # the generator does not change during the critic steps
    generator = params["generator"]
    head = parts.heads(generator, batch["conditions"], settings)
    adapted = settings.adaptive_critic
    steps = state.extra["critic_steps"] if adapted else settings.critic_steps
    lambda_gp: Any = state.extra["lambda_gp"] if adapted else settings.lambda_gp

    def one_critic_step(number: jax.Array | int, critic: CriticState) -> CriticState:
        own = jax.random.fold_in(key, number)
        drawn = latents.draw(own, head, batch, settings)
        pairs_of = functools.partial(
            latents.draw_pairs, own, drawn.plan, batch, settings
        )
        found = critic_step.gradient(
            critic, number, drawn, pairs_of, batch, generator, lambda_gp, settings
        )
        return critic_step.update(critic, found, optimizer["critic"], factor)

    critic = _repeat(
        one_critic_step,
        steps,
        critic_step.begin(
            params["critic"], opt_state["critic"], state.extra["score_ema"]
        ),
    )
    params["critic"], opt_state["critic"] = critic.params, critic.opt_state
    # the recipe "split" takes the generated events of the last critic step again
    own = jax.random.fold_in(key, steps - split)
    slope, looks, found = generator_step.gradient(
        params, critic.looks, latents.draw(own, head, batch, settings), batch, settings
    )
    params["generator"], states = generator_step.update(
        generator, opt_state, slope, optimizer, factor
    )
    opt_state |= states
    looks = looks.folded() if settings.grad_accum_steps > 1 else looks
    metrics = {**critic.metrics, **found}
    if m_loss is not None:
        metrics["m_loss"] = m_loss
    extra = _extra(state, params, metrics["w_gap"], looks.ema, settings)
    new = state.replace(params=params, opt_state=opt_state, extra=extra)
    return new, _weighted(metrics, state, looks.ema, batch)


def _repeat(step: Callable[..., CriticState], steps: Any, critic: CriticState) -> Any:
    if isinstance(steps, int) and steps == 1:
        return step(0, critic)
    # the number of steps is data: one compilation serves all that it may become
    return jax.lax.fori_loop(0, steps, step, critic)


def _extra(
    state: TrainState,
    params: Mapping[str, PyTree],
    w_gap: jax.Array,
    ema: jax.Array,
    settings: GanSettings,
) -> dict[str, Any]:
    """Returns what a state holds beside weights and optimizers, after a step."""
    own = adaptive.initial(settings)
    kept = {name: state.extra[name] for name in own}
    extra = {**state.extra, **adaptive.after_batch(kept, w_gap, settings)}
    extra["score_ema"] = ema
    if settings.gen_ema_decay:
        extra["generator_ema"] = updates.averaged(
            state.extra["generator_ema"],
            params["generator"],
            state.step,
            settings.gen_ema_decay,
        )
    return extra


def _weighted(
    metrics: Mapping[str, jax.Array],
    state: TrainState,
    ema: jax.Array,
    batch: Batch,
) -> Metrics:
    """Returns sums and weights: means over events, plain means of batches."""
    events = jnp.sum(batch["event_mask"])
    one = jnp.ones_like(events)
    means = ("c_loss", "w_gap", "g_loss", "m_loss")
    found = {name: (metrics[name] * events, events) for name in means}
    plain = {
        "gp": metrics["gp"],
        "grad_norm_crit": metrics["grad_norm_crit"],
        "grad_norm_gen": metrics["grad_norm_gen"],
        "num_fake": metrics["num_fake"],
        "fake_overflow_events": metrics["overflow"],
        "score_ema": ema,
        "critic_steps": state.extra["critic_steps"].astype(one.dtype),
        "lambda_gp": state.extra["lambda_gp"],
    }
    return found | {name: (value, one) for name, value in plain.items()}
