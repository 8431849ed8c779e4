"""The surroundings of target atoms by state, from evenly chosen frames of a data set.

Trajectories hold the distances to the M nearest neighbours and maybe directions; what
lies further away than the M-th neighbour is unknown.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jaxphys.gdynet.analysis import structure
from jaxphys.gdynet.analysis.structure import Radial, WeightedSums
from jaxphys.gdynet.data.dataset import Trajectories

RADIAL_BINS, DIRECTION_BINS = 80, 40
# distances that are read in all, and at once
_MOST, _CHUNK = 4 * 10**7, 2 * 10**6


@dataclasses.dataclass(frozen=True, eq=False)
class Environment:
    """Structure around targets, resolved by S states.

    Attributes:
        frames: how many frames it is a mean of.
        species: atomic numbers of neighbours, [A].
        radial: structure by distance; None where distances never change.
        cutoff: r_c of the coordination numbers, A.
        distances: mean distance of the neighbours by rank, [S, M], A.
        direction_edges: [bins + 1]; empty without directions.
        directions: part of atoms in each bin, [S, 3, bins]; empty without directions.
        direction_mean: [S, 3]; empty without directions.
    """

    frames: int
    species: np.ndarray
    radial: Radial | None
    cutoff: float
    distances: np.ndarray
    direction_edges: np.ndarray
    directions: np.ndarray
    direction_mean: np.ndarray


def even_frames(total: int, count: int) -> np.ndarray:
    """Returns at most `count` numbers from 0 to total - 1, evenly spread, growing."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def probabilities_at(
    predictions: Sequence[np.ndarray], frames: np.ndarray
) -> np.ndarray:
    """Returns the probabilities of frames that are counted through, [B, n, S].

    Args:
        predictions: [F_r, n, S] per trajectory.
        frames: [B] numbers over all trajectories, growing.
    """
    starts = np.cumsum([0, *(len(p) for p in predictions)])
    which = np.searchsorted(starts, frames, side="right") - 1
    return np.concatenate(
        [predictions[r][frames[which == r] - starts[r]] for r in np.unique(which)]
    )


def environment(
    trajectories: Trajectories,
    predictions: Sequence[np.ndarray],
    *,
    blocks: np.ndarray | None = None,
    frames: int = 2000,
    cutoff: float = 0.0,
    volume: float | None = None,
) -> Environment:
    """Returns the surroundings of the target atoms by state.

    Args:
        trajectories: the data.
        predictions: of them, [F_r, n, S] per trajectory or block.
        blocks: see `blocks_of`.
        frames: at most so many are read, fewer of large systems.
        cutoff: r_c of the coordination numbers, A; 0: as far as the M neighbours reach
            in every frame.
        volume: of the cell, A^3; None: unknown, and so are densities.

    Raises:
        ValueError: predictions and trajectories differ in number or length.
    """
    blocks = blocks_of(trajectories, predictions, blocks)
    targets = trajectories.target_index
    rows = trajectories.num_atoms * trajectories.num_neighbours
    total = sum(len(p) for p in predictions)
    chosen = even_frames(total, min(frames, max(1, _MOST // rows)))
    where = np.concatenate([np.arange(a, b) for a, b in blocks])[chosen]
    chunk = max(1, _CHUNK // rows)
    edges, reach = _distance_range(trajectories, where[:: max(1, len(where) // 64)])
    cutoff = cutoff or reach
    radial: structure.RadialSums | None = None
    near: WeightedSums | None = None
    static = trajectories.static("nbr_dists") is not None
    for start in range(0, len(chosen), chunk):
        p = probabilities_at(predictions, chosen[start : start + chunk])
        some = where[start : start + chunk]
        lists = trajectories.read("nbr_lists", some)
        dists = trajectories.read("nbr_dists", some)
        by_rank = structure.weighted_sums(np.sort(dists[:, targets], axis=2), p)
        near = by_rank if near is None else structure.add(near, by_rank)
        if static:
            continue
        found = structure.radial_from_distances(
            lists, dists, trajectories.atom_types, targets, p, edges, cutoff, volume
        )
        radial = found if radial is None else structure.add(radial, found)
    distances = np.zeros((0, 0)) if near is None else near.mean
    return Environment(
        len(chosen),
        structure.species_of(trajectories.atom_types),
        None if radial is None else structure.radial(radial, edges),
        cutoff,
        distances,
        *_directions(trajectories, predictions, (chosen, where), chunk),
    )


def blocks_of(
    trajectories: Trajectories,
    predictions: Sequence[np.ndarray],
    blocks: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the frames that predictions are of, [K, 2] first and last + 1.

    Args:
        trajectories: the data.
        predictions: [F_k, n, S] per block.
        blocks: [K, 2] numbers of frames over all trajectories, as of `dataset.Pairs`;
            None: whole trajectories.

    Raises:
        ValueError: predictions differ from these in number, length or targets.
    """
    starts, lengths = trajectories.starts, trajectories.lengths
    if blocks is None:
        blocks = np.stack([starts, starts + lengths], axis=1)
    blocks, targets = np.asarray(blocks, np.int64), len(trajectories.target_index)
    if len(blocks) != len(predictions):
        raise ValueError(
            f"predictions: expected {len(blocks)} trajectories or blocks, got "
            f"{len(predictions)}"
        )
    for (first, stop), p in zip(blocks, predictions, strict=True):
        if p.shape[:2] != (stop - first, targets):
            name = trajectories.names[int(trajectories.trajectory_of(first))]
            raise ValueError(
                f"predictions of {name}: expected {stop - first} frames of {targets} "
                f"targets, got {p.shape[0]} of {p.shape[1]}"
            )
    return blocks


def _distance_range(trajectories, frames) -> tuple[np.ndarray, float]:
    """Returns edges of distance bins, and how far no neighbour is missing."""
    dists = trajectories.read("nbr_dists", frames)[:, trajectories.target_index]
    high = 1.02 * float(dists.max())
    low = max(0.0, 0.9 * float(dists.min()))
    return np.linspace(low, high, RADIAL_BINS + 1), float(dists.max(axis=-1).min())


def _directions(trajectories, predictions, chosen, chunk):
    """Returns edges, histograms and means of the directions; empty without them."""
    if not trajectories.has_directions:
        return np.zeros(0), np.zeros((0, 3, 0)), np.zeros((0, 3))
    rows, where = ([a[i : i + chunk] for i in range(0, len(a), chunk)] for a in chosen)
    values = [
        trajectories.read("directions", some)[:, trajectories.target_index]
        for some in where
    ]
    limit = max(float(np.abs(v).max()) for v in values) or 1.0
    edges = np.linspace(-limit, limit, DIRECTION_BINS + 1)
    sums = []
    for some, value in zip(rows, values, strict=True):
        p = probabilities_at(predictions, some)
        counts = structure.direction_histogram(value, p, edges)
        sums.append((counts, structure.weighted_sums(value, p)))
    counts, total = (
        functools.reduce(structure.add, s) for s in zip(*sums, strict=True)
    )
    return edges, counts.mean, total.mean
