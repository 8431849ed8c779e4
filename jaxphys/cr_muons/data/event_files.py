"""Finds and opens files of events, whatever their format and place."""

import glob
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from jaxphys.cr_muons.data.hdf5_files import SUFFIXES as HDF5_SUFFIXES
from jaxphys.cr_muons.data.hdf5_files import open_hdf5
from jaxphys.cr_muons.data.parquet_files import open_parquet
from jaxphys.cr_muons.data.remote import RemoteCache, is_remote
from jaxphys.cr_muons.data.schema import check_rows
from jaxphys.cr_muons.physics.events import Events

SUFFIXES = (".parquet", ".pq", *HDF5_SUFFIXES)


class EventFile(Protocol):
    """A file of events, read by ranges of rows."""

    @property
    def path(self) -> str:
        """Path or URI."""
        ...

    @property
    def num_rows(self) -> int:
        """Number of events."""
        ...

    @property
    def group_start(self) -> np.ndarray:
        """[G + 1] first row of each block that is decoded as a whole."""
        ...

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        ...

    def read(self, start: int, stop: int, showers: bool = True) -> Events:
        """Returns the rows start <= row < stop; showers=False may leave these out."""
        ...


def find_files(
    infiles: str | Sequence[str], cache: RemoteCache | None = None
) -> list[str]:
    """Returns the files that are meant, in a fixed order.

    Args:
        infiles: Comma list or list of files, folders, patterns (*, ?, [) and URIs.
        cache: Opens URIs; a pattern in one is expanded with it.

    Raises:
        ValueError: If there is no such file, a folder holds none, or one is named
            twice, so that its events would be seen twice.
    """
    names = infiles.split(",") if isinstance(infiles, str) else list(infiles)
    names = [os.fspath(name).strip() for name in names]
    found: list[str] = []
    for name in filter(None, names):
        found += _files_of(name, cache or RemoteCache())
    if not found:
        raise ValueError("data: expected files of events, got none")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]}: is named twice; its events would be seen twice")
    return found


def _files_of(name, cache):
    pattern = any(sign in name for sign in "*?[")
    if is_remote(name):
        files = cache.expand(name) if pattern else [name]
    else:
        name = name.removeprefix("file://")
        if os.path.isdir(name):
            inside = sorted(pathlib.Path(name).iterdir())
            files = [
                str(path)
                for path in inside
                if path.suffix in SUFFIXES and not path.name.startswith(".")
            ]
            if not files:
                raise ValueError(
                    f"{name}: expected files ({', '.join(SUFFIXES)}) in this folder, "
                    f"got {len(inside)} others"
                )
        else:
            files = sorted(glob.glob(name, recursive=True)) if pattern else [name]
            if not pattern and not os.path.isfile(name):
                raise ValueError(f"{name}: no such file or folder")
    if not files:
        raise ValueError(f"{name}: no file matches this pattern")
    return files


def open_events(
    path: str | os.PathLike,
    cache: RemoteCache | None = None,
    need_muons: bool = True,
) -> EventFile:
    """Opens a file of events; its description is read and checked, not its rows.

    Args:
        path: Path or URI; .h5, .hdf5 and .hdf are HDF5, all others Parquet.
        cache: Opens URIs.
        need_muons: Refuse a table of primaries without muons.

    Raises:
        ValueError: If the file is missing, out of reach, truncated or of another kind.
    """
    path, cache = os.fspath(path), cache or RemoteCache()
    if path.endswith(HDF5_SUFFIXES):
        return open_hdf5(_local(path, cache))

    def opener() -> Any:
        return cache.open(path)

    return open_parquet(path, opener, need_muons)


def _local(path, cache):
    opened = cache.open(path)
    if not isinstance(opened, str):
        raise ValueError(
            f"{path}: HDF5 is read from this machine: give a folder in prefetch_dir"
        )
    return opened


def read_events(
    infiles: str | Sequence[str],
    cache: RemoteCache | None = None,
    need_muons: bool = True,
) -> Events:
    """Reads and checks all events of small data sets.

    Args:
        infiles: See `find_files`.
        cache: Opens URIs.
        need_muons: Refuse a table of primaries without muons.

    Raises:
        ValueError: If a file or a row is wrong.
    """
    blocks = []
    for path in find_files(infiles, cache):
        file = open_events(path, cache, need_muons)
        if not file.num_rows:
            continue
        blocks.append(file.read(0, file.num_rows))
        check_rows(blocks[-1], path)
    return Events.concatenate(blocks)
