"""Where trajectories come from: folders of .npy, lists of files, .npz archives.

Nothing is loaded: the large arrays are memory maps, also those inside of an archive
that is not compressed.
"""

import dataclasses
import os
import pathlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# the order of a list of files
FILES = ("atom_types", "target_index", "nbr_lists", "nbr_dists", "atom_directions")
LENGTHS = "trajectory_lengths"


# an array or what acts like one: shape, dtype, and rows that are read when asked for;
# [F, ...], or [1, ...] for what is the same in every frame
Frames = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One folder or file with the frames of one or several trajectories.

    Attributes:
        name: Of the folder or file, for messages.
        atom_types: [N] atomic numbers.
        target_index: [n] atoms whose states are wanted.
        nbr_lists: [F or 1, N, M] neighbours of every atom.
        nbr_dists: [F or 1, N, M] their distances, A.
        directions: [F or 1, N, 3], or None.
        lengths: [T] frames of the trajectories that lie one after the other.
        paths: Name of an array -> where it lies, for messages and dates.
        folder: Where a note on the checks may be kept, or None.
    """

    name: str
    atom_types: np.ndarray
    target_index: np.ndarray
    nbr_lists: Frames
    nbr_dists: Frames
    directions: Frames | None = None
    lengths: Any = None
    paths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    folder: pathlib.Path | None = None

    @property
    def large(self) -> dict[str, Frames]:
        """The arrays of a row per frame, by name."""
        found = {"nbr_lists": self.nbr_lists, "nbr_dists": self.nbr_dists}
        if self.directions is not None:
            found["atom_directions"] = self.directions
        return found

    @property
    def num_frames(self) -> int:
        """F; arrays with one row beside longer ones serve every frame."""
        return max(array.shape[0] for array in self.large.values())

    def path(self, array: str) -> str:
        """Returns where an array lies."""
        return self.paths.get(array, f"{self.name}: {array}")


def open_sources(
    places: str | os.PathLike | Sequence[str | os.PathLike], directions: bool = False
) -> list[Source]:
    """Opens what --train_fnames and its like may name.

    Args:
        places: Folders and .npz files, one or many; or the 4 (5 with directions)
            .npy files of one trajectory in the order of `FILES`.
        directions: Directions are needed (ferro).

    Returns:
        One source per folder or archive; not yet checked (see `validation`).

    Raises:
        FileNotFoundError: Names everything that is missing.
        ValueError: If a list of files is not complete or a file is no array.
    """
    if isinstance(places, (str, os.PathLike)):
        places = [places]
    paths = [pathlib.Path(place) for place in places]
    if not paths:
        raise ValueError("expected folders or files with trajectories, got none")
    if any(path.suffix == ".npy" for path in paths):
        return [_open_list(paths, directions)]
    missing = [str(path) for path in paths if not path.exists()]
    for path in paths:
        if path.is_dir():
            missing += [
                str(path / f"{name}.npy")
                for name in _needed(directions)
                if not (path / f"{name}.npy").is_file()
            ]
    if missing:
        raise FileNotFoundError(f"missing: {', '.join(missing)}")
    return [_open_folder(p) if p.is_dir() else open_npz(p, directions) for p in paths]


def _needed(directions):
    return FILES if directions else FILES[:4]


def _open_list(paths, directions) -> Source:
    """Opens the files of one trajectory, given in their order."""
    needed = _needed(directions)
    if len(paths) not in {len(needed), len(FILES)}:
        raise ValueError(
            f"{', '.join(map(str, paths))}: expected a folder or the {len(needed)} "
            f"files {', '.join(needed)}, got {len(paths)} files"
        )
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"missing: {', '.join(missing)}")
    found: dict[str, Any] = dict(zip(FILES, paths, strict=False))
    arrays = {name: load_npy(path) for name, path in found.items()}
    return make_source(str(paths[0].parent), arrays, found)


def _open_folder(folder: pathlib.Path) -> Source:
    found = {name: folder / f"{name}.npy" for name in (*FILES, LENGTHS)}
    found = {name: path for name, path in found.items() if path.is_file()}
    arrays = {name: load_npy(path) for name, path in found.items()}
    return make_source(str(folder), arrays, found, folder)


def make_source(
    name: str,
    arrays: Mapping[str, Any],
    paths: Mapping[str, Any] | None = None,
    folder: pathlib.Path | None = None,
) -> Source:
    """Makes a source of arrays that are named like the files of a folder.

    Args:
        name: Of the whole, for messages.
        arrays: The four or five arrays, and maybe trajectory_lengths [T].
        paths: Where they lie.
        folder: See `Source`.
    """
    lists, dists = (_with_frames(arrays[name]) for name in ("nbr_lists", "nbr_dists"))
    directions = arrays.get("atom_directions")
    source = Source(
        name,
        np.asarray(arrays["atom_types"]),
        np.asarray(arrays["target_index"]),
        lists,
        dists,
        None if directions is None else _with_frames(directions),
        paths={key: str(path) for key, path in (paths or {}).items()},
        folder=folder,
    )
    lengths = arrays.get(LENGTHS)
    lengths = [source.num_frames] if lengths is None else lengths
    return dataclasses.replace(source, lengths=np.asarray(lengths))


def _with_frames(array):
    """Returns an array with an axis of frames: static geometry has one row."""
    return array[None] if len(array.shape) == 2 else array


def load_npy(path: str | os.PathLike) -> np.ndarray:
    """Opens a .npy file as a memory map.

    Raises:
        ValueError: If it is no whole array of numbers.
    """
    try:
        found = np.load(path, mmap_mode="r")
    except ValueError:
        found = _load_empty(path)
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: not a readable .npy file: {error}") from error
    return found


def _load_empty(path):
    try:
        return np.load(path)  # an empty array cannot be mapped
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a whole array (truncated?): {error}") from error


def open_npz(path: str | os.PathLike, directions: bool = False) -> Source:
    """Opens an archive: names as in a folder, or what txie's preprocessing wrote.

    Its form "kdtree" holds no distances but coordinates and box lengths [F, 3]; they
    are computed by minimum image when they are read.

    Raises:
        FileNotFoundError: If it is not there or lacks an array.
        ValueError: If it is no archive of arrays.
    """
    path = pathlib.Path(path)
    arrays = map_npz(path)
    missing = [name for name in _needed(directions) if name not in arrays]
    if "nbr_dists" in missing and {"traj_coords", "lattices"} <= arrays.keys():
        missing.remove("nbr_dists")
        if "nbr_lists" not in missing:
            arrays["nbr_dists"] = MinimumImageDistances(
                arrays["traj_coords"], arrays["lattices"], arrays["nbr_lists"]
            )
    if missing:
        hint = ""
        if {"nbr_lists", "nbr_dists"} & set(missing) and "traj_coords" in arrays:
            hint = ": it holds coordinates, run --mode=prepare on it"
        raise FileNotFoundError(f"{path}: no array {', '.join(missing)}{hint}")
    names = {name: f"{path}[{name}]" for name in arrays}
    return make_source(str(path), arrays, names)


def map_npz(path: str | os.PathLike) -> dict[str, Any]:
    """Opens the arrays of an archive, as memory maps where they are not compressed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no archive of arrays.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"missing: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        with np.load(path, allow_pickle=False) as loaded:
            return {
                m.filename.removesuffix(".npy"): _member(path, m, loaded)
                for m in members
            }
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npz file: {error}") from error


def _member(path, member, loaded):
    name = member.filename.removesuffix(".npy")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size < 2**16:
        return loaded[name]
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", file.read(4))
        file.seek(member.header_offset + 30 + name_size + extra_size)
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, by_column, dtype = header(file)
        order = "F" if by_column else "C"
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


@dataclasses.dataclass(frozen=True, eq=False)
class MinimumImageDistances:
    """Distances to listed neighbours in a box, computed when they are read.

    Attributes:
        positions: [F, N, 3] A.
        lengths: [F, 3] of the box, A.
        nbr_lists: [F, N, M].
    """

    positions: Frames
    lengths: Frames
    nbr_lists: Frames

    @property
    def shape(self) -> tuple[int, ...]:
        """[F, N, M]."""
        return tuple(self.nbr_lists.shape)

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return np.dtype(np.float32)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Returns the distances [..., N, M] of some frames."""
        positions = np.asarray(self.positions[rows], np.float64)
        lengths = np.asarray(self.lengths[rows], np.float64)[..., None, None, :]
        lists = np.asarray(self.nbr_lists[rows])
        index = lists.reshape(*lists.shape[:-2], -1, 1)  # [..., N M, 1]
        there = np.take_along_axis(positions, index, axis=-2)
        vectors = there.reshape(*lists.shape, 3) - positions[..., :, None, :]
        vectors -= lengths * np.round(vectors / lengths)
        return np.sqrt(np.sum(vectors**2, axis=-1)).astype(np.float32)
