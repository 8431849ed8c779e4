"""A vector per atom for the ferro model: read from a file, or a local displacement."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from jaxphys.gdynet.data.sources import load_npy
from jaxphys.gdynet.physics.cells import Pbc, full_cells, periodic_axes, with_images
from jaxphys.gdynet.physics.elements import atoms_of


@dataclasses.dataclass(frozen=True)
class Displacement:
    """Position of an atom less the mean of its nearest ligands; others have zero.

    This is the local polarisation of the B site of a perovskite.

    Attributes:
        centre: Symbol of the atoms that get a direction.
        ligand: Symbol of the atoms around them.
        count: Ligands to take, k.
    """

    centre: str
    ligand: str
    count: int

    def of(
        self, positions: np.ndarray, cells: Any, atom_types: np.ndarray, pbc: Pbc = True
    ) -> np.ndarray:
        """Returns directions [F, N, 3] float32 in A.

        Args:
            positions: [F, N, 3] A.
            cells: [F, 3, 3] A, or None.
            atom_types: [N] atomic numbers.
            pbc: Whether the cell repeats.

        Raises:
            ValueError: If an element is absent or there are too few ligands.
        """
        centres = atoms_of(self.centre, atom_types)
        ligands = atoms_of(self.ligand, atom_types)
        found = np.zeros(positions.shape, np.float32)
        periodic = periodic_axes(cells, pbc)
        if cells is not None:
            cells = full_cells(cells, periodic)
        for f, frame in enumerate(np.asarray(positions, np.float64)):
            cell = None if cells is None else cells[f]
            found[f, centres] = self._of_frame(frame, cell, periodic, centres, ligands)
        return found

    def _of_frame(self, frame, cell, periodic, centres, ligands):
        reach = 4.0  # A; doubled until there are enough
        while True:
            middle, around = frame[centres], frame[ligands]
            if cell is not None:
                # all of them wrapped alike; the images are those of the ligands
                around, _ = with_images(around, cell, periodic, reach)
                middle, _ = with_images(middle, cell, periodic, 0.0)
                middle = middle[: len(centres)]
            k: Any = np.arange(1, self.count + 1)
            dists, index = map(np.asarray, KDTree(around).query(middle, k))
            if len(around) >= self.count and (
                cell is None or np.all(dists[:, -1] <= reach)
            ):
                return middle - around[index].mean(axis=1)
            if cell is None or not periodic.any() or reach > 1e4:
                raise ValueError(
                    f"directions: {len(around)} atoms {self.ligand}, expected at least "
                    f"{self.count} around each {self.centre}"
                )
            reach *= 2


def parse_directions(text: str) -> Displacement | pathlib.Path | None:
    """Reads --directions: "", FILE.npy or displacement:<centre>:<ligand>:<k>.

    Raises:
        ValueError: If it is none of them.
    """
    if not text:
        return None
    kind, *rest = text.split(":")
    if kind == "displacement":
        if len(rest) != 3 or not rest[2].isdecimal() or int(rest[2]) < 1:
            raise ValueError(
                f"--directions={text!r}: expected displacement:<centre element>:"
                "<ligand element>:<number of ligands>"
            )
        return Displacement(rest[0], rest[1], int(rest[2]))
    if not text.endswith(".npy"):
        raise ValueError(
            f"--directions={text!r}: expected FILE.npy or displacement:..."
        )
    return pathlib.Path(text)


def load_directions(path: str | os.PathLike, frames: int, atoms: int) -> np.ndarray:
    """Opens a file of directions [F, N, 3] as a memory map.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If its shape is another.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"missing: {path}")
    found = load_npy(path)
    if found.shape != (frames, atoms, 3):
        raise ValueError(
            f"{path}: expected shape ({frames}, {atoms}, 3), got {found.shape}"
        )
    return found
