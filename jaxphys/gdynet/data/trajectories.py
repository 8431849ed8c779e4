"""Positions and cells from files of molecular dynamics, through ASE or MDAnalysis.

Both packages are optional (extra md). What prepare needs of any source of positions:
`FrameSource`.
"""

import dataclasses
import importlib
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jaxphys.gdynet.data.sources import map_npz
from jaxphys.gdynet.physics.cells import minimum_image
from jaxphys.gdynet.physics.elements import SYMBOLS, atoms_of

# formats that ASE reads best; MDAnalysis reads the rest
ASE_SUFFIXES = {".xyz", ".extxyz", ".traj", ".xml", ".cif", ".vasp", ".lammpstrj"}
INSTALL = "pip install 'jaxphys[md]'"


class FrameSource(Protocol):
    """Positions of one trajectory, read in pieces; must be picklable."""

    @property
    def atom_types(self) -> Any:
        """[N] atomic numbers."""
        ...

    @property
    def num_frames(self) -> int:
        """F."""
        ...

    def read(self, start: int, stop: int) -> tuple[np.ndarray, Any]:
        """Returns positions [C, N, 3] and cells [C, 3, 3] (None: no cell), A."""
        ...

    def select(self, text: str) -> np.ndarray:
        """Returns the atoms that a selection in the library's language names."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values that tell this source from another."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayFrames:
    """Positions in arrays or memory maps.

    Attributes:
        positions: [F, N, 3] A.
        cells: [F, 3, 3] or [3, 3] A, or None.
        atom_types: [N].
        name: Of where they come from.
    """

    positions: Any
    cells: Any
    atom_types: np.ndarray
    name: str = "arrays"

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.positions)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, Any]:
        """Returns positions [C, N, 3] and cells [C, 3, 3] or None, A."""
        positions = np.asarray(self.positions[start:stop], np.float64)
        if self.cells is None:
            return positions, None
        whole = np.ndim(self.cells) == 2
        cells = np.asarray(self.cells if whole else self.cells[start:stop], np.float64)
        return positions, np.broadcast_to(cells, (len(positions), 3, 3))

    def select(self, text: str) -> np.ndarray:
        """Raises ValueError: arrays have no names to select by."""
        raise ValueError(
            f"--target='selection:{text}': expected a trajectory file of MDAnalysis, "
            f"got {self.name}: use element: or index:"
        )

    def describe(self) -> dict[str, Any]:
        """Returns the name and the shape."""
        return {"source": self.name, "shape": list(np.shape(self.positions))}


def open_npz_frames(path: str | os.PathLike) -> tuple[ArrayFrames, np.ndarray]:
    """Opens txie's input: traj_coords, lattices, atom_types, target_index.

    Returns:
        The frames and the targets [n].

    Raises:
        FileNotFoundError: If the file or an array is missing.
        ValueError: If it is no archive, or shapes do not go together.
    """
    arrays = map_npz(path)
    needed = ("traj_coords", "lattices", "atom_types", "target_index")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise FileNotFoundError(f"{path}: no array {', '.join(missing)}")
    positions, cells = arrays["traj_coords"], arrays["lattices"]
    types = np.asarray(arrays["atom_types"])
    if positions.ndim != 3 or positions.shape[1:] != (len(types), 3):
        raise ValueError(
            f"{path}[traj_coords]: expected [frames, {len(types)}, 3], got "
            f"{positions.shape}"
        )
    if cells.shape == (len(positions), 3):  # of an orthogonal box
        cells = np.asarray(cells)[:, :, None] * np.eye(3)
    if cells.shape != (len(positions), 3, 3):
        raise ValueError(
            f"{path}[lattices]: expected [{len(positions)}, 3, 3], got {cells.shape}"
        )
    frames = ArrayFrames(positions, cells, types, str(path))
    return frames, np.asarray(arrays["target_index"])


def _load(package: str, wanted_for: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{wanted_for}: needs the package {package.partition('.')[0]}, which is "
            f"not there: {INSTALL}"
        ) from error


def open_trajectory(
    path: str | os.PathLike, topology: str | os.PathLike = "", library: str = "auto"
) -> FrameSource:
    """Opens a file of molecular dynamics.

    Args:
        path: extxyz, traj, LAMMPS dump, vasprun.xml, XTC, DCD, TRR, PDB, ...
        topology: File with the atoms, for formats without (MDAnalysis).
        library: "ase", "mdanalysis", or "auto" by the file's ending.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If the library is not there; names the extra.
        ValueError: If the library cannot read it.
    """
    missing = [str(p) for p in (path, topology) if p and not pathlib.Path(p).is_file()]
    if missing:
        raise FileNotFoundError(f"missing: {', '.join(missing)}")
    if library not in ("auto", "ase", "mdanalysis"):
        raise ValueError(f"library={library!r}: expected auto, ase or mdanalysis")
    if library == "auto":
        known = pathlib.Path(path).suffix.lower() in ASE_SUFFIXES
        library = "ase" if known and not topology else "mdanalysis"
    if library == "ase":
        return AseFrames(str(path))
    return MDAnalysisFrames(str(path), str(topology))


class AseFrames:
    """A file that ASE reads. The order of atoms must not change."""

    def __init__(self, path: str):
        self.path = path
        self._open = _load("ase.io", path)
        try:
            self.num_frames = _count_ase(self._open, path)
            first = self._open.read(path, index=0)
        except Exception as error:  # ASE raises anything on a bad file
            raise ValueError(f"{path}: ASE cannot read it: {error}") from error
        self.atom_types = np.asarray(first.numbers)
        self._pbc = first.pbc.tolist()

    def __reduce__(self) -> Any:
        return AseFrames, (self.path,)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, Any]:
        """Returns positions [C, N, 3] and cells [C, 3, 3], None without, A."""
        frames = self._open.read(self.path, index=f"{start}:{stop}")
        for f, atoms in enumerate(frames):
            if not np.array_equal(atoms.numbers, self.atom_types):
                raise ValueError(
                    f"{self.path}: frame {start + f}: expected the atoms of frame 0 in "
                    f"their order, got {len(atoms)} others"
                )
        positions = np.stack([atoms.positions for atoms in frames])
        if not any(self._pbc):
            return positions, None
        return positions, np.stack([atoms.cell.array for atoms in frames])

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Which directions repeat."""
        return (self._pbc[0], self._pbc[1], self._pbc[2])

    def select(self, text: str) -> np.ndarray:
        """Raises ValueError: ASE has no language of selections."""
        raise ValueError(
            f"--target='selection:{text}': {self.path} is read by ASE: use element: or "
            "index:, or give a topology for MDAnalysis"
        )

    def describe(self) -> dict[str, Any]:
        """Returns path, library and number of frames."""
        return {"source": self.path, "library": "ase", "frames": self.num_frames}


def _count_ase(module, path):
    if pathlib.Path(path).suffix == ".traj":
        with _load("ase.io.trajectory", path).Trajectory(path) as opened:
            return len(opened)
    return sum(1 for _ in module.iread(path, index=":"))


class MDAnalysisFrames:
    """A file that MDAnalysis reads, with its topology."""

    def __init__(self, path: str, topology: str = ""):
        self.path, self.topology = path, topology
        module = _load("MDAnalysis", path)
        try:
            places = (topology, path) if topology else (path,)
            self._universe = module.Universe(*places)
            self.num_frames = len(self._universe.trajectory)
        except Exception as error:  # MDAnalysis raises anything on a bad file
            raise ValueError(
                f"{path}: MDAnalysis cannot read it with topology={topology!r}: {error}"
            ) from error
        self.atom_types = _numbers(self._universe.atoms, path)

    def __reduce__(self) -> Any:
        return MDAnalysisFrames, (self.path, self.topology)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, Any]:
        """Returns positions [C, N, 3] and cells [C, 3, 3], None without, A."""
        positions, cells = [], []
        for step in self._universe.trajectory[start:stop]:
            positions.append(np.array(step.positions, np.float64))
            cells.append(step.dimensions)
        if any(c is None or not np.all(c[:3] > 0) for c in cells):
            return np.stack(positions), None
        return np.stack(positions), np.stack([cell_of_lengths(c) for c in cells])

    def select(self, text: str) -> np.ndarray:
        """Returns the atoms [n] of a selection."""
        return np.asarray(self._universe.select_atoms(text).indices)

    def describe(self) -> dict[str, Any]:
        """Returns paths, library and number of frames."""
        return {
            "source": self.path,
            "topology": self.topology,
            "library": "mdanalysis",
            "frames": self.num_frames,
        }


def _numbers(atoms, path):
    """Returns atomic numbers of elements, or of names that begin like them."""
    for attribute in ("elements", "types", "names"):
        symbols = [str(s).strip().capitalize() for s in getattr(atoms, attribute, [])]
        if symbols and all(symbol in SYMBOLS for symbol in symbols):
            return np.array([SYMBOLS.index(s) for s in symbols], np.int32)
    raise ValueError(
        f"{path}: the topology names no elements: expected elements, or types that are "
        "symbols"
    )


def cell_of_lengths(dimensions: np.ndarray) -> np.ndarray:
    """Returns the cell [3, 3] of lengths a, b, c in A and angles in degrees."""
    a, b, c, alpha, beta, gamma = (float(value) for value in dimensions)
    cos_a, cos_b, cos_g = (_cosine(angle) for angle in (alpha, beta, gamma))
    sin_g = math.sqrt(1 - cos_g**2)
    x, y = cos_b, (cos_a - cos_b * cos_g) / sin_g
    z = math.sqrt(max(1 - x**2 - y**2, 0.0))
    return np.array([[a, 0, 0], [b * cos_g, b * sin_g, 0], [c * x, c * y, c * z]])


def _cosine(degrees):
    return 0.0 if degrees == 90 else math.cos(math.radians(degrees))


def parse_targets(
    text: str, atom_types: np.ndarray, select: Callable[[str], np.ndarray] | None = None
) -> np.ndarray:
    """Returns the atoms [n] that --target names.

    Args:
        text: "element:Li", "index:0,5,10" or "selection:<MDAnalysis string>".
        atom_types: [N] atomic numbers.
        select: What answers a selection.

    Raises:
        ValueError: If it cannot be read or names no atom.
    """
    kind, _, rest = text.partition(":")
    if kind == "element" and rest:
        return atoms_of(rest, atom_types).astype(np.int32)
    if kind == "index" and rest:
        try:
            found = np.array([int(item) for item in rest.split(",")], np.int32)
        except ValueError:
            raise ValueError(
                f"--target={text!r}: expected whole numbers, index:0,5,10"
            ) from None
        bad = found[(found < 0) | (found >= len(atom_types))]
        if len(bad):
            raise ValueError(
                f"--target={text!r}: expected atoms from 0 to {len(atom_types) - 1}, "
                f"got {bad[0]}"
            )
        return found
    if kind == "selection" and rest and select is not None:
        found = np.asarray(select(rest), np.int32)
        if not len(found):
            raise ValueError(f"--target={text!r}: no atom is selected")
        return found
    raise ValueError(
        f"--target={text!r}: expected element:Li, index:0,5,10 or selection:<string>"
    )


def make_whole(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Joins a molecule that the boundary cuts: each atom next to the one before.

    Args:
        positions: [F, n, 3] A, in the order of a chain.
        cells: [F, 3, 3] A, periodic in all directions.

    Returns:
        [F, n, 3]; the first atom stays where it is.
    """
    steps = np.diff(positions, axis=1)
    shortest = [minimum_image(s, c) for s, c in zip(steps, cells, strict=True)]
    joined = positions[:, :1] + np.cumsum(np.reshape(shortest, steps.shape), axis=1)
    return np.concatenate([positions[:, :1], joined], axis=1)


def centre(
    positions: np.ndarray, cells: np.ndarray | None, atoms: np.ndarray
) -> np.ndarray:
    """Moves the mean of some atoms to the origin (their chain joined before).

    Args:
        positions: [F, N, 3] A.
        cells: [F, 3, 3] A, or None.
        atoms: [n] the atoms, in the order of a chain.

    Returns:
        [F, N, 3]; with a cell all other atoms lie around the origin.
    """
    chosen = positions[:, atoms]
    if cells is not None:
        chosen = make_whole(chosen, cells)
    middle = chosen.mean(axis=1, keepdims=True)
    moved = positions - middle
    if cells is not None:
        pairs = zip(moved, cells, strict=True)
        moved = np.stack([minimum_image(frame, cell) for frame, cell in pairs])
        moved[:, atoms] = chosen - middle
    return moved
