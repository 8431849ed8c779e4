"""Exact relaxation times of diffusion in a potential, by finite volumes.

On a grid of spacing h the rate from cell i to its neighbour j is
D / h^2 exp(-(U_j - U_i) / 2), U in kT. Its relaxation times are -1 / eigenvalue of the
symmetrised matrix diag(sqrt pi) Q diag(1 / sqrt pi).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

# A: U = A cos 2pi x cos 2pi y cos 2pi z + B (cos 4pi x + cos 4pi y + cos 4pi z)
LITHIUM_A, LITHIUM_B = 30.0, 4.8
LITHIUM_CELL = 6.0  # A
LITHIUM_DIFFUSION = 0.5  # A^2 / ps
PRINZ_FRAME = 0.005  # time units


class Line(NamedTuple):
    """Diffusion on a line, cut into cells of equal size.

    Attributes:
        x: [n] centres of the cells.
        energy: [n] U in kT.
        rate: D / h^2.
    """

    x: np.ndarray
    energy: np.ndarray
    rate: float

    @property
    def stationary(self) -> np.ndarray:
        """Boltzmann weights [n] of sum 1."""
        weights = np.exp(self.energy.min() - self.energy)
        return weights / weights.sum()


def line(
    potential: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    cells: int,
    diffusion: float = 1.0,
) -> Line:
    """Cuts a line into cells, closed at both ends."""
    edges = np.linspace(low, high, cells + 1)
    x = (edges[1:] + edges[:-1]) / 2
    return Line(x, potential(x), diffusion / (edges[1] - edges[0]) ** 2)


def line_timescales(found: Line, count: int) -> np.ndarray:
    """Returns the `count` slowest relaxation times, slowest first."""
    steps = np.diff(found.energy) / 2
    leaving = np.zeros(len(found.x))
    leaving[:-1] += found.rate * np.exp(-steps)
    leaving[1:] += found.rate * np.exp(steps)
    # symmetrised: forth times back is rate^2
    beside = np.full(len(found.x) - 1, found.rate)
    last = len(found.x) - 1
    values: Any = scipy.linalg.eigh_tridiagonal(
        -leaving,
        beside,
        eigvals_only=True,
        select="i",
        select_range=(last - count, last - 1),
    )
    return -1 / values[::-1]


def line_propagator(found: Line, time: float) -> np.ndarray:
    """Returns exp(Q time) [n, n]; rows sum to 1, no time-step error."""
    steps = np.diff(found.energy) / 2
    forth, back = found.rate * np.exp(-steps), found.rate * np.exp(steps)
    generator = np.diag(forth, 1) + np.diag(back, -1)
    generator -= np.diag(generator.sum(axis=1))
    return scipy.linalg.expm(generator * time)


def double_well(barrier: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns U(p) = barrier (p^2 - 1)^2."""
    return lambda p: barrier * (p**2 - 1) ** 2


def prinz(x: np.ndarray) -> np.ndarray:
    """Returns the quadruple well of Prinz et al. (J. Chem. Phys. 134, 174105)."""
    wells = 0.8 * np.exp(-80 * x**2) + 0.2 * np.exp(-80 * (x - 0.5) ** 2)
    return 4 * (x**8 + wells + 0.5 * np.exp(-40 * (x + 0.5) ** 2))


def dipole_timescales(barrier: float = 4.0, count: int = 3) -> np.ndarray:
    """Returns the relaxation times of a dipole in a double well, D = 1."""
    return line_timescales(line(double_well(barrier), -2, 2, 2000), count)


def prinz_timescales(count: int = 3) -> np.ndarray:
    """Returns the relaxation times of the Prinz potential in frames of 0.005."""
    return line_timescales(line(prinz, -1.2, 1.2, 1600), count) / PRINZ_FRAME


def prinz_edges() -> np.ndarray:
    """Returns the three barriers between the basins of the Prinz potential."""
    x = np.linspace(-1, 1, 20001)
    energy = prinz(x)
    top = (energy[1:-1] > energy[:-2]) & (energy[1:-1] > energy[2:])
    return x[1:-1][top]


def prinz_populations() -> np.ndarray:
    """Returns the weights of the four basins, by position."""
    found = line(prinz, -1.2, 1.2, 1600)
    basin = np.searchsorted(prinz_edges(), found.x)
    return np.bincount(basin, found.stationary)


def lithium_energy(fraction: np.ndarray) -> np.ndarray:
    """Returns U in kT [...] at fractional positions [..., 3] of the cubic cell."""
    product = np.prod(np.cos(2 * np.pi * fraction), axis=-1)
    overtone = np.sum(np.cos(4 * np.pi * fraction), axis=-1)
    return LITHIUM_A * product + LITHIUM_B * overtone


def is_octahedral(fraction: np.ndarray) -> np.ndarray:
    """Returns [...] whether an octahedral site is nearer than a tetrahedral one."""
    # of the fcc lattice with an atom at the origin
    octahedral = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) / 2
    tetrahedral = np.array(np.meshgrid(*[[0.25, 0.75]] * 3)).reshape(3, -1).T

    def nearest(sites):
        best = np.full(fraction.shape[:-1], np.inf)
        for site in sites:
            away = fraction - site
            np.minimum(best, np.sum((away - np.round(away)) ** 2, axis=-1), out=best)
        return best

    return nearest(octahedral) < nearest(tetrahedral)


@functools.cache
def lithium_timescales() -> tuple[float, float]:
    """Returns the environment's relaxation time and the next one, ps.

    They are those of functions with the full symmetry of the lattice, which is all
    that a graph sees: hops between equal sites do not count. Three grids and a
    polynomial in h^2 leave an error below 0.1 %.
    """
    grids = np.array([36, 48, 72])
    found = np.array([_symmetric_modes(int(n)) for n in grids])
    powers = np.vander(1.0 / grids**2, 3)
    environment, following = np.linalg.solve(powers, found)[-1]
    return float(environment), float(following)


@functools.cache
def lithium_p_octahedral() -> float:
    """Returns the probability of being nearer to an octahedral site."""
    x = (np.arange(60) + 0.5) / 60
    grid = np.stack(np.meshgrid(x, x, x, indexing="ij"), axis=-1)
    energy = lithium_energy(grid)
    weights = np.exp(energy.min() - energy)
    return float(weights[is_octahedral(grid)].sum() / weights.sum())


def _symmetric_modes(n):
    """Returns the two slowest fully symmetric relaxation times on n^3 cells."""
    orbit, size, first, grid = _orbits(n)
    rate = LITHIUM_DIFFUSION * (n / LITHIUM_CELL) ** 2
    energy = lithium_energy(grid / n)
    rows, columns, values = [], [], []
    for axis in range(3):
        for step in (1, -1):
            there = grid[first]
            there[:, axis] = (there[:, axis] + step) % n
            cell = np.ravel_multi_index(tuple(there.T), (n, n, n))
            rows.append(np.arange(len(first)))
            columns.append(orbit[cell])
            values.append(rate * np.exp((energy[first] - energy[cell]) / 2))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    generator = scipy.sparse.coo_matrix(entries, (len(first),) * 2).tocsr()
    generator -= scipy.sparse.diags(np.asarray(generator.sum(axis=1)).ravel())
    root = np.sqrt(size * np.exp(energy.min() - energy[first]))
    symmetric = scipy.sparse.diags(root) @ generator @ scipy.sparse.diags(1 / root)
    matrix = -(symmetric + symmetric.T).tocsc() / 2
    start = np.ones(len(first))  # else the last digits depend on a random vector
    found = scipy.sparse.linalg.eigsh(
        matrix, k=3, sigma=-1e-3, which="LM", v0=start, return_eigenvectors=False
    )
    return 1 / np.sort(found)[1:]


def _orbits(n):
    """Sorts n^3 cells by the 192 symmetries of the fcc lattice.

    Returns:
        (orbit of every cell [n^3], size of the orbits, a cell of each, cells [n^3, 3]).
    """
    grid = np.indices((n, n, n)).reshape(3, -1).T
    name = np.full(len(grid), n**3)
    for shift in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        moved = (grid + np.array(shift) * (n // 2)) % n
        # mirrors and exchanges of axes
        moved = np.sort(np.minimum(moved, n - moved), axis=1)
        np.minimum(name, np.ravel_multi_index(tuple(moved.T), (n, n, n)), out=name)
    _, first, orbit, size = np.unique(
        name, return_index=True, return_inverse=True, return_counts=True
    )
    return orbit, size, first, grid
