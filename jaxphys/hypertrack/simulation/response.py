"""What the detector makes of a flight: hits lost, hits displaced, noise, and labels."""

import dataclasses

import numpy as np

from jaxphys.hypertrack.physics.events import Event, Particles
from jaxphys.hypertrack.physics.weights import hit_weights
from jaxphys.hypertrack.simulation.collisions import Primaries
from jaxphys.hypertrack.simulation.detector import (
    BARREL_HALF_LENGTH,
    is_barrel,
    modules,
    noise_profile,
    resolution,
)
from jaxphys.hypertrack.simulation.fatras import Flight

LOSS = 0.07  # of the hits
STOP = 0.012  # probability per hit that a nuclear interaction ends the track
MOST_HITS = 20  # of a track
NOISE_FRACTION = 0.15
ENDCAP_NOISE_MM = 10.0  # the radii of real noise are spread by so much
MOST_COLLISIONS = 2047  # a particle_id has 11 bits for them below the sign
DECAY, CONVERSION = 201, 14  # process codes of particles that are not prompt


@dataclasses.dataclass(frozen=True, eq=False)
class _Hits:
    """Some hits: `[n]` particle row or -1, `[n, 3]` mm, and `[n]` each module's ids."""

    label: np.ndarray
    position: np.ndarray
    volume: np.ndarray
    layer: np.ndarray
    module: np.ndarray


def respond(
    event_id: int, primaries: Primaries, flight: Flight, rng: np.random.Generator
) -> Event:
    """Makes the event that the detector shows.

    Args:
        event_id: its number.
        primaries: what left the collisions.
        flight: where it went.
        rng: all draws come from it.

    Returns:
        The event, hits sorted by volume, layer and module; official weights of all
        particles.

    Raises:
        ValueError: there are more collisions than a particle_id can number.
    """
    signal = _signal(flight, rng)
    noise = _noise(len(signal.label), rng)
    columns = [
        np.concatenate([getattr(part, f.name) for part in (signal, noise)])
        for f in dataclasses.fields(_Hits)
    ]
    order = np.lexsort(columns[:1:-1])
    label, position, volume, layer, module = (column[order] for column in columns)
    rows, compact = np.unique(label[label >= 0], return_inverse=True)
    label[label >= 0] = compact
    particles = _particles(primaries, flight, rows, np.bincount(compact))
    position = position.astype(np.float32)
    weight = hit_weights(position[:, 2], label, particles.vertex[:, 2], particles.pt)
    number = np.arange(len(label))
    return Event(
        event_id=event_id,
        position=position,
        hit_id=number + 1,
        label=label.astype(np.int32),
        weight=weight.astype(np.float32),
        particles=particles,
        volume_id=volume.astype(np.int32),
        layer_id=layer.astype(np.int32),
        module_id=module.astype(np.int32),
        truth_order=number,
    )


def _signal(flight, rng):
    """Returns the hits that are left of the tracks, as measured."""
    # a track ends after so many hits that are seen
    last = np.minimum(rng.geometric(STOP, len(flight.primary)), MOST_HITS)
    seen = rng.random(len(flight.hit_particle)) >= LOSS
    rank = _rank(flight.hit_particle, flight.hit_index, seen)
    row = np.flatnonzero(seen & (rank < last[flight.hit_particle]))
    volume, layer = flight.volume[row], flight.layer[row]
    found = modules()
    module = _of_sensitive(volume, layer, flight.sensitive[row])
    return _Hits(
        flight.hit_particle[row],
        smear(flight.position[row], volume, rng),
        volume,
        layer,
        found.module[module],
    )


def _rank(particle, index, seen):
    """Returns the place of each seen hit among the seen ones of its track, `[H]`."""
    order = np.lexsort((index, particle, ~seen))
    count = np.bincount(particle[seen], minlength=particle.max(initial=0) + 1)
    first = np.cumsum(count) - count
    rank = np.empty(len(particle), np.int64)
    rank[order] = np.arange(len(particle)) - first[particle[order]]
    return rank


def _of_sensitive(volume, layer, sensitive):
    """Returns rows of `modules` by the numbers that the simulation gives them.

    The table lists each layer in the order of these numbers.
    """
    found = modules()
    first = np.searchsorted(
        _layer_key(found.volume, found.layer), _layer_key(volume, layer)
    )
    return first + sensitive - 1


def _layer_key(volume, layer):
    return np.asarray(volume, np.int64) * 64 + layer


def smear(
    position: np.ndarray, volume: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Returns hits as measured: displaced within their module.

    Args:
        position: `[N, 3]` mm.
        volume: `[N]`, decides the resolution and whether z (barrel) or r (endcap) is
            measured beside the place on the circle.
        rng: the draws.
    """
    shift = rng.normal(size=(len(position), 2)) * resolution(volume)
    radius = np.hypot(position[:, 0], position[:, 1])
    phi = np.arctan2(position[:, 1], position[:, 0]) + shift[:, 0] / radius
    barrel = is_barrel(volume)
    radius = radius + np.where(barrel, 0, shift[:, 1])
    z = position[:, 2] + np.where(barrel, shift[:, 1], 0)
    return np.column_stack([radius * np.cos(phi), radius * np.sin(phi), z])


def _noise(num_signal, rng):
    """Returns noise hits on the layers and at the radii of those of a real event."""
    count = rng.poisson(num_signal * NOISE_FRACTION / (1 - NOISE_FRACTION))
    profile = noise_profile()
    row = rng.integers(len(profile["volume"]), size=count)
    volume, layer = (
        profile[name][row].astype(np.int64) for name in ("volume", "layer")
    )
    phi = rng.uniform(-np.pi, np.pi, count)
    along, spread = rng.uniform(-1, 1, count), rng.normal(size=count)
    barrel = is_barrel(volume)
    length = np.zeros(max(BARREL_HALF_LENGTH) + 2)
    length[list(BARREL_HALF_LENGTH)] = list(BARREL_HALF_LENGTH.values())
    z = np.where(barrel, along * length[np.where(barrel, volume, 0)], profile["z"][row])
    radius = profile["r"][row] + np.where(barrel, 0, spread * ENDCAP_NOISE_MM)
    position = np.column_stack([radius * np.cos(phi), radius * np.sin(phi), z])
    near = modules().nearest(volume, layer, position)
    label = np.full(count, -1, np.int64)
    return _Hits(label, position, volume, layer, modules().module[near])


def _particles(primaries, flight, rows, num_hits):
    """Returns the particles with hits, with identifiers in the manner of TrackML."""
    primary, generation = flight.primary[rows], flight.generation[rows]
    collision = primaries.collision[primary]
    if collision.max(initial=0) > MOST_COLLISIONS:
        raise ValueError(
            f"expected at most {MOST_COLLISIONS} collisions, got {collision.max()}: "
            "a particle_id cannot number them"
        )
    first = np.searchsorted(primaries.collision, collision)
    displaced = primaries.displaced[primary]
    # a decay product is one generation after what decayed
    age = generation + np.where((generation == 0) & displaced, 1, 0)
    process = np.where(generation > 0, CONVERSION, np.where(displaced, DECAY, 0))
    identity = (
        (collision << 52)
        | ((primary - first + 1) << 36)
        | (age << 24)
        | (flight.sub[rows] << 12)
        | process
    )
    return Particles(
        particle_id=identity.astype(np.int64),
        vertex=flight.vertex[rows].astype(np.float32),
        momentum=flight.momentum[rows].astype(np.float32),
        charge=flight.charge[rows].astype(np.int32),
        num_hits=num_hits.astype(np.int32),
        particle_type=flight.particle_type[rows].astype(np.int32),
    )
