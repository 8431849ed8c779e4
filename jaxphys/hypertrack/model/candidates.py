"""Candidate graphs: hits are joined if their cells are connected.

A sparse join: with H edges to make and a matrix whose rows for the occupied cells hold
R entries, time and memory are O(H + R); nothing is hits times hits. Edges are sorted by
destination, then by source. Transposing a compressed matrix sorts its rows in linear
time, which is what makes the order cheap.
"""

import numpy as np
import scipy.sparse as sp

from jaxphys.hypertrack.model.voxels import VoxelModel

_MOST_EDGES = 2**31 - 1  # of 32-bit indices


def candidate_graph(model: VoxelModel, position: np.ndarray) -> np.ndarray:
    """Builds the candidate graph of an event.

    Args:
        model: trained cells.
        position: `[N, 3]`, mm.

    Returns:
        `[2, E]` int32: row 0 sources, row 1 destinations, sorted by destination, then
        by source. A hit is joined to itself where its cell is.
    """
    indptr, sources = candidate_rows(model, model.cells(position))
    return edge_index_of(indptr, sources)


def edge_index_of(indptr: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Writes out the destinations of rows from `candidate_rows`, `[2, E]` int32."""
    edges = np.empty((2, len(sources)), np.int32)
    edges[0] = sources
    edges[1] = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    return edges


def candidate_rows(
    model: VoxelModel, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lists the sources of every destination.

    Args:
        model: trained cells.
        cells: cell of each hit, `[N]`.

    Returns:
        (indptr `[N + 1]` int64, sources `[E]` int32 in ascending order per row): the
        sources of hit i are `sources[indptr[i]:indptr[i + 1]]`.

    Raises:
        ValueError: there are more edges than 32-bit indices can count.
    """
    local, among = _occupied(model, cells)
    num_edges = _count(local, among)
    if num_edges > _MOST_EDGES:
        raise ValueError(
            f"{len(cells)} hits in {model.num_cells} cells: {num_edges} edges, expected"
            f" at most {_MOST_EDGES}: take more cells (ncell)"
        )
    # [cells, N]: row c lists the hits in cells connected to c, ascending
    joined = among[local].T.tocsr()[local]
    return joined.indptr.astype(np.int64), joined.indices.astype(np.int32, copy=False)


def count_edges(model: VoxelModel, cells: np.ndarray) -> int:
    """Returns how many edges `candidate_rows` would list, without listing them."""
    return _count(*_occupied(model, cells))


def _occupied(model, cells):
    """Returns the hits' places among the occupied cells, and the matrix of those."""
    occupied, local = np.unique(cells, return_inverse=True)
    rows = model.matrix[occupied]
    place = np.full(model.num_cells, -1, np.int32)
    place[occupied] = np.arange(len(occupied), dtype=np.int32)
    columns = place[rows.indices]
    inside = np.flatnonzero(columns >= 0)
    indptr = np.searchsorted(inside, rows.indptr).astype(np.int32)
    among = sp.csr_array(
        (np.ones(len(inside), bool), columns[inside], indptr),
        shape=(len(occupied), len(occupied)),
    )
    return local, among


def _count(local, among):
    hits = np.bincount(local, minlength=among.shape[0])
    reached = np.concatenate([[0], np.cumsum(hits[among.indices])])
    return int(hits @ np.diff(reached[among.indptr]))


def reverse_edges(indptr: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Finds the edge that runs the other way.

    The graph is symmetric, so a gather by source of edge values is a sum by sorted
    destinations after this permutation.

    Args:
        indptr: `[N + 1]`.
        sources: `[E]`, both from `candidate_rows`.

    Returns:
        `[E]` int32: the place of i -> j for the edge j -> i. It is its own inverse.
    """
    size = len(indptr) - 1
    numbers = np.arange(len(sources), dtype=np.int32)
    shape = (size, size)
    rows = sp.csr_array((numbers, sources, indptr.astype(np.int32)), shape=shape)
    return rows.tocsc().data
