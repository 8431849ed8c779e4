"""Graphs of toy events for tests of the clustering."""

import numpy as np


def cliques(seed=0, tracks=20, noise=10, wrong=60, largest=12):
    """Returns an event whose tracks are cliques, with some wrong edges.

    Returns:
      track [N], edge_index [2, E] sorted by destination and symmetric, with self
      edges, prob [E] (symmetric), and position [N, 3].
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, largest, tracks)
    track = np.r_[np.repeat(np.arange(tracks), sizes), np.full(noise, -1)]
    track = rng.permutation(track)
    hits = len(track)
    same = (track[:, None] == track) & (track[:, None] >= 0)
    joined = same | np.eye(hits, dtype=bool)
    a, b = rng.integers(0, hits, (2, wrong))
    joined[a, b] = joined[b, a] = True
    chance = np.triu(rng.random((hits, hits)), 1)
    chance = chance + chance.T
    prob = np.where(same, 0.7 + 0.29 * chance, 0.8 * chance)
    edges = np.stack(np.nonzero(joined))[::-1]
    position = rng.normal(0, 300, (hits, 3)).astype(np.float32)
    return (
        track,
        edges.astype(np.int32),
        prob[tuple(edges)].astype(np.float32),
        position,
    )


def partition(labels):
    """Returns the set of the sets of hits of all tracks."""
    labels = np.asarray(labels)
    return {frozenset(np.flatnonzero(labels == k)) for k in set(labels.tolist()) - {-1}}
