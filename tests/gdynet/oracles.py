"""Slow and obvious references for the tests of the data of gdynet."""

import itertools

import numpy as np

from jaxphys.gdynet.data.sources import FILES


def brute_force(positions, cell, n_nbrs, radius):
    """Returns sorted distances [N, M] and the sets of (atom, distance) within radius.

    Float64, every pair and every image that can lie within the radius.
    """
    positions = np.asarray(positions, np.float64)
    shifts = np.zeros((1, 3))
    if cell is not None:
        inverse = np.linalg.inv(cell)
        positions = positions - np.floor(positions @ inverse) @ cell
        shells = np.ceil(radius * np.linalg.norm(inverse, axis=0)).astype(int) + 1
        shifts = np.array(list(itertools.product(*[range(-s, s + 1) for s in shells])))
    images = shifts @ (np.eye(3) if cell is None else cell)
    images = positions[:, None] + images  # [N, I, 3]
    found = []
    for i, here in enumerate(positions):
        away = np.linalg.norm(images - here, axis=-1)
        away[i, ~shifts.any(axis=1)] = np.inf
        atom, shift = np.nonzero(away <= radius)
        found.append(
            sorted(zip(away[atom, shift].tolist(), atom.tolist(), strict=True))
        )
    dists = np.array([[d for d, _ in pairs[:n_nbrs]] for pairs in found])
    return dists, found


def arrays_of(frames=9, atoms=5, n_nbrs=3, seed=0, directions=False, targets=(1, 3)):
    """Returns random arrays named like the files of a folder."""
    random = np.random.default_rng(seed)
    found = {
        "atom_types": random.integers(1, 99, atoms).astype(np.int32),
        "target_index": np.array(targets, np.int32),
        "nbr_lists": random.integers(0, atoms, (frames, atoms, n_nbrs), np.int32),
        "nbr_dists": random.uniform(3, 6, (frames, atoms, n_nbrs)).astype(np.float32),
    }
    if directions:
        shape = (frames, atoms, 3)
        found["atom_directions"] = random.normal(size=shape).astype(np.float32)
    return found


def write_arrays(folder, arrays):
    """Writes a folder; returns the paths of its files in the fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return [folder / f"{name}.npy" for name in FILES if name in arrays]
