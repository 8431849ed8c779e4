"""Events of hit positions and labels alone."""

import numpy as np

from jaxphys.hypertrack.physics.events import Event, Particles


def event_from_arrays(
    event_id: int,
    position: np.ndarray,
    label: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    particles: Particles | None = None,
) -> Event:
    """Makes an event from hit positions and track labels alone.

    Args:
        event_id: number of the event.
        position: `[N, 3]`, mm.
        label: track of each hit, `[N]`; -1 is noise, the others count from 0.
        weight: hit weights, `[N]`; equal weights of sum 1 by default.
        particles: the particles; unknown vertex and momentum (0) by default.

    Returns:
        The event, hit_id counting from 1, detector ids 0.

    Raises:
        ValueError: the arrays do not fit together.
    """
    num_hits = len(position)
    label = np.asarray(label, np.int32)
    if np.shape(position) != (num_hits, 3) or label.shape != (num_hits,):
        raise ValueError(
            f"event {event_id}: expected positions [N, 3] and labels [N], got "
            f"{np.shape(position)} and {label.shape}"
        )
    num_tracks = int(label.max(initial=-1)) + 1 if particles is None else len(particles)
    counts = np.bincount(label[label >= 0], minlength=num_tracks).astype(np.int32)
    if len(counts) > num_tracks:
        raise ValueError(
            f"event {event_id}: labels reach {len(counts) - 1}, expected below "
            f"{num_tracks} particles"
        )
    if particles is None:
        particles = Particles(
            particle_id=np.arange(1, num_tracks + 1, dtype=np.int64),
            vertex=np.zeros((num_tracks, 3), np.float32),
            momentum=np.zeros((num_tracks, 3), np.float32),
            charge=np.zeros(num_tracks, np.int32),
            num_hits=counts,
        )
    if weight is None:
        weight = np.full(num_hits, 1.0 / max(num_hits, 1), np.float32)
    nowhere = np.zeros(num_hits, np.int32)
    return Event(
        event_id=event_id,
        position=np.asarray(position, np.float32),
        hit_id=np.arange(1, num_hits + 1, dtype=np.int64),
        label=label,
        weight=np.asarray(weight, np.float32),
        particles=particles,
        volume_id=nowhere,
        layer_id=nowhere,
        module_id=nowhere,
        truth_order=np.arange(num_hits, dtype=np.int64),
    )
