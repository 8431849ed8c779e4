"""What is random in one turn of a step, and how a batch is taken in several passes.

A turn is a critic update or the generator update. Its numbers come from its key, or are
given, as a recorded run of the original gives them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import draws
from jaxphys.cr_muons.model.generator import Counts, Places, counts_of
from jaxphys.cr_muons.model.multiplicity import log_count_of
from jaxphys.cr_muons.model.parts import (
    Fakes,
    Noise,
    draw_noise,
    generate,
    over_parts,
    place_all,
    slots_of,
)
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import penalty
from jaxphys.cr_muons.training.penalty import Pairs

PyTree = Any


class Turn(NamedTuple):
    """One turn.

    Attributes:
        key: of its draws.
        given: None, or z_global [D, B, Zg] and z_local [D, F, Zl] and, for a penalty,
            alpha [D, B] and pairs.
    """

    key: jax.Array
    given: Mapping[str, Any] | None = None


def turn_of(
    key: jax.Array, given: Mapping[str, Any] | None, number: jax.Array | int
) -> Turn:
    """Returns a turn of a step.

    Args:
        key: of the step.
        given: None, or arrays with a leading axis of turns.
        number: of the turn.
    """
    if given is not None:
        given = jax.tree.map(lambda a: jnp.asarray(a)[number], dict(given))
    return Turn(jax.random.fold_in(key, number), given)


class Plan(NamedTuple):
    """Generated muons of a turn before they are generated, of all parts.

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


def fake_budget(batch: Mapping[str, jax.Array], settings: GanSettings) -> int:
    """Returns the places for generated muons of a part, F."""
    return settings.fake_muon_budget or batch["features"].shape[1]


def plan(
    turn: Turn, head: jax.Array, batch: Mapping[str, jax.Array], settings: GanSettings
) -> Plan:
    """Draws the numbers of muons of a turn and places them.

    Args:
        turn: of the step.
        head: [A, B, 1 or 2] of the multiplicity network.
        batch: the whole batch.
        settings: of the model.
    """
    mask = batch["event_mask"]
    if settings.fake_counts == "real":
        number = batch["num_muons"]
        counts = Counts(number, log_count_of(number))
    else:
        key = jax.random.fold_in(turn.key, draws.COUNTS)
        counts = counts_of(head, mask, key, settings)
    places = place_all(counts.number, fake_budget(batch, settings))
    weight = mask * places.kept
    overflow = jnp.sum(mask) - jnp.sum(weight)
    return Plan(counts, places, weight, jnp.sum(weight), overflow)


def noise_of(turn: Turn, slots: jax.Array, places: Places, settings: GanSettings):
    """Returns the noise of the generated muons of some parts."""
    if turn.given is not None:
        return Noise(turn.given["z_global"], turn.given["z_local"], None)
    return draw_noise(turn.key, slots, places, settings)


def pairs_of(
    turn: Turn, plan: Plan, batch: Mapping[str, jax.Array], settings: GanSettings
) -> tuple[Pairs, jax.Array]:
    """Returns the pairs of a penalty and alpha [A, B].

    Each part has an equal share of the largest number of pairs.
    """
    if turn.given is not None:
        return turn.given["pairs"], turn.given["alpha"]
    parts, events = batch["num_muons"].shape
    key = jax.random.fold_in(turn.key, draws.PAIRS)
    alpha = draws.event_uniform(
        jax.random.fold_in(turn.key, draws.ALPHA), slots_of((parts, events))
    )
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


class Pass(NamedTuple):
    """The parts of one pass.

    Attributes:
        batch: arrays of these parts.
        slots: [D, B], number of each event in the global batch.
        plan: of the generated muons; `total` and `overflow` are left out.
        pairs: of the penalty, if there is one.
        alpha: [D, B], likewise.
    """

    batch: Mapping[str, jax.Array]
    slots: jax.Array
    plan: Plan
    pairs: Pairs | None = None
    alpha: jax.Array | None = None


def passes_of(
    batch: Mapping[str, jax.Array],
    plan: Plan,
    settings: GanSettings,
    pairs: Pairs | None = None,
    alpha: jax.Array | None = None,
) -> Pass:
    """Returns all passes of a step, on a leading axis G."""
    slots = slots_of(batch["num_muons"].shape)
    planned = plan._replace(total=None, overflow=None)
    whole = Pass(dict(batch), slots, planned, pairs, alpha)
    return split_passes(whole, settings.grad_accum_steps)


def generated(
    turn: Turn, one: Pass, gen_params: PyTree, settings: GanSettings
) -> Fakes:
    """Generates the muons of the parts of a pass."""
    noise = noise_of(turn, one.slots, one.plan.places, settings)
    return generate(
        gen_params,
        one.batch["conditions"],
        one.plan.counts,
        one.plan.places,
        noise,
        settings,
    )


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
