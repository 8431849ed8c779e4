"""The structure around target atoms, resolved by their state.

Every target atom i of every frame counts for state s with its probability p_s(i). The
functions return sums, which add up over frames and trajectories with `add`, so that a
trajectory of any length passes in pieces. All in float64 NumPy.
"""

from typing import NamedTuple, cast

import numpy as np

from jaxphys.gdynet.analysis.koopman import Predictions, trajectories
from jaxphys.gdynet.physics.cells import Pbc, full_cells, periodic_axes, shifts_within

# pairs of atoms and images that are held at once
_PAIRS = 2**22


class RadialSums(NamedTuple):
    """Sums over target atoms, with a species of neighbours on the second axis.

    Attributes:
      weight: sum of p_s, [S].
      counts: sum of p_s times the pairs of each distance bin, [S, A, bins].
      within: sum of p_s times the pairs within the cut-off, [S, A].
      density: sum of p_s times the number density of the species, [S, A], 1/A^3; NaN
        where the volume is unknown.
      complete_to: distance to which no pair is missing, A.
    """

    weight: np.ndarray
    counts: np.ndarray
    within: np.ndarray
    density: np.ndarray
    complete_to: float


class Radial(NamedTuple):
    """Structure by distance.

    Attributes:
      r: middle of each bin, [bins], A.
      g: radial distribution function, [S, A, bins]; NaN where the volume is unknown or
        a state never occurs.
      shells: mean number of neighbours in each bin, [S, A, bins].
      coordination: mean number of neighbours within the cut-off, [S, A].
      complete_to: distance to which no pair is missing, A: beyond it, stored lists of
        the M nearest neighbours are truncated and g falls to 0.
    """

    r: np.ndarray
    g: np.ndarray
    shells: np.ndarray
    coordination: np.ndarray
    complete_to: float


class WeightedSums(NamedTuple):
    """Sums of values over target atoms.

    Attributes:
      weight: sum of p_s, [S].
      total: sum of p_s times the value, [S, ...].
    """

    weight: np.ndarray
    total: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean of each state, [S, ...]; NaN for one that never occurs."""
        return _over(self.total, self.weight)


def add(one, other):
    """Returns the sum of two `RadialSums` or two `WeightedSums`, field by field."""
    fields = {}
    for name, value in one._asdict().items():
        second = getattr(other, name)
        fields[name] = min(value, second) if name == "complete_to" else value + second
    return one._replace(**fields)


def _over(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight.reshape(weight.shape + (1,) * (total.ndim - weight.ndim))
    out = np.full(total.shape, np.nan)
    return np.divide(total, weight, out=out, where=weight > 0)


def species_of(atom_types: np.ndarray) -> np.ndarray:
    """Returns the atomic numbers that occur, [A], growing: the axis of species."""
    return np.unique(atom_types)


def _weights(probabilities: np.ndarray) -> np.ndarray:
    """Returns the probabilities as one row per target atom, [F * n, S]."""
    return np.asarray(probabilities, np.float64).reshape(-1, probabilities.shape[-1])


def _radial_sums(p, pairs, densities, edges, cutoff, complete_to) -> RadialSums:
    row, kind, distance = pairs
    states, kinds = p.shape[1], densities.shape[1]
    bins = len(edges) - 1
    place = np.searchsorted(edges, distance, side="right") - 1
    inside, near = (place >= 0) & (place < bins), distance < cutoff
    flat = (kind * bins + place)[inside]
    counts, within = np.zeros((states, kinds * bins)), np.zeros((states, kinds))
    for state, weight in enumerate(p.T):
        counts[state] = np.bincount(flat, weight[row[inside]], kinds * bins)
        within[state] = np.bincount(kind[near], weight[row[near]], kinds)
    return RadialSums(
        p.sum(axis=0),
        counts.reshape(states, kinds, bins),
        within,
        p.T @ densities,
        complete_to,
    )


def _require_frames(frames: int) -> None:
    if not frames:
        raise ValueError("structure: expected one frame or more, got none")


def _chunks(frames: int, pairs_per_frame: int) -> list[slice]:
    """Returns pieces of a trajectory that fit into memory."""
    step = max(1, _PAIRS // max(1, pairs_per_frame))
    return [slice(start, start + step) for start in range(0, frames, step)]


def radial_from_positions(
    positions: np.ndarray,
    cell: np.ndarray | None,
    atom_types: np.ndarray,
    target_index: np.ndarray,
    probabilities: np.ndarray,
    edges: np.ndarray,
    cutoff: float,
    pbc: Pbc = True,
) -> RadialSums:
    """Returns radial sums from positions, with all periodic images.

    Args:
      positions: [F, N, 3] A, wrapped or not.
      cell: [F, 3, 3] or [3, 3] A, rows are vectors; None for no cell.
      atom_types: [N] atomic numbers.
      target_index: [n] rows of the target atoms.
      probabilities: of states, [F, n, S].
      edges: of the distance bins, [bins + 1] A, growing.
      cutoff: r_c of the coordination number, A.
      pbc: which directions repeat.

    Raises:
      ValueError: there is no frame.
    """
    frames, atoms = positions.shape[:2]
    _require_frames(frames)
    periodic = periodic_axes(cell, pbc)
    given = np.eye(3) if cell is None else np.asarray(cell, np.float64)
    cells = np.broadcast_to(full_cells(given, periodic), (frames, 3, 3))
    reach = max(float(edges[-1]), cutoff)
    shifts = shifts_within(cells, periodic, reach)
    species, kind_of = np.unique(atom_types, return_inverse=True)
    amount = np.bincount(kind_of, minlength=len(species))
    full = cell is not None and bool(periodic.all())
    volume = np.abs(np.linalg.det(cells)) if full else np.full(frames, np.nan)
    total: RadialSums | None = None
    for part in _chunks(frames, len(target_index) * atoms * len(shifts)):
        pairs = _pairs(
            np.asarray(positions[part], np.float64),
            cells[part],
            periodic,
            shifts,
            target_index,
            reach,
        )
        density = np.repeat(
            amount[None] / volume[part, None], len(target_index), axis=0
        )
        found = _radial_sums(
            _weights(probabilities[part]),
            (pairs[0], kind_of[pairs[1]], pairs[2]),
            density,
            edges,
            cutoff,
            np.inf,
        )
        total = found if total is None else add(total, found)
    return cast(RadialSums, total)


def _pairs(positions, cells, periodic, shifts, targets, reach):
    """Returns row of the target atom, neighbour and distance of pairs in reach."""
    inverse = np.linalg.inv(cells)
    vectors = positions[:, None, :, :] - positions[:, targets, None, :]
    fraction = np.einsum("ftnx,fxy->ftny", vectors, inverse)
    fraction -= np.where(periodic, np.round(fraction), 0)
    images = np.einsum("ix,fxy->fiy", shifts, cells)
    wrapped = np.einsum("ftnx,fxy->ftny", fraction, cells)
    rows, neighbours, distances = [], [], []
    number = np.arange(len(positions) * len(targets)).reshape(-1, len(targets), 1)
    number = np.broadcast_to(number, wrapped.shape[:3])
    atom = np.broadcast_to(np.arange(positions.shape[1]), wrapped.shape[:3])
    is_self = atom == np.asarray(targets)[None, :, None]
    for index, shift in enumerate(shifts):
        moved = wrapped + images[:, index, None, None, :]
        distance = np.sqrt(np.sum(moved**2, axis=-1))  # [F, n, N]
        near = distance < reach
        if not shift.any():
            near &= ~is_self
        rows.append(number[near])
        neighbours.append(atom[near])
        distances.append(distance[near])
    return tuple(np.concatenate(a) for a in (rows, neighbours, distances))


def radial_from_distances(
    nbr_lists: np.ndarray,
    nbr_dists: np.ndarray,
    atom_types: np.ndarray,
    target_index: np.ndarray,
    probabilities: np.ndarray,
    edges: np.ndarray,
    cutoff: float,
    volume: float | np.ndarray | None = None,
) -> RadialSums:
    """Returns radial sums from the stored distances of the M nearest neighbours.

    Beyond `complete_to`, the smallest distance of an M-th neighbour, pairs are missing.

    Args:
      nbr_lists: [F, N, M] neighbours.
      nbr_dists: [F, N, M] distances in A.
      atom_types: [N] atomic numbers.
      target_index: [n] rows of the target atoms.
      probabilities: of states, [F, n, S].
      edges: of the distance bins, [bins + 1] A, growing.
      cutoff: r_c of the coordination number, A.
      volume: of the cell, A^3, one or one per frame; None gives no density.

    Raises:
      ValueError: there is no frame.
    """
    species, kind_of = np.unique(atom_types, return_inverse=True)
    frames, _, neighbours = nbr_lists.shape
    targets = len(target_index)
    _require_frames(frames)
    amount = np.bincount(kind_of, minlength=len(species))
    size = np.broadcast_to(np.nan if volume is None else volume, (frames,))
    total: RadialSums | None = None
    for part in _chunks(frames, targets * neighbours):
        lists = np.asarray(nbr_lists[part][:, target_index])  # [F, n, M]
        distance = np.asarray(nbr_dists[part][:, target_index], np.float64)
        row = np.repeat(np.arange(len(lists) * targets), neighbours)
        found = _radial_sums(
            _weights(probabilities[part]),
            (row, kind_of[lists.ravel()], distance.ravel()),
            np.repeat(amount[None] / size[part, None], targets, axis=0),
            edges,
            cutoff,
            float(distance.max(axis=-1).min()),
        )
        total = found if total is None else add(total, found)
    return cast(RadialSums, total)


def radial(sums: RadialSums, edges: np.ndarray) -> Radial:
    """Returns means and radial distribution functions of sums.

    Args:
      sums: over all frames.
      edges: of the distance bins, as for the sums.
    """
    edges = np.asarray(edges, np.float64)
    shell = 4 / 3 * np.pi * np.diff(edges**3)
    expected = sums.density[:, :, None] * shell
    g = np.full(sums.counts.shape, np.nan)
    np.divide(sums.counts, expected, out=g, where=expected > 0)
    return Radial(
        0.5 * (edges[1:] + edges[:-1]),
        g,
        _over(sums.counts, sums.weight),
        _over(sums.within, sums.weight),
        sums.complete_to,
    )


def weighted_sums(values: np.ndarray, probabilities: np.ndarray) -> WeightedSums:
    """Returns the sums of values of target atoms per state.

    Args:
      values: [F, n, ...], for instance directions or the M distances.
      probabilities: [F, n, S].
    """
    p = _weights(probabilities)
    rows = np.asarray(values, np.float64).reshape(len(p), *values.shape[2:])
    return WeightedSums(p.sum(axis=0), np.tensordot(p.T, rows, 1))


def direction_histogram(
    directions: np.ndarray, probabilities: np.ndarray, edges: np.ndarray
) -> WeightedSums:
    """Returns the histogram of each component of directions per state.

    Args:
      directions: of target atoms, [F, n, 3].
      probabilities: [F, n, S].
      edges: of the bins, [bins + 1]; components beyond them count in the last one.

    Returns:
      Sums of [S, 3, bins]; their mean is the part of atoms in each bin.
    """
    bins = len(edges) - 1
    flat = np.asarray(directions, np.float64).reshape(-1, 3)
    place = np.clip(np.searchsorted(edges, flat, side="right") - 1, 0, bins - 1)
    p = _weights(probabilities)
    total = np.zeros((p.shape[1], 3, bins))
    for state, weight in enumerate(p.T):
        for axis in range(3):
            total[state, axis] = np.bincount(place[:, axis], weight, bins)
    return WeightedSums(p.sum(axis=0), total)


class Example(NamedTuple):
    """A target atom in a frame.

    Attributes:
      trajectory: its number.
      frame: in the trajectory.
      target: column of the target atom.
      probability: of the state that it is an example of.
    """

    trajectory: int
    frame: int
    target: int
    probability: float


def examples(predictions: Predictions, count: int) -> list[list[Example]]:
    """Returns the most probable target atoms of each state, at most `count` each.

    Args:
      predictions: probabilities, [F, n, S] per trajectory.
      count: of examples.
    """
    found = trajectories(predictions)
    result = []
    for state in range(found[0].shape[2]):
        best = []
        for index, p in enumerate(found):
            values = p[:, :, state].ravel()
            top = np.argsort(-values, kind="stable")[:count]
            for place in top:
                frame, target = divmod(int(place), p.shape[1])
                best.append(Example(index, frame, target, float(values[place])))
        best.sort(key=lambda e: -e.probability)
        result.append(best[:count])
    return result
