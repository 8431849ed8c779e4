"""What is random in a critic step or a generator step, drawn from its key.

The generated events of a step follow from their numbers of muons and their noise, a
gradient penalty from pairs of muons and the places between them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import draws
from jaxphys.cr_muons.model.generator import Counts, Places, counts_of
from jaxphys.cr_muons.model.multiplicity import log_count_of
from jaxphys.cr_muons.model.parts import (
    Noise,
    draw_noise,
    over_parts,
    place_all,
    slots_of,
)
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import penalty
from jaxphys.cr_muons.training.penalty import Pairs

Batch = Mapping[str, jax.Array]


class Plan(NamedTuple):
    """Numbers and places of the generated muons of all parts.

    Attributes:
        counts: [A, B] each, A parts in all.
        places: of the muons, [A, ...] each.
        weight: [A, B], 1 for events that count.
        total: sum of the weights.
        overflow: events without places for their muons.
    """

    counts: Counts
    places: Places
    weight: jax.Array
    total: Any
    overflow: Any


class Latents(NamedTuple):
    """What the generated events of a step are made of, beside their conditions.

    Attributes:
        plan: numbers and places of their muons.
        noise: of events and muons.
    """

    plan: Plan
    noise: Noise


def fake_budget(batch: Batch, settings: GanSettings) -> int:
    """Returns the places for generated muons of a part, F."""
    return settings.fake_muon_budget or batch["features"].shape[1]


def draw_plan(
    key: jax.Array, head: jax.Array, batch: Batch, settings: GanSettings
) -> Plan:
    """Draws the numbers of muons of generated events and places them.

    Args:
        key: of the critic or generator step.
        head: [A, B, 1 or 2] of the multiplicity network.
        batch: the whole batch.
        settings: of the model.
    """
    mask = batch["event_mask"]
    if settings.fake_counts == "real":
        number = batch["num_muons"]
        counts = Counts(number, log_count_of(number))
    else:
        key = jax.random.fold_in(key, draws.COUNTS)
        counts = counts_of(head, mask, key, settings)
    places = place_all(counts.number, fake_budget(batch, settings))
    weight = mask * places.kept
    overflow = jnp.sum(mask) - jnp.sum(weight)
    return Plan(counts, places, weight, jnp.sum(weight), overflow)


def draw(
    key: jax.Array, head: jax.Array, batch: Batch, settings: GanSettings
) -> Latents:
    """Draws the latents of a critic or generator step; see `draw_plan`."""
    plan = draw_plan(key, head, batch, settings)
    slots = slots_of(batch["num_muons"].shape)
    return Latents(plan, draw_noise(key, slots, plan.places, settings))


def draw_pairs(
    key: jax.Array, plan: Plan, batch: Batch, settings: GanSettings
) -> tuple[Pairs, jax.Array]:
    """Draws the pairs of a gradient penalty, and alpha [A, B].

    Each part has an equal share of the largest number of pairs.

    Args:
        key: of the critic step.
        plan: of its generated muons.
        batch: the whole batch.
        settings: of the model.
    """
    parts, events = batch["num_muons"].shape
    alpha = draws.event_uniform(
        jax.random.fold_in(key, draws.ALPHA), slots_of((parts, events))
    )
    key = jax.random.fold_in(key, draws.PAIRS)
    # events without places count neither as real nor as generated
    real, fake = batch["num_muons"], plan.places.number
    slots = min(batch["features"].shape[1], plan.places.event.shape[1])
    most = -(-settings.gp_max_pairs // parts)
    if settings.gp_mode == "event":
        bits = jax.random.bits(key, (parts * events, 3), jnp.uint32)
        bits = bits.reshape(parts, events, 3)
        pairs = over_parts(
            lambda b, r, f: penalty.event_pairs(b, r, f, slots, most), bits, real, fake
        )
        return pairs, alpha
    bits = jax.random.bits(key, (parts, slots), jnp.uint32)
    fraction = settings.gp_sample_fraction
    pairs = over_parts(
        lambda b, r, f: penalty.flat_pairs(b, r, f, slots, most, fraction),
        bits,
        real,
        fake,
    )
    return pairs, alpha
