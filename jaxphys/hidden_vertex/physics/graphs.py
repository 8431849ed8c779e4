"""Particles to graphs: features, nearest neighbours, radius graphs; numpy, on the host.

Distances are exact differences in float64. The expansion |a|^2 + |b|^2 - 2ab is wrong
for close particles and is not used anywhere.
"""

import numpy as np

LOG_EPSILON = np.float32(1e-8)
NO_NEIGHBOUR = 65535  # in a table of uint16 neighbours
# bits of a distance that give way to the index of a particle: see _nearest
_INDEX_BITS = 10
_INDEX_MASK = np.int64((1 << _INDEX_BITS) - 1)


def particles_of_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Removes the empty slots of rows in the LHC Olympics layout.

    Args:
        rows: [B, 2100 or 2101] slots of (pT in GeV, eta, phi), then maybe the label.

    Returns:
        (particles [N, 3] float32 in the order of the file, offset [B + 1] int64: the
        particles of row b are offset[b] to offset[b + 1]).
    """
    slots = rows[:, : rows.shape[1] // 3 * 3].reshape(len(rows), -1, 3)
    real = slots[:, :, 0] > 0
    offset = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(real.sum(axis=1), out=offset[1:])
    return slots[real].astype(np.float32), offset


def features(particles: np.ndarray) -> np.ndarray:
    """Returns what a model sees of a particle.

    Args:
        particles: [N, 3] pT in GeV, eta, phi.

    Returns:
        [N, 3] float32: log(pT + 1e-8), eta, phi.
    """
    x = np.array(particles, np.float32)
    # in float32 the 1e-8 vanishes above 0.2 GeV; it stays for equality
    x[:, 0] = np.log(x[:, 0] + LOG_EPSILON)
    return x


def knn_neighbours(
    points: np.ndarray, k: int, periodic_phi: bool = False
) -> np.ndarray:
    """Finds the nearest other particles of every particle of one event.

    Args:
        points: [n, 2] eta, phi.
        k: Number of neighbours.
        periodic_phi: Wrap the difference in phi to [-pi, pi).

    Returns:
        [n, min(k, n - 1)] int64 indices, the nearest first; of equally distant
        particles the lower index comes first. A particle is no neighbour of itself, but
        one at the same place is.

    Raises:
        ValueError: If the points are not [n, 2] or k < 1.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 2 or k < 1:
        raise ValueError(
            f"points, k: expected [n, 2] and k >= 1, got {points.shape} and {k}"
        )
    width = min(k, len(points) - 1)
    if width < 1:
        return np.zeros((len(points), 0), np.int64)
    squared = _squared_distances(points, periodic_phi)
    np.fill_diagonal(squared, np.inf)
    if width == len(points) - 1 or len(points) > _INDEX_MASK:
        return np.argsort(squared, axis=1, kind="stable")[:, :width]
    return _nearest(squared, width)


def _squared_distances(points, periodic_phi):
    eta, phi = points.T.astype(np.float64)
    squared = eta[:, None] - eta  # [n, n]
    along_phi = phi[:, None] - phi  # [n, n]
    if periodic_phi:  # a difference that needs no wrap stays exact
        along_phi -= 2 * np.pi * np.floor((along_phi + np.pi) / (2 * np.pi))
    squared *= squared
    along_phi *= along_phi
    squared += along_phi
    return squared


def _nearest(squared, k):
    """Returns the k smallest of each row of squared [n, n], ties by lower index.

    Positive doubles are ordered like their bits. With the index in the lowest bits one
    partition of integers finds the neighbours and breaks the ties; rows in which two
    distances agree in all other bits are sorted in full.
    """
    key = squared.view(np.int64) & ~_INDEX_MASK
    key |= np.arange(len(key))
    key.partition(k, axis=1)
    near = np.sort(key[:, : k + 1], axis=1)  # [n, k + 1]
    found = near[:, :k] & _INDEX_MASK
    near >>= _INDEX_BITS
    rows = np.flatnonzero((near[:, 1:] == near[:, :-1]).any(axis=1))
    if len(rows):
        exact = np.argsort(squared[rows], axis=1, kind="stable")
        found[rows] = exact[:, :k]
    return found


def knn_table(
    points: np.ndarray, offset: np.ndarray, k: int, periodic_phi: bool = False
) -> np.ndarray:
    """Finds the nearest neighbours in each of many events.

    Args:
        points: [N, 2] eta, phi of all events.
        offset: [E + 1] the particles of event e are offset[e] to offset[e + 1].
        k: Number of neighbours.
        periodic_phi: See `knn_neighbours`.

    Returns:
        [N, k] uint16 indices within the event, `NO_NEIGHBOUR` where there are fewer.

    Raises:
        ValueError: If an event has too many particles for 16 bits.
    """
    sizes = np.diff(offset)
    if len(sizes) and sizes.max() >= NO_NEIGHBOUR:
        event = int(sizes.argmax())
        raise ValueError(
            f"event {event}: expected fewer than {NO_NEIGHBOUR} particles, got "
            f"{sizes[event]}"
        )
    table = np.full((len(points), k), NO_NEIGHBOUR, np.uint16)
    for event in np.flatnonzero(sizes > 1):
        start, stop = offset[event], offset[event + 1]
        near = knn_neighbours(points[start:stop], k, periodic_phi)
        table[start:stop, : near.shape[1]] = near
    return table


def knn_edges(neighbours: np.ndarray) -> np.ndarray:
    """Returns the edges [2, E] (senders, receivers) of neighbours [n, width].

    Grouped by receiver, inside a receiver the nearest sender first; entries of
    `NO_NEIGHBOUR` give no edge.
    """
    receivers = np.repeat(np.arange(len(neighbours)), neighbours.shape[1])
    senders = neighbours.reshape(-1).astype(np.int64)
    real = senders != NO_NEIGHBOUR
    return np.stack([senders[real], receivers[real]])


def radius_edges(points: np.ndarray, radius: float) -> np.ndarray:
    """Joins the particles of one event that are near each other, in both directions.

    Args:
        points: [n, 2] eta, phi; phi is not periodic here.
        radius: Largest distance, inclusive; both are compared in float32.

    Returns:
        [2, E] int64 (senders, receivers), ordered by sender, then by receiver.
    """
    distance = np.sqrt(_squared_distances(np.asarray(points), False))
    near = distance.astype(np.float32) <= np.float32(radius)
    np.fill_diagonal(near, False)
    return np.stack(np.nonzero(near))


def radius_table(
    points: np.ndarray, offset: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Joins near particles in each of many events.

    Args:
        points: [N, 2] eta, phi of all events.
        offset: [E + 1] the particles of event e are offset[e] to offset[e + 1].
        radius: See `radius_edges`.

    Returns:
        (edges [2, M] uint16 indices within the event, edge_offset [E + 1] int64).
    """
    parts = [np.zeros((2, 0), np.uint16)]
    edge_offset = np.zeros(len(offset), np.int64)
    for event in range(len(offset) - 1):
        edges = radius_edges(points[offset[event] : offset[event + 1]], radius)
        parts.append(edges.astype(np.uint16))
        edge_offset[event + 1] = edge_offset[event] + edges.shape[1]
    return np.concatenate(parts, axis=1), edge_offset


def aggregate(x: np.ndarray, neighbour: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Returns the mean over a particle and its neighbours: the first layer's A x.

    Args:
        x: [N, 3] features of all events.
        neighbour: [N, k] from `knn_table`.
        offset: [E + 1].

    Returns:
        [N, 3] float32, (x_i + sum of its neighbours) / (number of neighbours + 1).
    """
    sizes = np.diff(offset)
    start = np.repeat(offset[:-1], sizes)  # [N]
    real = neighbour != NO_NEIGHBOUR
    total = x.astype(np.float64)
    for j in range(neighbour.shape[1]):
        rows = np.flatnonzero(real[:, j])
        total[rows] += x[start[rows] + neighbour[rows, j]]
    return (total / (1 + real.sum(axis=1))[:, None]).astype(np.float32)
