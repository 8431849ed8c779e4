"""What is known of a data set before training: its counts, its showers, its faults.

Every row is read and checked once, so that a bad one is named before the first step
and a batch can be planned from the counts alone. The result may be kept in a folder.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.event_files import EventFile, open_events
from jaxphys.cr_muons.data.remote import RemoteCache, is_remote
from jaxphys.cr_muons.data.schema import find_bad_rows, names_showers
from jaxphys.cr_muons.data.splits import is_validation
from jaxphys.cr_muons.physics.events import Events
from jaxphys.data.files import replace_file

BAD_ROWS = ("raise", "set_aside")
_FIELDS = ("num_muons", "run_start", "run_shower", "bad")


@dataclasses.dataclass(frozen=True, eq=False)
class FileIndex:
    """What is known of one file.

    Attributes:
        file: The file.
        num_muons: [R] int32, muons of each row.
        run_start: [K] int64, first row of each run of rows with one shower; rows of a
            shower mostly lie together, so that this is small.
        run_shower: [K, 2] uint64, the shower of a run.
        bad: [L] int64, rows with impossible numbers.
        has_showers: The file names its showers.
    """

    file: EventFile
    num_muons: np.ndarray
    run_start: np.ndarray
    run_shower: np.ndarray
    bad: np.ndarray
    has_showers: bool

    def good_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Returns [R] bool, the chosen rows without those of impossible numbers."""
        good = chosen.copy()
        good[self.bad] = False
        return good

    def validation(self, fraction: float, seed: int) -> np.ndarray:
        """Returns [R] bool, rows that are kept for validation."""
        if not 0 < fraction < 1:
            return np.full(len(self.num_muons), is_all(fraction))
        if not self.has_showers:
            raise ValueError(
                f"{self.file.path}: val_fraction={fraction}: the split is one of whole "
                "showers, but the file names none (columns primary_major_id and "
                "primary_minor_id): add them, or give 0 and other files for validation"
            )
        of_run = is_validation(self.run_shower, fraction, seed)
        lengths = np.diff(np.append(self.run_start, len(self.num_muons)))
        return np.repeat(of_run, lengths)


def is_all(fraction: float) -> bool:
    """Tells if a fraction is 1; it must be within 0 and 1."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"val_fraction: expected 0 to 1, got {fraction}")
    return fraction == 1


@dataclasses.dataclass(frozen=True, eq=False)
class DataIndex:
    """What is known of all files of a data set, in order."""

    files: tuple[FileIndex, ...]
    cache: RemoteCache

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return sum(len(file.num_muons) for file in self.files)

    @property
    def num_bad(self) -> int:
        """Rows with impossible numbers, which were set aside."""
        return sum(len(file.bad) for file in self.files)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the numbers of muons and the showers of all rows, in order."""
        found = hashlib.sha256()
        for file in self.files:
            for name in _FIELDS:
                found.update(np.ascontiguousarray(getattr(file, name)).tobytes())
        return found.hexdigest()

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """Numbers of the data set: files, rows, muons, bad rows, empty, most muons."""
        counts = [file.num_muons for file in self.files]
        return {
            "files": len(self.files),
            "events": self.num_rows,
            "muons": int(sum(int(c.sum(dtype=np.int64)) for c in counts)),
            "empty": int(sum(int((c == 0).sum()) for c in counts)),
            "most_muons": max((int(c.max()) for c in counts if len(c)), default=0),
            "bad_rows": self.num_bad,
        }


def scan(
    paths: Sequence[str],
    cache: RemoteCache | None = None,
    index_dir: str | os.PathLike = "",
    bad_rows: str = "raise",
) -> DataIndex:
    """Opens all files, then reads and checks every row of them.

    Args:
        paths: Files, from `find_files`.
        cache: Opens URIs.
        index_dir: Folder that keeps the result for files that do not change; empty:
            none.
        bad_rows: "raise" an error at the first row with impossible numbers, or
            "set_aside": leave such rows out and count them.

    Raises:
        ValueError: If a file is truncated, or a row is wrong; names file and row.
    """
    if bad_rows not in BAD_ROWS:
        raise ValueError(
            f"bad_rows: expected {' or '.join(BAD_ROWS)}, got {bad_rows!r}"
        )
    cache = cache or RemoteCache()
    # all descriptions first: a truncated file is named before the long reading
    files = [open_events(path, cache) for path in paths]
    cache.announce(paths)
    found = []
    for file in files:
        held = _load(file, index_dir) if index_dir else None
        if held is None or (len(held.bad) and bad_rows == "raise"):
            held = _scan_file(file, bad_rows)
            if index_dir:
                _save(held, index_dir)
        cache.release(file.path)
        found.append(held)
    index = DataIndex(tuple(found), cache)
    if not index.num_rows:
        raise ValueError(f"{paths[0]}: expected events, got none in {len(paths)} files")
    return index


def _scan_file(file, bad_rows):
    counts, starts, showers, bad, named = [], [], [], [], False
    last = None
    edges = file.group_start
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if start == stop:
            continue
        events: Events = file.read(start, stop)
        wrong, reason = find_bad_rows(events)
        if len(wrong) and bad_rows == "raise":
            raise ValueError(
                f"{file.path}: row {start + wrong[0]}, column {reason} ({len(wrong)} "
                f"such rows in rows {start} to {stop})"
            )
        bad.append(start + wrong)
        counts.append(np.array(events.num_muons))
        named = named or names_showers(events, start)
        new = np.ones(len(events), bool)
        new[1:] = (events.showers[1:] != events.showers[:-1]).any(axis=1)
        new[0] = last is None or bool((events.showers[0] != last).any())
        starts.append(start + np.flatnonzero(new))
        showers.append(events.showers[new])
        last = events.showers[-1].copy()

    def joined(parts: list[np.ndarray], kind: Any, *shape: int) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape), kind), *parts]).astype(kind)

    return FileIndex(
        file,
        joined(counts, np.int32),
        joined(starts, np.int64),
        joined(showers, np.uint64, 2),
        joined(bad, np.int64),
        named,
    )


def _identity(file):
    """Returns text that changes when the file does, as far as can be told."""
    found = [file.path, str(file.num_rows), str(file.size)]
    if not is_remote(file.path):
        status = os.stat(file.path)
        found += [os.path.abspath(file.path), str(status.st_size)]
        found.append(str(status.st_mtime_ns))
    return "\n".join(found)


def _place(file, index_dir):
    name = hashlib.sha256(_identity(file).encode()).hexdigest()[:32]
    return pathlib.Path(index_dir) / f"{name}.npz"


def _load(file, index_dir):
    path = _place(file, index_dir)
    if not path.is_file():
        return None
    try:
        with np.load(path) as held:
            fields = {name: held[name] for name in _FIELDS}
            named = bool(held["has_showers"])
        return FileIndex(file, has_showers=named, **fields)
    except (OSError, ValueError, KeyError, EOFError):
        return None  # damaged: it is made again


def _save(found, index_dir):
    arrays = {name: getattr(found, name) for name in _FIELDS}
    with replace_file(_place(found.file, index_dir)) as handle:
        np.savez(handle, **arrays, has_showers=found.has_showers)
