"""Straight flights through the detector, for tests without the event generator."""

import numpy as np

from jaxphys.hypertrack.simulation.collisions import Primaries
from jaxphys.hypertrack.simulation.detector import modules
from jaxphys.hypertrack.simulation.fatras import Flight


def straight_flight(num_primaries=40, seed=0, hits=12):
    """Returns primaries and a flight of random modules, half of them displaced.

    Every fourth primary converts: its product has generation 1 and its own hits.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(num_primaries)
    primaries = Primaries(
        particle_type=np.where(number % 4 == 3, 22, 211).astype(np.int32),
        charge=np.where(number % 4 == 3, 0.0, 1.0),
        mass=np.full(num_primaries, 0.1),
        vertex=rng.normal(0, 1, (num_primaries, 3)),
        momentum=rng.normal(0, 1, (num_primaries, 3)),
        collision=1 + number // 10,
        displaced=number % 2 == 1,
    )
    converted = number[number % 4 == 3]
    primary = np.concatenate([number, converted])
    size, table = len(primary), modules()
    product = np.arange(size) >= num_primaries
    first = np.unique(table.volume * 64 + table.layer, return_index=True)[1]
    row = rng.integers(len(table), size=size * hits)
    key = table.volume[row] * 64 + table.layer[row]
    start = np.searchsorted(table.volume * 64 + table.layer, key)
    assert set(start.tolist()) <= set(first.tolist())
    flight = Flight(
        primary=primary,
        generation=product.astype(np.int64),
        sub=np.zeros(size, np.int64),
        vertex=primaries.vertex[primary],
        momentum=primaries.momentum[primary],
        charge=np.where(product, -1, primaries.charge[primary]),
        particle_type=primaries.particle_type[primary],
        hit_particle=np.repeat(np.arange(size), hits),
        hit_index=np.tile(np.arange(hits), size),
        position=table.centre[row].astype(np.float64),
        volume=table.volume[row].astype(np.int64),
        layer=table.layer[row].astype(np.int64),
        sensitive=row - start + 1,
    )
    shuffled = rng.permutation(size * hits)
    names = ("hit_particle", "hit_index", "position", "volume", "layer", "sensitive")
    columns = {name: getattr(flight, name)[shuffled] for name in names}
    return primaries, Flight(**{**vars(flight), **columns})
