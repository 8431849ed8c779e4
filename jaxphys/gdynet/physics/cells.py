"""Periodic cells: heights, wrapping, images and minimum-image vectors.

Rows of a cell are its vectors. A direction that is not periodic has no images; its
vector may be zero.
"""

import itertools

import numpy as np

Pbc = bool | tuple[bool, bool, bool]


def periodic_axes(cell: np.ndarray | None, pbc: Pbc = True) -> np.ndarray:
    """Returns [3] bool: which directions repeat; none without a cell."""
    if cell is None:
        return np.zeros(3, bool)
    return np.broadcast_to(np.asarray(pbc, bool), (3,))


def full_cells(cells: np.ndarray, periodic: np.ndarray) -> np.ndarray:
    """Returns cells with vectors of length 1 in directions that do not repeat.

    Args:
        cells: [..., 3, 3] A, rows are vectors.
        periodic: [3] bool.

    Raises:
        ValueError: If the vectors of the periodic directions lie in a plane.
    """
    cells = np.array(cells, np.float64)
    if cells.shape[-2:] != (3, 3) or not np.isfinite(cells).all():
        raise ValueError(f"cell: expected three finite vectors, got {cells.tolist()}")
    if not periodic.any():
        cells[...] = np.eye(3)
        return cells
    # the rest of an orthonormal basis: what the periodic vectors do not span
    _, sizes, basis = np.linalg.svd(cells[..., periodic, :])
    flat = np.argwhere(sizes[..., -1] < 1e-6 * sizes[..., 0])
    if len(flat):
        place = tuple(flat[0].tolist())
        raise ValueError(
            f"cell: expected a volume > 0, got vectors {cells[place].tolist()} at "
            f"{place or 'the only place'}"
        )
    cells[..., ~periodic, :] = basis[..., periodic.sum() :, :]
    return cells


def heights(cells: np.ndarray) -> np.ndarray:
    """Returns [..., 3] distances between opposite faces of cells [..., 3, 3]."""
    return 1 / np.linalg.norm(np.linalg.inv(cells), axis=-2)


def with_images(
    positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Adds the images of atoms that lie within `reach` of the cell.

    Args:
        positions: [N, 3] A, anywhere.
        cell: [3, 3] full cell.
        periodic: [3] bool.
        reach: A.

    Returns:
        (points [P, 3], atom [P]); the first N points are the atoms themselves, in
        the cell.
    """
    fraction = positions @ np.linalg.inv(cell)
    fraction[:, periodic] -= np.floor(fraction[:, periodic])
    atom = np.arange(len(positions))
    margins = reach / heights(cell) + 1e-9
    for axis in np.flatnonzero(periodic):
        margin, x = margins[axis], fraction[:, axis]
        shells = int(np.ceil(margin))
        parts, atoms = [fraction], [atom]
        for shift in [*range(-shells, 0), *range(1, shells + 1)]:
            near = np.flatnonzero((x + shift >= -margin) & (x + shift <= 1 + margin))
            moved = fraction[near]
            moved[:, axis] += shift
            parts.append(moved)
            atoms.append(atom[near])
        fraction, atom = np.concatenate(parts), np.concatenate(atoms)
    return fraction @ cell, atom


def shifts_within(cells: np.ndarray, periodic: np.ndarray, reach: float) -> np.ndarray:
    """Returns the shifts that may bring a wrapped difference within `reach`.

    Args:
        cells: [C, 3, 3] full cells.
        periodic: [3] bool.
        reach: A.

    Returns:
        [I, 3] whole numbers of cell vectors, for differences in [-1/2, 1/2].
    """
    height = heights(cells).min(axis=0)
    most = np.where(periodic, np.floor(reach / height + 0.5 + 1e-9), 0).astype(int)
    ranges = [range(-m, m + 1) for m in most]
    shifts = np.array(list(itertools.product(*ranges)), np.float64)
    off_diagonal = cells * (1 - np.eye(3))
    if not off_diagonal.any():  # a box: the nearest corner tells
        gap = np.maximum(np.abs(shifts) - 0.5, 0) * height
        shifts = shifts[np.sum(gap**2, axis=1) <= reach**2 * (1 + 1e-9)]
    return shifts


def minimum_image(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Returns the shortest images of vectors.

    Args:
        vectors: [..., 3] A.
        cell: [3, 3] full cell, periodic in all directions.
    """
    fraction = vectors @ np.linalg.inv(cell)
    fraction -= np.round(fraction)
    if not (cell * (1 - np.eye(3))).any():
        return fraction @ cell
    # in a skew cell the rounded image need not be the shortest: look at those around
    around = np.array(list(itertools.product((-1, 0, 1), repeat=3)), np.float64)
    images = (fraction[..., None, :] + around) @ cell  # [..., 27, 3]
    best = np.argmin(np.sum(images**2, axis=-1), axis=-1)[..., None, None]
    return np.take_along_axis(images, best, axis=-2)[..., 0, :]
