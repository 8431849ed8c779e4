"""Trains the Voxel-Dynamics estimator: k-means cells, then the pairs that tracks make.

Reflected tracks (`augment` 8) enter without being made. The centres are those of the
first octant with their reflections, fitted to hits folded into it; a reflection of a
track then visits the reflected cells, and a pair of cells is named by the octant of one
relative to the other (the exclusive or of their signs). That is Lloyd's algorithm on
the data with all reflections, at an eighth of the cost.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from jaxphys.hypertrack.model.voxels import VoxelModel, unfold
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.kmeans import Progress, lloyd
from jaxphys.hypertrack.physics.truth_graph import (
    NODE2NODE,
    require_node2node,
    true_pairs,
)
from jaxphys.options import ORIGINAL, option

AUGMENTS = (1, 8)
_PAIRS_AT_A_TIME = 1 << 24


@dataclasses.dataclass(frozen=True)
class VoxelSettings:
    """How voxels are trained; its fields are flags. See `train_voxels`."""

    GROUP: ClassVar = "data"

    node2node: str = option(
        "hyper",
        "pairs of hits of a track that are joined: all (hyper), each hit with the next "
        "one (eom), or with the next but one too (cricket)",
        choices=NODE2NODE,
        change="structural",
    )
    niter: int = option(20, "iterations of k-means", minimum=1, change="structural")
    augment: int = option(
        8,
        "8: reflections of the training tracks are added, voxels are a multiple of 8 "
        "then; 1: as the original",
        minimum=1,
        maximum=8,
        change="structural",
    )
    weighted: bool = option(
        False, "weigh the hits in k-means by their weights", change="structural"
    )
    cricket_compat: bool = option(
        False,
        "make the original's double hops of --node2node=cricket",
        change="structural",
        group=ORIGINAL,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingTracks:
    """Hits of many tracks of many events, noise left out.

    Attributes:
        position: `[M, 3]` float32, mm, track after track.
        offsets: track t owns rows offsets[t] to offsets[t + 1], `[P + 1]` int64.
        weight: hit weights, `[M]` float32.
    """

    position: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray


def gather_tracks(events: Iterable[Event]) -> TrainingTracks:
    """Collects the tracks of events.

    Raises:
        ValueError: an event has no truth, or none has a track.
    """
    position, weight, counts = [], [], []
    for event in events:
        if not event.has_truth:
            raise ValueError(f"event {event.event_id}: voxels need the truth of it")
        rows, offsets = event.track_hits()
        position.append(event.position[rows])
        weight.append(event.weight[rows])
        counts.append(np.diff(offsets))
    if not sum(map(len, position)):
        raise ValueError(f"{len(position)} events: expected tracks, got none")
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return TrainingTracks(np.concatenate(position), offsets, np.concatenate(weight))


def train_voxels(
    tracks: TrainingTracks,
    ncell: int,
    node2node: str = "hyper",
    niter: int = 20,
    augment: int = 1,
    weighted: bool = False,
    seed: int = 12345,
    cricket_compat: bool = False,
    progress: Progress | None = None,
) -> VoxelModel:
    """Trains one model.

    Args:
        tracks: training data.
        ncell: number of cells.
        node2node: which pairs are true: hyper, eom or cricket.
        niter: iterations of k-means.
        augment: 8 takes the tracks with all reflections in x, y and z; 1 as they are.
        weighted: weigh the hits in the means.
        seed: of the start of k-means.
        cricket_compat: see `jaxphys.hypertrack.physics.truth_graph.true_pairs`.
        progress: told the iterations done and the mean squared distance in mm^2.

    Returns:
        The model.

    Raises:
        ValueError: a setting is out of range, or there are more cells than hits.
    """
    require_node2node(node2node)
    if augment not in AUGMENTS or ncell % augment:
        raise ValueError(
            f"augment, ncell: expected 1, or 8 and a multiple of 8 cells, got augment="
            f"{augment}, ncell={ncell}"
        )
    weights = tracks.weight if weighted else None
    points = tracks.position if augment == 1 else np.abs(tracks.position)
    if not np.isfinite(points).all():
        raise ValueError("positions of training hits: expected finite numbers")
    found = lloyd(points, ncell // augment, niter, seed, weights, progress)
    centroids = found.centroids
    if augment == 8:
        centroids = unfold(centroids)
    nothing = (np.zeros(ncell + 1, np.int64), np.zeros(0, np.int32))
    model = VoxelModel(centroids, *nothing, node2node, len(points), augment)
    cells = model.cells(tracks.position)
    matrix = cell_matrix(cells, tracks, ncell, node2node, augment, cricket_compat)
    return dataclasses.replace(
        model,
        indptr=matrix.indptr.astype(np.int64),
        indices=matrix.indices.astype(np.int32, copy=False),
    )


def cell_matrix(
    cells: np.ndarray,
    tracks: TrainingTracks,
    ncell: int,
    node2node: str,
    augment: int = 1,
    cricket_compat: bool = False,
) -> sp.csr_array:
    """Connects the cells that true pairs of hits lie in.

    Args:
        cells: cell of each training hit, `[M]`.
        tracks: the hits.
        ncell: number of cells; with augment 8 cell o * ncell / 8 + c is the reflection
            of cell c < ncell / 8 into octant o.
        node2node: hyper, eom or cricket.
        augment: 1 or 8.
        cricket_compat: see `jaxphys.hypertrack.physics.truth_graph.true_pairs`.

    Returns:
        Boolean `[ncell, ncell]`, symmetric, rows sorted.
    """
    per_octant = ncell // augment
    octant, first = np.divmod(cells, np.int32(per_octant))
    found = sp.csr_array((per_octant, ncell), dtype=bool)
    for a, b in _pair_chunks(tracks, node2node, cricket_compat):
        columns = (octant[a] ^ octant[b]) * np.int32(per_octant) + first[b]
        ones = np.ones(len(a), bool)
        part = sp.csr_array((ones, (first[a], columns)), shape=found.shape)
        part.sum_duplicates()
        found = sp.csr_array(found + part) if found.nnz else part
    if augment == 8:
        found = _reflect(found)
    found.sort_indices()
    return found


def _pair_chunks(tracks, node2node, cricket_compat) -> Iterator[np.ndarray]:
    """Yields true pairs [2, T] of rows of the training hits, some tracks at a time."""
    offsets = tracks.offsets
    before = np.concatenate([[0], np.cumsum(np.diff(offsets) ** 2)])
    start = 0
    while start < len(offsets) - 1:
        limit = before[start] + _PAIRS_AT_A_TIME
        stop = max(int(np.searchsorted(before, limit, side="right")) - 1, start + 1)
        rows = np.arange(offsets[start], offsets[stop])
        own = offsets[start : stop + 1] - offsets[start]
        yield true_pairs(tracks.position, rows, own, node2node, cricket_compat)
        start = stop


def _reflect(first_octant: sp.csr_array) -> sp.csr_array:
    """Returns all rows, given those of the first octant, [n, 8 n]."""
    per_octant = len(first_octant.indptr) - 1
    octant, column = np.divmod(first_octant.indices, np.int32(per_octant))
    indices = [(octant ^ o) * np.int32(per_octant) + column for o in range(8)]
    lengths = np.tile(np.diff(first_octant.indptr), 8)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    values = np.ones(8 * len(column), bool)
    shape = (8 * per_octant, 8 * per_octant)
    return sp.csr_array((values, np.concatenate(indices), indptr), shape=shape)
