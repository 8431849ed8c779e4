"""Sub-events: tracks of an event, fewer or in a sector, and noise to match."""

import dataclasses

import numpy as np

from jaxphys.hypertrack.physics.events import Event

MODES = ("track", "vertex", "sector")
_VERTEX_BIT = 52  # the bits above number the collision that a particle comes from


def reduce(
    event: Event,
    rfactor: float,
    noise_ratio: float,
    rng: np.random.Generator,
    mode: str = "track",
) -> Event:
    """Draws a sub-event of about `rfactor` times the pile-up.

    Args:
        event: the whole event.
        rfactor: mean fraction of the tracks (or vertices) to keep, in (0, 1]; below 1
            the number fluctuates like a Poisson number.
        noise_ratio: mean fraction of noise among the hits, below 1; negative takes
            that of the event.
        rng: all draws come from it.
        mode: "track" keeps random tracks, "vertex" all tracks of random vertices;
            "sector" those that follow each other in azimuth, so that a small graph
            has the density of the whole event, and noise of the same sector.

    Returns:
        The kept tracks in random order: hits sorted by track, noise last; weights
        divided by their sum.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < rfactor <= 1:
        raise ValueError(f"rfactor: expected a number in (0, 1], got {rfactor}")
    if noise_ratio >= 1:
        raise ValueError(f"noise_ratio: expected a number below 1, got {noise_ratio}")
    if mode not in MODES:
        raise ValueError(f"reduce: expected one of {MODES}, got {mode!r}")
    ratio = event.noise_fraction if noise_ratio < 0 else noise_ratio
    rows, offsets = event.track_hits()
    noise = np.flatnonzero(event.label < 0)
    if mode == "sector":
        chosen, noise = _choose_sector(event, rows, offsets, noise, rfactor, rng)
    else:
        chosen = _choose_tracks(event, rfactor, rng, mode)
    count = np.diff(offsets)[chosen]
    new_label = np.repeat(np.arange(len(chosen)), count)
    starts = np.cumsum(count) - count
    signal = rows[(offsets[:-1][chosen] - starts)[new_label] + np.arange(count.sum())]
    if ratio < 1:  # an event of noise alone keeps all of it
        wanted = rng.poisson(len(signal) * ratio / (1 - ratio))
        noise = rng.choice(noise, min(int(wanted), len(noise)), replace=False)
    part = event.take(np.concatenate([signal, noise]))
    total = part.weight.sum(dtype=np.float64)
    label = np.full(part.num_hits, -1, np.int32)
    label[: len(signal)] = new_label
    return dataclasses.replace(
        part,
        label=label,
        weight=(part.weight / total if total > 0 else part.weight).astype(np.float32),
        particles=event.particles.take(chosen),
        truth_order=np.arange(part.num_hits, dtype=np.int64),
    )


def _choose_tracks(event, rfactor, rng, mode):
    """Returns rows of the particles to keep, in random order."""
    num_tracks = event.num_tracks
    if num_tracks == 0:
        return np.zeros(0, np.int64)
    if mode == "track":
        number = _draw_number(num_tracks, rfactor, rng)
        return rng.permutation(num_tracks)[:number]
    vertex = event.particles.particle_id >> _VERTEX_BIT
    present = np.unique(vertex)
    number = _draw_number(len(present), rfactor, rng)
    kept = rng.permutation(present)[:number]
    return rng.permutation(np.flatnonzero(np.isin(vertex, kept)))


def _choose_sector(event, rows, offsets, noise, rfactor, rng):
    """Returns rows of the particles of a random sector, and the noise within it."""
    num_tracks = event.num_tracks
    if num_tracks == 0:
        return np.zeros(0, np.int64), noise
    x, y = event.position[:, 0].astype(np.float64), event.position[:, 1]
    direction = np.stack([x, y]) / np.maximum(np.hypot(x, y), 1e-9)
    mean = np.add.reduceat(direction[:, rows], offsets[:-1], axis=1)
    azimuth = np.arctan2(mean[1], mean[0])
    number = _draw_number(num_tracks, rfactor, rng)
    order = np.argsort(azimuth, kind="stable")
    first = int(rng.integers(num_tracks))
    chosen = order[(first + np.arange(number)) % num_tracks]
    if number < num_tracks:
        start, end = azimuth[chosen[0]], azimuth[order[(first + number) % num_tracks]]
        width = (end - start) % (2 * np.pi)
        noise = noise[(np.arctan2(y, x)[noise] - start) % (2 * np.pi) < width]
    return rng.permutation(chosen), noise


def _draw_number(total, rfactor, rng):
    if rfactor == 1:
        return total
    return int(np.clip(rng.poisson(max(1, int(rfactor * total))), 1, total))
