"""One training step: critic updates, then one of the generator.

A batch holds conditions [D, B, C], features [D, M, K], num_muons [D, B] int32,
muon_event [D, M] int32 (ascending, B for padding) and event_mask [D, B]; features and
conditions are normalised. With `grad_accum_steps` G it holds D*G parts, the G parts of
a device one after the other.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import critic, generator, parts
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import (
    adaptive,
    critic_step,
    generator_step,
    turns,
    updates,
)
from jaxphys.training.task import Metrics, TrainState

PyTree = Any
Batch = Mapping[str, jax.Array]
Draws = Mapping[str, Any]


def initial_params(key: jax.Array, settings: GanSettings) -> dict[str, PyTree]:
    """Draws the weights {"generator", "critic"}."""
    one, other = jax.random.split(key)
    return {
        "generator": generator.initial_params(one, settings),
        "critic": critic.initial_params(other, settings),
    }


def initial_state(key: jax.Array, settings: GanSettings) -> TrainState:
    """Returns the state of step 0."""
    return state_of(initial_params(key, settings), settings)


def state_of(params: PyTree, settings: GanSettings) -> TrainState:
    """Returns the state of step 0 for given weights {"generator", "critic"}."""
    extra = {"score_ema": jnp.float32(1), **adaptive.initial(settings)}
    if settings.gen_ema_decay:
        extra["generator_ema"] = jax.tree.map(jnp.array, params["generator"])
    opt_state = updates.initial(params, settings)
    return TrainState(jnp.int32(0), params, opt_state, extra)


def sampling_params(state: TrainState) -> PyTree:
    """Returns the weights to generate with: the averaged ones where there are some."""
    return state.extra.get("generator_ema", state.params["generator"])


def sampled(state: TrainState) -> dict[str, PyTree]:
    """Returns what is kept of the best evaluation, {"params"} of the generator."""
    return {"params": sampling_params(state)}


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    settings: GanSettings,
    draws: Draws | None = None,
) -> tuple[TrainState, Metrics]:
    """Takes a step with one batch; the caller advances `step`.

    Args:
        state: see `initial_state`.
        batch: see the module.
        key: of the step.
        settings: of the model and its recipe.
        draws: random numbers in place of those from the key, for replaying a record:
            z_global [T, D, B, Zg], z_local [T, D, F, Zl] for T turns (every critic
            update and, in the recipe "joint", the generator update) and, where there
            is a penalty, alpha [T, D, B] and pairs.

    Returns:
        The state after the step and, of the last critic update, c_loss, w_gap, gp,
        grad_norm_crit, num_fake and fake_overflow_events; of the generator update
        g_loss, m_loss, grad_norm_gen; score_ema, critic_steps and lambda_gp.
    """
    return _take(state, batch, key, settings, draws)[:2]


class Begun(NamedTuple):
    """A step before its first critic update.

    Attributes:
        params: {"generator", "critic"}; in the recipe "split" the multiplicity network
            has taken its step.
        opt_state: of all optimizers, likewise.
        m_loss: of that step, or None.
        head: output of the multiplicity network, [A, B, 1 or 2]; the generator does
            not change during the critic updates.
        critic: state of the critic.
    """

    params: dict[str, PyTree]
    opt_state: dict[str, PyTree]
    m_loss: jax.Array | None
    head: jax.Array
    critic: critic_step.CriticState


def begin(state: TrainState, batch: Batch, settings: GanSettings) -> Begun:
    """Returns the step of a batch before its first critic update."""
    params, opt_state = dict(state.params), dict(state.opt_state)
    m_loss = None
    if settings.train_recipe == "split":
        params["generator"], opt_state["multiplicity"], m_loss = (
            generator_step.update_multiplicity(
                params["generator"],
                opt_state["multiplicity"],
                batch,
                settings,
                updates.rate_factor(state.step, settings),
            )
        )
    head = parts.heads(params["generator"], batch["conditions"], settings)
    looks = critic_step.looks_of(state.extra["score_ema"])
    zeros = {str(name): jnp.zeros(()) for name in critic_step.METRICS}
    carried = critic_step.CriticState(
        params["critic"], opt_state["critic"], looks, zeros
    )
    return Begun(params, opt_state, m_loss, head, carried)


def step_and_gradients(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    settings: GanSettings,
    draws: Draws | None = None,
) -> tuple[TrainState, Metrics, dict[str, PyTree]]:
    """Takes a step and returns two of its gradients too, both after clipping.

    The arguments are those of `train_step`; the gradients are those of the first
    critic update and of the generator update, {"critic", "generator"}.
    """
    new, metrics, begun, last = _take(state, batch, key, settings, draws)
    first = _critic_gradient(state, begun, batch, key, settings, draws)
    gradients = {"critic": first(0, begun.critic)[0], "generator": last}
    return new, metrics, gradients


def _take(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    settings: GanSettings,
    draws: Draws | None,
) -> tuple[TrainState, Metrics, Begun, PyTree]:
    """Returns `train_step`, the step as it began, the gradient of the generator."""
    begun = begin(state, batch, settings)
    params, opt_state = dict(begun.params), dict(begun.opt_state)
    factor = updates.rate_factor(state.step, settings)
    carried, steps = _critic_updates(state, begun, batch, key, settings, draws, factor)
    params["critic"], opt_state["critic"] = carried.params, carried.opt_state
    turn = turns.turn_of(key, draws, steps - (settings.train_recipe == "split"))
    slope, looks, found = generator_step.gradient(
        params, carried.looks, turn, batch, begun.head, settings
    )
    params["generator"], states = generator_step.update(
        params["generator"], opt_state, slope, settings, factor
    )
    opt_state |= states
    looks = looks.folded() if settings.grad_accum_steps > 1 else looks
    metrics = {**carried.metrics, **found}
    if begun.m_loss is not None:
        metrics["m_loss"] = begun.m_loss
    new = state.replace(
        params=params,
        opt_state=opt_state,
        extra=_extra(state, params, metrics["w_gap"], looks.ema, settings),
    )
    return new, _weighted(metrics, state, looks.ema, batch), begun, slope


def _extra(state, params, w_gap, ema, settings):
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


def _critic_gradient(
    state: TrainState,
    begun: Begun,
    batch: Batch,
    key: jax.Array,
    settings: GanSettings,
    draws: Draws | None,
) -> Callable[[jax.Array | int, critic_step.CriticState], Any]:
    """Returns the function (number, state of the critic) -> gradient and more."""
    adapted = settings.adaptive_critic
    lambda_gp: Any = state.extra["lambda_gp"] if adapted else settings.lambda_gp

    def gradient(number, carried):
        turn = turns.turn_of(key, draws, number)
        generator = begun.params["generator"]
        return critic_step.gradient(
            carried, turn, number, batch, generator, begun.head, lambda_gp, settings
        )

    return gradient


def _critic_updates(
    state: TrainState,
    begun: Begun,
    batch: Batch,
    key: jax.Array,
    settings: GanSettings,
    draws: Draws | None,
    factor: jax.Array | None,
) -> tuple[critic_step.CriticState, jax.Array | int]:
    """Returns what the critic updates lead to, and their number."""
    gradient = _critic_gradient(state, begun, batch, key, settings, draws)

    def once(number, carried):
        found = gradient(number, carried)
        return critic_step.update(carried, found, settings, factor)

    adapted = settings.adaptive_critic
    steps = state.extra["critic_steps"] if adapted else settings.critic_steps
    if not adapted and steps == 1:
        return once(0, begun.critic), steps
    # the number of updates is data: one compilation serves all that it may become
    return jax.lax.fori_loop(0, steps, once, begun.critic), steps


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
