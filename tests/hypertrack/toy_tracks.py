"""Events of smooth curves through layers, and plain oracles of the graphs on them."""

import numpy as np

from tests.hypertrack.plain_events import event_from_arrays

LAYERS = np.array([32, 72, 116, 172, 260, 360, 500, 660, 820, 1020])


def toy_event(num_tracks=12, num_noise=9, seed=0, event_id=7, shuffle=True):
    """Returns an event of curves that start near the origin, and noise."""
    rng = np.random.default_rng(seed)
    phi, bend, slope = rng.uniform(-np.pi, np.pi, num_tracks), 1e-3, 1.5
    points, label = [], []
    for track in range(num_tracks):
        radius = LAYERS[: rng.integers(1, len(LAYERS) + 1)]
        angle = phi[track] + bend * rng.uniform(-1, 1) * radius
        z = slope * rng.uniform(-1, 1) * radius + rng.normal(0, 5)
        points.append(np.stack([radius * np.cos(angle), radius * np.sin(angle), z], 1))
        label += [track] * len(radius)
    points.append(rng.uniform(-600, 600, (num_noise, 3)))
    label += [-1] * num_noise
    position, label = np.concatenate(points), np.array(label)
    order = rng.permutation(len(label)) if shuffle else np.arange(len(label))
    # labels number the particles, each of which has a hit
    weight = rng.uniform(0.5, 1.5, len(label))
    return event_from_arrays(
        event_id, position[order], label[order], weight=weight / weight.sum()
    )


def toy_events(count=20, **options):
    """Returns events of different seeds."""
    return [toy_event(seed=i, event_id=100 + i, **options) for i in range(count)]


def dense(edge_index, size):
    """Returns a graph as a matrix [source, destination] of the number of its edges."""
    found = np.zeros((size, size), int)
    np.add.at(found, tuple(edge_index), 1)
    return found


def prim(points):
    """Returns the edges of a minimum spanning tree as a set, smaller index first."""
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    inside, found = [0], set()
    while len(inside) < len(points):
        outside = [i for i in range(len(points)) if i not in inside]
        block = distance[np.ix_(inside, outside)]
        a, b = np.unravel_index(block.argmin(), block.shape)
        found.add(tuple(sorted((inside[a], outside[b]))))
        inside.append(outside[b])
    return found
