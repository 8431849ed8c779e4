"""Which pairs of hits belong together: the adjacency that a graph is meant to find.

Pairs are directed, both directions are listed, and a hit of a track is paired with
itself. Noise has no pair, not even with itself. Nothing here is hits times hits: tracks
are ragged lists (hits, offsets), a table of pairs has one column per pair.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import minimum_spanning_tree

NODE2NODE = ("hyper", "eom", "cricket")


def require_node2node(node2node: str) -> str:
    """Returns the mode if it is one.

    Raises:
        ValueError: it is none of `NODE2NODE`.
    """
    if node2node not in NODE2NODE:
        raise ValueError(
            f"node2node: expected one of {', '.join(NODE2NODE)}, got {node2node!r}"
        )
    return node2node


def num_hyper_pairs(track: np.ndarray) -> int:
    """Returns how many pairs of hits share a track (-1: none), self pairs included."""
    track = np.asarray(track)
    sizes = np.bincount(track[track >= 0]).astype(np.int64)
    return int(sizes @ sizes)


def true_pairs(
    position: np.ndarray,
    hits: np.ndarray,
    offsets: np.ndarray,
    node2node: str,
    cricket_compat: bool = False,
) -> np.ndarray:
    """Lists the true pairs of an event, or of many tracks at once.

    The modes: `hyper` joins all hits of a track; `eom` the neighbours in its Euclidean
    minimum spanning tree; `cricket` also those two steps apart in the tree. In the
    compatible form of the latter the second steps depend on the order of the hits: of
    the tree's edges (a, b), a < b, in lexicographic order, edge k gives its a and edge
    k + 1 its b.

    Args:
        position: of the hits, `[N, 3]`, mm.
        hits: rows of the hits, track after track, `[M]`.
        offsets: track t owns `hits[offsets[t]:offsets[t + 1]]`, `[P + 1]`.
        node2node: hyper, eom or cricket.
        cricket_compat: take the order-dependent form of cricket.

    Returns:
        `[2, T]` int64 (source, destination), track after track; a pair repeats in the
        compatible form only.

    Raises:
        ValueError: node2node is unknown.
    """
    require_node2node(node2node)
    hits, offsets = np.asarray(hits, np.int64), np.asarray(offsets, np.int64)
    if node2node == "hyper":
        return hits[np.stack(_all_pairs(offsets))]
    points = np.asarray(position, np.float64)[hits]
    tree = _spanning_trees(points, offsets)
    if node2node == "eom":
        pairs = _by_track(offsets, _tree_pairs(offsets, tree))
    elif cricket_compat:
        hops = _consecutive_hops(offsets, tree)
        pairs = _by_track(offsets, np.hstack([_tree_pairs(offsets, tree), hops]))
    else:
        pairs = _two_steps(len(hits), tree)
    return hits[pairs]


def _all_pairs(offsets):
    """Returns the places of both hits of all pairs of each track, row by row."""
    counts = np.diff(offsets)
    first = np.repeat(np.arange(offsets[-1]), np.repeat(counts, counts))
    squares = counts * counts
    within = np.arange(len(first)) - np.repeat(np.cumsum(squares) - squares, squares)
    second = np.repeat(offsets[:-1], squares) + within % np.repeat(counts, squares)
    return first, second


def _spanning_trees(points, offsets):
    """Returns the edges [2, n - tracks] of all trees, first place < second, sorted."""
    first, second = _all_pairs(offsets)
    upper = first < second
    first, second = first[upper], second[upper]
    squared = ((points[first] - points[second]) ** 2).sum(axis=1)
    # ranks: a distance of 0 is an edge too, and equal ones go in order of the places
    rank = np.empty(len(squared))
    rank[np.argsort(squared, kind="stable")] = np.arange(1, len(squared) + 1)
    size = len(points)
    graph = sp.csr_array((rank, (first, second)), shape=(size, size))
    edges = minimum_spanning_tree(graph).tocoo()
    ends = np.sort(np.stack(edges.coords).astype(np.int64), axis=0)
    return ends[:, np.lexsort(ends[::-1])]


def _tree_pairs(offsets, tree):
    """Returns each edge in both directions, then the self pairs of its new ends."""
    a, b = tree
    blocks = np.stack([np.stack([a, b, a, b], 1), np.stack([b, a, a, b], 1)])
    keep = np.ones((len(a), 4), bool)
    new = np.zeros(2 * len(a), bool)
    new[np.unique(tree.T.reshape(-1), return_index=True)[1]] = True
    keep[:, 2:] = new.reshape(-1, 2)
    single = offsets[:-1][np.diff(offsets) == 1]
    return np.hstack([blocks[:, keep], np.stack([single, single])])


def _consecutive_hops(offsets, tree):
    track = np.searchsorted(offsets, tree[0], side="right")
    same = track[1:] == track[:-1]
    a, b = tree[0, :-1][same], tree[1, 1:][same]
    return np.stack([np.stack([a, b], 1), np.stack([b, a], 1)]).reshape(2, -1)


def _by_track(offsets, pairs):
    track = np.searchsorted(offsets, pairs[0], side="right")
    return pairs[:, np.argsort(track, kind="stable")]


def _two_steps(size, tree):
    """Returns all pairs at most two edges apart, self pairs included, sorted."""
    own = np.arange(size)
    ends = np.hstack([tree, tree[::-1], np.stack([own, own])])
    ones = np.ones(ends.shape[1], np.int32)
    step = sp.csr_array((ones, (ends[0], ends[1])), shape=(size, size))
    reached = sp.csr_array(step @ step)
    reached.sort_indices()
    first = np.repeat(np.arange(size), np.diff(reached.indptr))
    return np.stack([first, reached.indices.astype(np.int64)])


def edge_labels(
    edge_index: np.ndarray, track: np.ndarray, pairs: np.ndarray | None = None
) -> np.ndarray:
    """Tells which candidate edges are true.

    Args:
        edge_index: candidates, `[2, E]`.
        track: track of each hit, -1 for noise, `[N]`.
        pairs: true pairs `[2, T]`; None means all pairs of a track (`hyper`).

    Returns:
        `[E]` bool.
    """
    source, destination = np.asarray(edge_index)
    of_source = np.asarray(track)[source]
    same = (of_source == np.asarray(track)[destination]) & (of_source >= 0)
    if pairs is None:
        return same
    # only pairs of one track can be true: few of the candidates are looked up
    maybe = np.flatnonzero(same)
    known = pair_keys(pairs, len(track))
    asked = source[maybe].astype(np.int64) * len(track) + destination[maybe]
    place = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
    found = np.zeros(len(source), bool)
    found[maybe] = known[place] == asked if len(known) else False
    return found


def pair_keys(pairs: np.ndarray, num_hits: int) -> np.ndarray:
    """Returns source * N + destination of distinct pairs, ascending, int64."""
    source, destination = np.asarray(pairs, np.int64)
    return np.unique(source * num_hits + destination)


def tracks_of_rows(x_ind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns a table of hits padded with -1, `[P, K]`, into (hits, offsets)."""
    real = np.asarray(x_ind) >= 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    return np.asarray(x_ind)[real].astype(np.int64), offsets


def track_of_hits(hits: np.ndarray, offsets: np.ndarray, num_hits: int) -> np.ndarray:
    """Returns the track of every hit, -1 for those in none, `[N]` int32."""
    track = np.full(num_hits, -1, np.int32)
    track[hits] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return track
