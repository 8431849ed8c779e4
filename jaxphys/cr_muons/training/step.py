"""The step of every phase, and the evaluation, of the muon GAN.

A batch holds conditions [D, B, C], features [D, M, K], num_muons [D, B] int32,
muon_event [D, M] int32 (ascending, B for padding) and event_mask [D, B]; features and
conditions are normalised. With `grad_accum_steps` G it holds D*G parts, the G parts of
a device one after the other.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import critic, draws, generator, parts
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import adaptive, pretraining, updates
from jaxphys.cr_muons.training.gan_step import gan_step
from jaxphys.cr_muons.training.updates import Optimizers
from jaxphys.training.task import Metrics, TrainState

PyTree = Any
Batch = Mapping[str, jax.Array]
_FEWEST_PLACES = 4096


class Objective(NamedTuple):
    """What is learned.

    Attributes:
        settings: of the networks and of their training.
        multiplicity_steps: steps in which the multiplicity network is trained alone,
            the phase "multiplicity"; after it, that network stays as it is. 0: all
            networks learn from the start.
    """

    settings: GanSettings
    multiplicity_steps: int = 0


def initial_params(key: jax.Array, settings: GanSettings) -> dict[str, PyTree]:
    """Draws the weights {"generator", "critic"}."""
    one, other = jax.random.split(key)
    return {
        "generator": generator.initial_params(one, settings),
        "critic": critic.initial_params(other, settings),
    }


def initial_state(
    params: PyTree, *, objective: Objective, optimizer: Optimizers
) -> TrainState:
    """Returns the state of step 0 for given weights {"generator", "critic"}."""
    settings = objective.settings
    extra = {"score_ema": jnp.float32(1), **adaptive.initial(settings)}
    if settings.gen_ema_decay:
        extra["generator_ema"] = jax.tree.map(jnp.array, params["generator"])
    return TrainState(jnp.int32(0), params, updates.initial(params, optimizer), extra)


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
    phase: str,
    *,
    objective: Objective,
    optimizer: Optimizers,
) -> tuple[TrainState, Metrics]:
    """Takes a step with one batch; the caller advances `step`.

    Args:
        state: see `initial_state`.
        batch: see the module.
        key: of the step; all that is random in it follows from it.
        phase: one of `pretraining.PHASES`.
        objective: what is learned.
        optimizer: of each group of parameters, see `updates.optimizers`.

    Returns:
        The state after the step and the metrics: m_loss of the phase "multiplicity",
        else those of `gan_step`.
    """
    settings, before = objective
    if phase == "multiplicity":
        return pretraining.multiplicity_step(
            state, batch, settings=settings, optimizer=optimizer, num_steps=before
        )
    if before:
        return pretraining.adversarial_step(
            state, batch, key, settings=settings, optimizer=optimizer, num_steps=before
        )
    return gan_step(state, batch, key, settings=settings, optimizer=optimizer)


def eval_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    phase: str,
    *,
    objective: Objective,
) -> dict[str, jax.Array]:
    """Generates an event for each condition of a batch.

    Returns:
        fake_count [D, B] int32, muons that have places; fake_features [D, F, K],
        normalised; fake_event [D, F] int32, ascending, B in empty places; lost, the
        number of events whose muons found no place.
    """
    del phase
    settings, params = objective.settings, sampling_params(state)
    mask = batch["event_mask"]
    head = parts.heads(params, batch["conditions"], settings)
    of_counts = jax.random.fold_in(key, draws.COUNTS)
    counts = generator.counts_of(head, mask, of_counts, settings)
    # fluctuations and an untrained generator may well make more than there are
    budget = max(
        4 * batch["features"].shape[1], settings.fake_muon_budget, _FEWEST_PLACES
    )
    places = parts.place_all(counts.number, budget)
    noise = parts.draw_noise(key, parts.slots_of(mask.shape), places, settings)
    conditions = batch["conditions"]
    found = parts.generate(params, conditions, counts, places, noise, settings).muons
    return {
        "fake_count": found.number,
        "fake_features": found.features,
        "fake_event": found.event,
        "lost": jnp.sum((mask > 0) & ~places.kept),
    }
