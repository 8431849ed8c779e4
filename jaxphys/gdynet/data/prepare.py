"""Converts positions and cells to the folder that training reads.

Frames are handled in chunks, by several processes, and written straight into memory
maps in a hidden folder beside the result; an interrupted call goes on where it stopped,
and a folder that has its name is whole.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file, write_json
from jaxphys.data.resumable import begin, make_pieces, partial_of, require_equal
from jaxphys.gdynet.data.directions import Displacement, load_directions
from jaxphys.gdynet.data.sources import LENGTHS
from jaxphys.gdynet.data.trajectories import FrameSource, centre, make_whole
from jaxphys.gdynet.physics.cells import Pbc
from jaxphys.gdynet.physics.neighbours import BACKENDS, neighbours

VERSION = 1
_CHUNK_ATOMS = 2**17  # atoms x frames of a chunk
# name of an array -> type on disk, the one that the original reads
DISK = {
    "nbr_lists": np.dtype(np.int32),
    "nbr_dists": np.dtype(np.float32),
    "atom_directions": np.dtype(np.float32),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is computed of every frame.

    Attributes:
        n_nbrs: Neighbours of an atom, M.
        radius: A, or "auto".
        backend: See `neighbours`.
        pbc: Whether the cell repeats, or one answer for each vector.
        directions: A displacement, a file [F, N, 3], or None.
        unwrap: Atoms, in the order of a chain, that are joined across the boundary
            before (to look at a molecule without its box, pbc=False).
        centre: Atoms whose mean is moved to the origin before; the neighbours are
            the same with and without where the cell repeats.
    """

    n_nbrs: int = 20
    radius: float | str = 7.0
    backend: str = "auto"
    pbc: Pbc = True
    directions: Displacement | pathlib.Path | None = None
    unwrap: tuple[int, ...] = ()
    centre: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.n_nbrs < 1 or self.backend not in BACKENDS:
            raise ValueError(
                f"n_nbrs, backend: expected >= 1 and one of {', '.join(BACKENDS)}, got "
                f"{self.n_nbrs}, {self.backend!r}"
            )
        if self.radius != "auto" and not float(self.radius) > 0:
            raise ValueError(f"radius: expected > 0 A or auto, got {self.radius!r}")

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values that tell this recipe from another."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        found["directions"] = self.directions and str(self.directions)
        return found


def write_folder(
    folder: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes arrays in memory as a folder that `open_trajectories` reads.

    Args:
        folder: New, or one that is replaced file by file.
        arrays: Named like the files.
        about: Plain JSON values for about.json.
    """
    folder = pathlib.Path(folder)
    for name, array in arrays.items():
        with replace_file(folder / f"{name}.npy") as file:
            np.save(file, np.asarray(array, DISK.get(name)))
    write_json(folder / "about.json", {"version": VERSION, **(about or {})})
    return folder


def prepare(
    source: FrameSource,
    target_index: np.ndarray,
    folder: str | os.PathLike,
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    progress: bool = False,
    chunk: int = 0,
) -> pathlib.Path:
    """Writes the folder of one trajectory, or goes on where a call stopped.

    Args:
        source: Positions, cells and atomic numbers; picklable for several workers.
        target_index: [n] atoms whose states are wanted.
        folder: The result; must be new, or the result of an equal call.
        recipe: What to compute; None takes the defaults.
        workers: Processes; they are spawned, never forked.
        progress: Show a progress bar with frames/s.
        chunk: Frames of a chunk; 0 chooses.

    Returns:
        The folder.

    Raises:
        ValueError: If an atom has too few neighbours, the targets are out of range or
            the folder was made differently.
    """
    folder, recipe = pathlib.Path(folder), recipe or Recipe()
    targets = np.asarray(target_index, np.int32)
    atoms, frames = len(source.atom_types), source.num_frames
    if workers < 1 or chunk < 0:
        raise ValueError(f"workers, chunk: expected >= 1, >= 0, got {workers}, {chunk}")
    if not frames or not len(targets) or targets.min() < 0 or targets.max() >= atoms:
        raise ValueError(
            f"expected frames and targets from 0 to {atoms - 1}, got {frames} frames, "
            f"targets {targets.tolist()[:10]}"
        )
    chunk = chunk or max(1, _CHUNK_ATOMS // atoms)
    request = {
        "version": VERSION,
        **source.describe(),
        "frames": frames,
        "atoms": atoms,
        "targets": targets.tolist(),
        "chunk": chunk,
        **recipe.describe(),
    }
    if (folder / "about.json").is_file():
        require_equal(folder, request, _json_of(folder / "about.json"))
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a new folder, it holds other files")
    partial = partial_of(folder)
    begin(partial, request)
    _make_maps(partial, frames, atoms, recipe)
    make_pieces(
        write_chunk,
        [
            (source, recipe, partial, start, min(start + chunk, frames))
            for start in range(0, frames, chunk)
        ],
        workers,
        title="prepare",
        unit="frame",
        is_done=lambda job: (partial / "done" / str(job[3])).is_file(),
        size=lambda job: job[4] - job[3],
        progress=progress,
    )
    small = {
        "atom_types": np.asarray(source.atom_types, np.int32),
        "target_index": targets,
    }
    write_folder(partial, {**small, LENGTHS: np.array([frames])}, request)
    shutil.rmtree(partial / "done")
    (partial / "request.json").unlink()
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, folder)
    return folder


def _json_of(path):
    return json.loads(path.read_text())


def _make_maps(partial, frames, atoms, recipe):
    """Makes the memory maps that the chunks are written into."""
    if (partial / "done").is_dir():
        return
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("nbr_lists", "nbr_dists"), (frames, atoms, recipe.n_nbrs)
    )
    if recipe.directions is not None:
        shapes["atom_directions"] = (frames, atoms, 3)
        if not isinstance(recipe.directions, Displacement):
            load_directions(recipe.directions, frames, atoms)
    for name, shape in shapes.items():
        np.lib.format.open_memmap(
            partial / f"{name}.npy", mode="w+", dtype=DISK[name], shape=shape
        )
    (partial / "done").mkdir()  # last: now it can be gone on with


def write_chunk(
    source: FrameSource, recipe: Recipe, partial: pathlib.Path, start: int, stop: int
) -> int:
    """Writes the frames start <= f < stop; returns their number."""
    arrays = chunk_arrays(source, recipe, start, stop)
    for name, array in arrays.items():
        whole = np.load(partial / f"{name}.npy", mmap_mode="r+")
        whole[start:stop] = array
        whole.flush()
    (partial / "done" / str(start)).touch()
    return stop - start


def chunk_arrays(
    source: FrameSource, recipe: Recipe, start: int, stop: int
) -> dict[str, np.ndarray]:
    """Returns the arrays of a row per frame for some frames."""
    positions, cells = source.read(start, stop)
    atoms = len(source.atom_types)
    if positions.shape != (stop - start, atoms, 3):
        raise ValueError(
            f"frames {start} to {stop - 1}: expected positions [{stop - start}, "
            f"{atoms}, 3], got {positions.shape}"
        )
    positions = _placed(positions, cells, recipe)
    periodic = recipe.pbc if np.any(recipe.pbc) else False
    used = cells if periodic else None
    found = neighbours(
        positions,
        used,
        recipe.n_nbrs,
        recipe.radius,
        recipe.backend,
        pbc=recipe.pbc,
        first_frame=start,
    )
    arrays = {"nbr_lists": found.lists, "nbr_dists": found.dists}
    if isinstance(recipe.directions, Displacement):
        arrays["atom_directions"] = recipe.directions.of(
            positions, used, source.atom_types, recipe.pbc
        )
    elif recipe.directions is not None:
        whole = load_directions(recipe.directions, source.num_frames, atoms)
        arrays["atom_directions"] = np.asarray(whole[start:stop], np.float32)
    return arrays


def _placed(positions, cells, recipe):
    """Joins and centres atoms as the recipe says."""
    if recipe.unwrap and cells is not None:
        chain = list(recipe.unwrap)
        positions = positions.copy()
        positions[:, chain] = make_whole(positions[:, chain], cells)
    if recipe.centre:
        positions = centre(positions, cells, np.asarray(recipe.centre))
    return positions
