"""Tracks from edge probabilities without a network of their own.

Cheap, and the standard that the set transformer is measured against.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from jaxphys.hypertrack.inference.kept_graph import kept_graph

# products of rows that the shared-neighbour cut holds at a time
_PRODUCTS = 20_000_000
_VIRTUAL_DISTANCE = 1.0


def components(
    edge_index: np.ndarray,
    prob: np.ndarray,
    num_nodes: int,
    threshold: float = 0.55,
    min_size: int = 4,
) -> np.ndarray:
    """Returns connected components of the kept edges as tracks, [N] int32.

    Args:
      edge_index: [2, E].
      prob: [E].
      num_nodes: N.
      threshold: an edge is kept when its probability is above.
      min_size: hits of a track at least; smaller components have label -1.
    """
    return kept_graph(edge_index, prob, num_nodes, threshold).components(min_size)


def jaccard(
    edge_index: np.ndarray,
    prob: np.ndarray,
    num_nodes: int,
    threshold: float = 0.7,
    min_overlap: float = 0.5,
    min_size: int = 4,
) -> np.ndarray:
    """Returns components of edges whose ends share most of their neighbours.

    The hits of a true track are all joined to each other, so both ends of a true edge
    have the same neighbours; an edge between two tracks has ends with few in common.

    Args:
      edge_index: [2, E].
      prob: [E].
      num_nodes: N.
      threshold: an edge is kept when its probability is above.
      min_overlap: least |shared neighbours| / |neighbours of either|, a hit counting
        among its own neighbours.
      min_size: hits of a track at least.

    Returns:
      Labels, -1 for none, [N] int32.
    """
    graph = kept_graph(edge_index, prob, num_nodes, threshold)
    one = np.ones(len(graph.column), np.int32)
    kept = sp.csr_array((one, graph.column, graph.indptr), (num_nodes, num_nodes))
    near = (kept + kept.T + sp.eye_array(num_nodes)).tocsr().astype(np.int32)
    near.data[:] = 1
    near.sort_indices()
    shared = _shared_neighbours(near)
    degree = np.diff(near.indptr)
    row = np.repeat(np.arange(num_nodes), degree)
    either = degree[row] + degree[near.indices] - shared
    pairs = np.stack([row, near.indices])
    return components(pairs, shared / either, num_nodes, min_overlap, min_size)


def _shared_neighbours(near: sp.csr_array) -> np.ndarray:
    """Returns (A A) at the places of A, by slices of rows so that memory is bounded."""
    degree = np.diff(near.indptr)
    cost = np.cumsum(near @ degree)
    found = np.zeros(len(near.indices), np.int64)
    start, size = 0, len(degree)
    while start < size:
        before = cost[start - 1] if start else 0
        stop = max(int(np.searchsorted(cost, before + _PRODUCTS)), start + 1)
        own = near[start:stop]
        counted = (own @ near).multiply(own).tocsr()
        counted.sort_indices()
        found[near.indptr[start] : near.indptr[stop]] = counted.data
        start = stop
    return found


def dbscan(
    edge_index: np.ndarray,
    prob: np.ndarray,
    num_nodes: int,
    threshold: float = 0.55,
    eps: float = 0.2,
    min_samples: int = 3,
) -> np.ndarray:
    """Returns clusters by DBSCAN at the distance 1 - p of the kept edges, [N] int32."""
    from sklearn.cluster import DBSCAN

    distance = _distances(edge_index, prob, num_nodes, threshold)
    joined = np.flatnonzero(np.diff(distance.indptr))
    labels = np.full(num_nodes, -1, np.int32)
    if len(joined):
        model = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")
        labels[joined] = model.fit(_by_distance(distance[joined][:, joined])).labels_
    return labels


def hdbscan(
    edge_index: np.ndarray,
    prob: np.ndarray,
    num_nodes: int,
    threshold: float = 0.55,
    min_cluster_size: int = 4,
    min_samples: int = 2,
    epsilon: float = 0.0,
    alpha: float = 1.0,
) -> np.ndarray:
    """Returns clusters by HDBSCAN at the distance 1 - p of the kept edges, [N] int32.

    A virtual node at distance 1 from all others joins the pieces of the graph, which
    the algorithm needs; hits without a kept edge are left out.
    """
    from sklearn.cluster import HDBSCAN

    distance = _distances(edge_index, prob, num_nodes, threshold)
    joined = np.flatnonzero(np.diff(distance.indptr))
    labels = np.full(num_nodes, -1, np.int32)
    if len(joined) < min_cluster_size:
        return labels
    far = np.full((1, len(joined)), _VIRTUAL_DISTANCE)
    inner = distance[joined][:, joined]
    extended = sp.block_array([[inner, far.T], [far, None]], format="csr")
    # a copy, because sparse distances cannot be worked on in place
    options: dict[str, Any] = {"metric": "precomputed", "copy": True}
    model = HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        cluster_selection_epsilon=epsilon,
        alpha=alpha,
        **options,
    )
    found = model.fit(sp.csr_matrix(extended)).labels_[:-1]
    labels[joined] = np.maximum(found, -1)  # -2, -3: infinite or missing distances
    return labels


def _distances(
    edge_index: np.ndarray, prob: np.ndarray, num_nodes: int, threshold: float
) -> sp.csr_array:
    """Returns 1 - p of the kept edges, the same both ways (the smaller of the two)."""
    graph = kept_graph(edge_index, prob, num_nodes, threshold)
    near = sp.csr_array(
        (graph.prob.astype(np.float64), graph.column, graph.indptr),
        (num_nodes, num_nodes),
    )
    near = near.maximum(near.T).tocsr()
    # a distance of exactly 0 would not count as stored everywhere
    near.data = np.maximum(1 - near.data, 1e-12)
    return near


def _by_distance(distance: sp.csr_array) -> sp.csr_matrix:
    from sklearn.neighbors import sort_graph_by_row_values

    matrix = sp.csr_matrix(distance)
    return sort_graph_by_row_values(matrix, warn_when_not_sorted=False)


def dbscan_latents(
    latents: np.ndarray, eps: float = 1.0, min_samples: int = 3
) -> np.ndarray:
    """Returns clusters by DBSCAN of standardised latents [N, F], [N] int32."""
    from sklearn.cluster import DBSCAN

    model = DBSCAN(eps=eps, min_samples=min_samples)
    return model.fit(_standard(latents)).labels_.astype(np.int32)


def hdbscan_latents(
    latents: np.ndarray, min_cluster_size: int = 4, min_samples: int = 2
) -> np.ndarray:
    """Returns clusters by HDBSCAN of standardised latents [N, F], [N] int32."""
    from sklearn.cluster import HDBSCAN

    if len(latents) < max(min_samples, 2):  # which the estimator refuses
        return np.full(len(latents), -1, np.int32)
    options: dict[str, Any] = {"copy": True}
    model = HDBSCAN(min_cluster_size, min_samples=min_samples, **options)
    return np.maximum(model.fit(_standard(latents)).labels_, -1).astype(np.int32)


def _standard(latents: np.ndarray) -> np.ndarray:
    latents = np.asarray(latents, np.float64)
    spread = latents.std(axis=0)
    return (latents - latents.mean(axis=0)) / np.where(spread > 0, spread, 1)


ALGORITHMS: dict[str, Callable[..., np.ndarray]] = {
    "cut": components,
    "jaccard": jaccard,
    "dbscan": dbscan,
    "hdbscan": hdbscan,
}
