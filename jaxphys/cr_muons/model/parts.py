"""A batch as a training step sees it: D parts, one after the other on the first axis.

Within a part the muons of all events lie one after the other. Sums and counts are
added over parts before they are divided, so that D does not matter.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import critic, draws
from jaxphys.cr_muons.model.generator import (
    Counts,
    Generator,
    MultiplicityNet,
    Places,
    place,
)
from jaxphys.cr_muons.model.settings import GanSettings

PyTree = Any


class Muons(NamedTuple):
    """Muons of the events of all parts.

    Attributes:
        features: [D, M, K].
        event: [D, M] int32, ascending; B for padding.
        number: [D, B] int32, muons of each event.
    """

    features: jax.Array
    event: jax.Array
    number: jax.Array


class Fakes(NamedTuple):
    """Generated muons.

    Attributes:
        muons: with places.
        kept: [D, B], 1 where the muons of the event have places, else 0.
    """

    muons: Muons
    kept: jax.Array


def over_parts(function: Callable, *arrays: PyTree) -> Any:
    """Applies a function of one part to every part.

    With one part it equals vmap, but on a CPU what is gathered or scattered along a
    batch axis costs more.
    """
    leading = jax.tree.leaves(arrays)[0].shape[0]
    if leading == 1:
        found = function(*jax.tree.map(lambda a: a[0], arrays))
        return jax.tree.map(lambda a: a[None], found)
    return jax.vmap(function)(*arrays)


def real_muons(batch: Mapping[str, jax.Array]) -> Muons:
    """Returns the real muons of a batch (see `jaxphys.cr_muons.training.step`)."""
    return Muons(batch["features"], batch["muon_event"], batch["num_muons"])


def raw_scores(
    params: PyTree, muons: Muons, conditions: jax.Array, settings: GanSettings
) -> jax.Array:
    """Returns the raw scores of the critic, [D, B], for conditions [D, B, C]."""
    network = critic.Critic(settings)

    def part(muons, conditions):
        return network.apply({"params": params}, *muons, conditions)

    return over_parts(part, muons, conditions)


def heads(params: PyTree, conditions: jax.Array, settings: GanSettings) -> jax.Array:
    """Returns the output of the multiplicity network, [D, B, 1 or 2].

    Args:
        params: of the generator; its multiplicity_net is read.
        conditions: [D, B, C].
        settings: of the model.
    """
    network = MultiplicityNet(settings)

    def part(conditions):
        return network.apply({"params": params["multiplicity_net"]}, conditions)

    return over_parts(part, conditions)


def place_all(number: jax.Array, budget: int) -> Places:
    """Places the generated muons of all parts, each in a budget of its own."""
    return over_parts(lambda n: place(n, budget), number)


def slots_of(shape: tuple[int, ...]) -> jax.Array:
    """Returns the number of each event in the global batch, [D, B] int32."""
    return jnp.arange(shape[0] * shape[1], dtype=jnp.int32).reshape(shape)


def local_noise(
    key: jax.Array, slots: jax.Array, places: Places, purpose: int, width: int
) -> jax.Array:
    """Returns random words of every generated muon, [D, F, W] uint32.

    Args:
        key: of the turn.
        slots: [D, B], see `slots_of`.
        places: of the muons, [D, F].
        purpose: see `jaxphys.cr_muons.model.draws`.
        width: W.
    """
    key = jax.random.fold_in(key, purpose)

    def part(slots, event, within):
        slot = jnp.take(slots, event, mode="clip")
        return draws.muon_bits(key, slot, within, width)

    return over_parts(part, slots, places.event, places.within)


def rotated(features: jax.Array, turn: jax.Array) -> jax.Array:
    """Returns features with columns 1 and 2 turned by a part of a full turn.

    Args:
        features: [..., 3]; x and y share one scale and have mean 0.
        turn: [...], from 0 to 1.
    """
    angle = 2 * jnp.pi * turn
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = features[..., 1], features[..., 2]
    return jnp.stack([features[..., 0], x * cos - y * sin, x * sin + y * cos], axis=-1)


class Noise(NamedTuple):
    """What is random in the features of generated muons.

    Attributes:
        z_global: [D, B, Zg].
        z_local: [D, F, Zl].
        turn: [D, F] from 0 to 1, or None for muons that are not turned.
    """

    z_global: jax.Array
    z_local: jax.Array
    turn: jax.Array | None


def draw_noise(
    key: jax.Array, slots: jax.Array, places: Places, settings: GanSettings
) -> Noise:
    """Draws the noise of the generated events of one turn."""
    z_global = draws.event_normal(
        jax.random.fold_in(key, draws.Z_GLOBAL), slots, settings.latent_dim_global
    )
    bits = local_noise(key, slots, places, draws.Z_LOCAL, settings.latent_dim_local)
    turn = None
    if settings.rotate_output:
        words = local_noise(key, slots, places, draws.ANGLE, 1)
        turn = draws.uniform_of(words[..., 0])
    return Noise(z_global, draws.normal_of(bits), turn)


def generate(
    params: PyTree,
    conditions: jax.Array,
    counts: Counts,
    places: Places,
    noise: Noise,
    settings: GanSettings,
) -> Fakes:
    """Generates the muons that have places.

    Args:
        params: of the generator.
        conditions: [D, B, C].
        counts: see `jaxphys.cr_muons.model.generator.counts_of`.
        places: of these counts.
        noise: of this turn.
        settings: of the model.
    """
    network = Generator(settings)

    def part(conditions, log_count, z_global, z_local, event):
        return network.apply(
            {"params": params},
            conditions,
            log_count,
            z_global,
            z_local,
            event,
            method="muons",
        )

    features = over_parts(
        part, conditions, counts.log_count, noise.z_global, noise.z_local, places.event
    )
    if noise.turn is not None:
        features = rotated(features, noise.turn)
    muons = Muons(features, places.event, places.number)
    return Fakes(muons, places.kept.astype(features.dtype))
