"""Molecular dynamics with known answers: cases A, B and C, simulated.

A: one lithium ion among four rigid sulphur atoms of an fcc cell (Langevin).
B: a perovskite whose titanium dipoles flip in a double well; no distance changes.
C: two atoms whose distance follows the Prinz potential.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.gdynet.physics import exact
from jaxphys.gdynet.physics.neighbours import neighbours

EULER_STEP = 0.0004  # ps, largest that is stable and unbiased
LINE_CELLS = 400
_SETTLE = 2.0  # ps from the grid weights to within a cell's own
_SULPHUR = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
_DISTANCE_SCALE, _DISTANCE_OFFSET = 2.0, 3.0  # A, case C


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Trajectories and what an ideal analysis of the process finds.

    Attributes:
        name: "A", "B", "C" or "D".
        arrays: Named like the files of a folder, trajectory_lengths among them.
        frame_time: Time from frame to frame.
        time_unit: Its name; also that of the timescales.
        timescales: Slowest first, exact (D: of the best known analysis).
        populations: Of the metastable states, by position.
    """

    name: str
    arrays: Mapping[str, np.ndarray]
    frame_time: float
    time_unit: str
    timescales: tuple[float, ...]
    populations: tuple[float, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values: all but the arrays."""
        fields = dataclasses.asdict(dataclasses.replace(self, arrays={}))
        del fields["arrays"]
        return fields


def simulate(
    case: str,
    seed: int = 0,
    trajectories: int = 0,
    frames: int = 0,
    barrier: float = 4.0,
    n_nbrs: int = 0,
) -> Case:
    """Simulates a case.

    Args:
        case: "A", "B" or "C".
        seed: Of the random numbers.
        trajectories: Independent ones; 0: 250, 48, 100.
        frames: Of each; 0: 800 of 0.2 ps, 1250 of 0.2, 4000 of 0.005.
        barrier: Of case B, kT.
        n_nbrs: Neighbours of an atom, M; 0: 20, 12, 1 (case C has no other).

    Raises:
        ValueError: If the case is unknown or a number is out of range.
    """
    if case not in DEFAULTS:
        raise ValueError(f"case={case!r}: expected one of {', '.join(DEFAULTS)}")
    if min(trajectories, frames, n_nbrs) < 0 or barrier <= 0:
        raise ValueError(
            "trajectories, frames, n_nbrs: expected >= 0, barrier > 0, got "
            f"{trajectories}, {frames}, {n_nbrs}, {barrier}"
        )
    default = DEFAULTS[case]
    trajectories, frames = trajectories or default[0], frames or default[1]
    n_nbrs = n_nbrs or default[2]
    if case == "A":
        return _lithium(seed, trajectories, frames, n_nbrs)
    if case == "B":
        return _dipoles(seed, trajectories, frames, n_nbrs, barrier)
    if n_nbrs != 1:
        raise ValueError(f"n_nbrs={n_nbrs}: case C has two atoms, expected 1")
    return _two_atoms(seed, trajectories, frames)


DEFAULTS = {"A": (250, 800, 20), "B": (48, 1250, 12), "C": (100, 4000, 1)}


def _lithium(seed, trajectories, frames, n_nbrs) -> Case:
    frame_time = 0.2
    fraction = lithium_positions(seed, trajectories, frames, frame_time)
    arrays = lithium_arrays(fraction, n_nbrs)
    octahedral = exact.lithium_p_octahedral()
    populations = (octahedral, 1 - octahedral)
    times = exact.lithium_timescales()
    return Case("A", arrays, frame_time, "ps", times, populations)


def lithium_positions(
    seed: int, trajectories: int, frames: int, frame_time: float = 0.2
) -> np.ndarray:
    """Simulates the lithium ion by overdamped Langevin dynamics.

    Args:
        seed: Of starting points and noise.
        trajectories: R, each begun from the Boltzmann distribution.
        frames: F.
        frame_time: ps; taken in equal Euler steps of at most 0.0004 ps.

    Returns:
        [R, F, 3] float32 positions in units of the cell, in [0, 1).
    """
    steps = int(np.ceil(frame_time / EULER_STEP))
    settle = int(np.ceil(_SETTLE / frame_time))
    start = _boltzmann_start(np.random.default_rng([seed, 65]), trajectories)
    found = _langevin(
        jax.random.key(seed),
        jnp.asarray(start.T, jnp.float32),
        frames + settle,
        steps,
        frame_time / steps,
    )
    found = np.asarray(found[settle:])  # [F, 3, R]
    found = np.where(found >= 1, np.float32(0), found)
    return np.ascontiguousarray(found.transpose(2, 0, 1))


def _boltzmann_start(random, count):
    n = 48
    grid = np.indices((n, n, n)).reshape(3, -1).T
    energy = exact.lithium_energy((grid + 0.5) / n)
    weights = np.exp(energy.min() - energy)
    cells = random.choice(len(grid), count, p=weights / weights.sum())
    return (grid[cells] + random.random((count, 3))) / n


def _langevin_of(key, start, frames, steps, time_step):
    """Euler steps of the angle 2 pi x, kept as its cosine and sine [3, R].

    A step turns them by a small angle, so no cosine is computed. The noise has three
    values with the moments of a Gaussian up to the third (weak order of Euler's step).
    """
    pull = exact.LITHIUM_DIFFUSION * time_step * (2 * np.pi / exact.LITHIUM_CELL) ** 2
    spread = np.sqrt(2 * exact.LITHIUM_DIFFUSION * time_step) / exact.LITHIUM_CELL
    # of 256 equally likely values 43 are up and 43 are down
    kick = 2 * np.pi * spread * np.sqrt(256 / 86)

    def step(state, byte):
        c, s = state
        up, down = byte < 43, byte >= 213
        noise = up.astype(jnp.float32) - down.astype(jnp.float32)
        # the cosines of the other two axes
        others = jnp.stack([c[1] * c[2], c[2] * c[0], c[0] * c[1]])
        force = s * (exact.LITHIUM_A * others + 4 * exact.LITHIUM_B * c)
        turn = pull * force + kick * noise
        square = turn * turn
        sine = turn * (1 - square / 6)
        cosine = 1 - square / 2 + square * square / 24
        return (c * cosine - s * sine, s * cosine + c * sine), None

    def frame(x, number):
        # words cut into four: drawing bytes takes six times as long
        count = -(-steps * x.size // 4)
        words = jax.random.bits(jax.random.fold_in(key, number), (count,), jnp.uint32)
        drawn = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
        bits = drawn[: steps * x.size].reshape(steps, *x.shape)
        angle = 2 * np.pi * x
        (c, s), _ = jax.lax.scan(step, (jnp.cos(angle), jnp.sin(angle)), bits)
        x = jnp.arctan2(s, c) / (2 * np.pi)
        x = x - jnp.floor(x)
        return x, x

    return jax.lax.scan(frame, start, jnp.arange(frames))[1]


_langevin = jax.jit(_langevin_of, static_argnums=(2, 3, 4))


def lithium_arrays(
    fraction: np.ndarray, n_nbrs: int = 20, workers: int = 1
) -> dict[str, np.ndarray]:
    """Returns the arrays of case A for positions of the ion.

    Args:
        fraction: [R, F, 3] in units of the cell.
        n_nbrs: M, within 7 A or as far as needed.
        workers: Processes for the neighbour lists.
    """
    count, frames, _ = fraction.shape
    positions = np.empty((count * frames, 5, 3))
    positions[:, :4] = _SULPHUR
    positions[:, 4] = fraction.reshape(-1, 3)
    cell = exact.LITHIUM_CELL * np.eye(3)
    found = neighbours(
        positions * exact.LITHIUM_CELL, cell, n_nbrs, "auto", workers=workers
    )
    return {
        "atom_types": np.array([16, 16, 16, 16, 3], np.int32),
        "target_index": np.array([4], np.int32),
        "nbr_lists": found.lists.astype(np.uint8),
        "nbr_dists": found.dists,
        "trajectory_lengths": np.full(count, frames),
    }


def sample_line(
    found: exact.Line, time: float, walkers: int, frames: int, seed: int
) -> np.ndarray:
    """Samples diffusion on a line without any time-step error.

    Args:
        found: The line.
        time: From frame to frame.
        walkers: R, each begun from the Boltzmann distribution.
        frames: F.
        seed: Of the random numbers.

    Returns:
        [R, F] float64 positions (centres of cells).
    """
    random = np.random.default_rng([seed, 76])
    cells = len(found.x)
    rows = np.cumsum(exact.line_propagator(found, time), axis=1)
    rows /= rows[:, -1:]
    # all rows in one ascending list: row i covers i to i + 1
    ladder = (rows + np.arange(cells)[:, None]).reshape(-1)
    state = random.choice(cells, walkers, p=found.stationary)
    path = np.empty((frames, walkers), np.int32)
    for f in range(frames):
        path[f] = state
        drawn = np.searchsorted(ladder, state + random.random(walkers), side="right")
        state = np.clip(drawn - cells * state, 0, cells - 1)
    return found.x[path.T]


def _dipoles(seed, trajectories, frames, n_nbrs, barrier) -> Case:
    frame_time = 0.2
    found = exact.line(exact.double_well(barrier), -2.2, 2.2, LINE_CELLS)
    path = sample_line(found, frame_time, trajectories * 8, frames, seed)
    # [R, F, 8]
    dipole = path.reshape(trajectories, 8, frames).transpose(0, 2, 1)
    positions, types = perovskite()
    near = _shell_neighbours(positions, 8.0 * np.eye(3), n_nbrs)
    arrays = dipole_arrays(dipole, types, *near)
    times = tuple(exact.dipole_timescales(barrier, 1).tolist())
    return Case("B", arrays, frame_time, "time units", times, (0.5, 0.5))


def perovskite(repeats: int = 2, cell: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions [N, 3] in A and atomic numbers [N] of BaTiO3."""
    atoms = np.array([[0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / 2
    shifts = np.indices((repeats,) * 3).reshape(3, -1).T
    positions = cell * (shifts[:, None] + atoms).reshape(-1, 3)
    return positions, np.tile(np.array([56, 22, 8, 8, 8], np.int32), len(shifts))


def _shell_neighbours(positions, cell, n_nbrs):
    """Returns neighbours of a crystal; equally far ones by number, not by chance."""
    wide = n_nbrs + 26  # no shell of this lattice is larger
    found = neighbours(positions[None], cell, wide, "auto")
    lists, dists = found.lists[0], found.dists[0]
    order = np.lexsort((lists, np.round(dists, 4)), axis=1)[:, :n_nbrs]
    return (np.take_along_axis(a, order, axis=1) for a in (lists, dists))


def dipole_arrays(
    dipole: np.ndarray, atom_types: np.ndarray, nbr_lists: Any, nbr_dists: Any
) -> dict[str, np.ndarray]:
    """Returns the arrays of case B.

    Args:
        dipole: [R, F, n] z component of the titanium directions.
        atom_types: [N].
        nbr_lists: [N, M], the same in every frame.
        nbr_dists: [N, M].
    """
    count, frames, _ = dipole.shape
    target = np.flatnonzero(atom_types == 22).astype(np.int32)
    directions = np.zeros((count * frames, len(atom_types), 3), np.float32)
    directions[:, target, 2] = dipole.reshape(count * frames, -1)
    return {
        "atom_types": atom_types,
        "target_index": target,
        "nbr_lists": nbr_lists,
        "nbr_dists": nbr_dists,
        "atom_directions": directions,
        "trajectory_lengths": np.full(count, frames),
    }


def _two_atoms(seed, trajectories, frames) -> Case:
    found = exact.line(exact.prinz, -1.2, 1.2, LINE_CELLS)
    x = sample_line(found, exact.PRINZ_FRAME, trajectories, frames, seed)
    return Case(
        "C",
        distance_arrays(x),
        1.0,
        "frames",
        tuple(exact.prinz_timescales().tolist()),
        tuple(exact.prinz_populations().tolist()),
    )


def distance_arrays(
    x: np.ndarray, scale: float = _DISTANCE_SCALE, offset: float = _DISTANCE_OFFSET
) -> dict[str, np.ndarray]:
    """Returns the arrays of case C: two atoms at the distance scale x + offset.

    Args:
        x: [R, F] coordinate.
        scale: A.
        offset: A.
    """
    distance = (scale * x.astype(np.float64) + offset).astype(np.float32)
    dists = np.repeat(distance.reshape(-1, 1, 1), 2, axis=1)  # [R F, 2, 1]
    return {
        "atom_types": np.array([1, 2], np.int32),
        "target_index": np.array([0], np.int32),
        "nbr_lists": np.array([[[1], [0]]], np.int32),
        "nbr_dists": dists,
        "trajectory_lengths": np.full(len(x), x.shape[1]),
    }


def alanine_arrays(
    coordinates: np.ndarray, distinct: bool = True, atom_types: Any = None
) -> dict[str, np.ndarray]:
    """Returns the arrays of case D: five beads C N CA C N of alanine dipeptide.

    The directions tell the hand: distances are the same for (phi, psi) and
    (-phi, -psi). Every bead has (sin phi, sin psi, 0), which turns with nothing.

    Args:
        coordinates: [F, 5, 3] A.
        distinct: Give every bead a type of its own; with the true elements distances
            confuse the two C and the two N.
        atom_types: [5] elements, if not distinct.
    """
    found = neighbours(coordinates, None, 4, "auto")
    sines = np.stack([dihedral_sine(coordinates[:, i : i + 4]) for i in (0, 1)], -1)
    directions = np.zeros((*coordinates.shape[:2], 3), np.float32)
    directions[:, :, :2] = sines[:, None]
    types = [6, 7, 14, 8, 15] if distinct else atom_types
    return {
        "atom_types": np.asarray(types, np.int32),
        "target_index": np.array([2], np.int32),
        "nbr_lists": found.lists.astype(np.uint8),
        "nbr_dists": found.dists,
        "atom_directions": directions,
    }


def dihedral_sine(points: np.ndarray) -> np.ndarray:
    """Returns sin of the dihedral angle [F] of four points [F, 4, 3]."""
    b = np.diff(points.astype(np.float64), axis=1)
    n1, n2 = np.cross(b[:, 0], b[:, 1]), np.cross(b[:, 1], b[:, 2])
    middle = b[:, 1] / np.linalg.norm(b[:, 1], axis=-1, keepdims=True)
    sine = np.sum(np.cross(n1, n2) * middle, axis=-1)
    return sine / (np.linalg.norm(n1, axis=-1) * np.linalg.norm(n2, axis=-1))
