"""The numbers of muons first, then the muons: two phases of one training.

The law of the number needs some 10,000 batches to be learned, and a batch of it costs a
fiftieth of an adversarial one. So the multiplicity network is trained alone, by its
likelihood, and is left as it is while generator and critic play.
"""

import math

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import generator_step
from jaxphys.cr_muons.training.gan_step import gan_step
from jaxphys.cr_muons.training.generator_step import Batch
from jaxphys.cr_muons.training.updates import Optimizers
from jaxphys.training.task import Metrics, TrainState

PHASES = ("multiplicity", "train")


def multiplicity_step(
    state: TrainState,
    batch: Batch,
    *,
    settings: GanSettings,
    optimizer: Optimizers,
    num_steps: int,
) -> tuple[TrainState, Metrics]:
    """Takes a step of the multiplicity network alone.

    Args:
        state: see `jaxphys.cr_muons.training.step`.
        batch: normalised, likewise.
        settings: of the model.
        optimizer: of each group of parameters.
        num_steps: steps of the phase; the rate falls to 0 over them as a cosine.

    Returns:
        The state after it and m_loss, the loss before it.
    """
    done = jnp.minimum(state.step / num_steps, 1.0)
    generator, opt_state, loss = generator_step.update_multiplicity(
        state.params["generator"],
        state.opt_state["multiplicity"],
        batch,
        settings,
        optimizer["multiplicity"],
        0.5 * (1 + jnp.cos(math.pi * done)),
    )
    new = state.replace(
        params={**state.params, "generator": generator},
        opt_state={**state.opt_state, "multiplicity": opt_state},
    )
    events = jnp.sum(batch["event_mask"])
    return new, {"m_loss": (loss * events, events)}


def begin_adversarial(state: TrainState) -> TrainState:
    """Returns the state with averages that begin at the weights of now."""
    if "generator_ema" not in state.extra:
        return state
    start = jax.tree.map(jnp.copy, state.params["generator"])
    return state.replace(extra={**state.extra, "generator_ema": start})


def adversarial_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    settings: GanSettings,
    optimizer: Optimizers,
    num_steps: int,
) -> tuple[TrainState, Metrics]:
    """Takes a step of critic and generator; the multiplicity network stays.

    Args:
        state: see `jaxphys.cr_muons.training.step`.
        batch: normalised, likewise.
        key: of the step.
        settings: of the model.
        optimizer: of each group of parameters.
        num_steps: steps of the phase before, in which nothing of this one decayed.
    """
    began = state.replace(step=state.step - num_steps)
    new, metrics = gan_step(began, batch, key, settings=settings, optimizer=optimizer)
    kept = state.params["generator"]["multiplicity_net"]
    generator = {**new.params["generator"], "multiplicity_net": kept}
    new = new.replace(
        step=state.step,
        params={**new.params, "generator": generator},
        opt_state={
            **new.opt_state,
            "multiplicity": state.opt_state["multiplicity"],
        },
    )
    return _with_number_in_average(new, kept), metrics


def _with_number_in_average(state: TrainState, kept) -> TrainState:
    """The moving weights of a step must not leak into the averaged number."""
    if "generator_ema" not in state.extra:
        return state
    average = {**state.extra["generator_ema"], "multiplicity_net": kept}
    return state.replace(extra={**state.extra, "generator_ema": average})
