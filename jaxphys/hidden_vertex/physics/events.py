"""Ragged events and where they are read from."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

READ_ROWS = 4096
MOST_ETA = 10.0  # a detector ends at 5; beyond 10 the column holds something else
LEAST_PT = 1e-6  # GeV
_SAMPLE = 2**20  # bytes of a piece that identifies a file
_PIECES = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """Events with at least one particle, one after the other.

    Attributes:
        particles: [N, 3] float32 pT in GeV, eta, phi; phi in radians.
        offset: [E + 1] int64, event e has the particles offset[e] to offset[e + 1].
        label: [E] int8, 0 background, 1 signal; None if the file holds no label.
        event_id: [E] int64, the row of the source file.
        empty_id: The rows that hold no particle and are therefore no events.
    """

    particles: np.ndarray
    offset: np.ndarray
    label: np.ndarray | None
    event_id: np.ndarray
    empty_id: np.ndarray

    def __len__(self):
        return len(self.event_id)


class Source(Protocol):
    """Rows of events that can be read in any part; must be picklable."""

    @property
    def num_rows(self) -> int:
        """Returns the number of rows, empty events included."""
        ...

    @property
    def labelled(self) -> bool:
        """Returns whether there is a label for every row."""
        ...

    def read(self, start: int, stop: int) -> Events:
        """Reads the rows start <= row < stop."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values that tell this source from another."""
        ...


def iterate(
    source: Source, start: int = 0, stop: int | None = None, read_rows: int = READ_ROWS
) -> Iterator[Events]:
    """Yields the events of the rows start <= row < stop, `read_rows` rows at a time."""
    if read_rows < 1:
        raise ValueError(f"read_rows: expected at least 1, got {read_rows}")
    stop = source.num_rows if stop is None else min(stop, source.num_rows)
    for first in range(start, stop, read_rows):
        yield source.read(first, min(first + read_rows, stop))


def join_events(parts: list[Events]) -> Events:
    """Joins events that were read in parts."""
    sizes = [np.diff(part.offset) for part in parts]
    offset = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    labels = [part.label for part in parts if part.label is not None]
    return Events(
        np.concatenate([part.particles for part in parts]),
        offset,
        np.concatenate(labels) if len(labels) == len(parts) else None,
        np.concatenate([part.event_id for part in parts]),
        np.concatenate([part.empty_id for part in parts]),
    )


def drop_empty(particles, offset, label, row_id) -> Events:
    """Makes events of rows, those without a particle set aside.

    Args:
        particles: [N, 3].
        offset: [R + 1].
        label: [R] or None.
        row_id: [R].
    """
    real = np.diff(offset) > 0
    return Events(
        particles,
        np.concatenate([offset[:1], offset[1:][real]]).astype(np.int64),
        None if label is None else label[real].astype(np.int8),
        row_id[real].astype(np.int64),
        row_id[~real].astype(np.int64),
    )


def check_coordinates(path, particles, offset, start: int) -> None:
    """Refuses numbers that cannot be pT, eta and phi.

    Args:
        path: For the message.
        particles: [N, 3].
        offset: [R + 1].
        start: Number of the first row.

    Raises:
        ValueError: If pT is below 1e-6 GeV, abs(eta) above 10 or abs(phi) above 2 pi;
            names file, row and value.
    """
    limits = (
        ("pT", particles[:, 0] < LEAST_PT, f"at least {LEAST_PT:g} GeV (or 0, none)"),
        ("eta", np.abs(particles[:, 1]) > MOST_ETA, f"abs(eta) at most {MOST_ETA:g}"),
        ("phi", np.abs(particles[:, 2]) > 6.2841, "radians, abs(phi) at most 2 pi"),
    )
    for column, (name, bad, expected) in enumerate(limits):
        found = np.flatnonzero(bad)
        if len(found):
            row = int(np.searchsorted(offset, found[0], side="right")) - 1
            raise ValueError(
                f"{path}: row {start + row}, {name}: expected {expected}, got "
                f"{particles[found[0], column]:g} ({len(found)} such particles in this "
                "block)"
            )


def row_numbers(path, found, num_rows: int) -> np.ndarray:
    """Returns the numbers of the rows: those of the file, if they can serve as such.

    Args:
        path: For the message.
        found: [R] index column of the file; taken if it ascends strictly.
        num_rows: R.
    """
    found = np.asarray(found)
    if found.shape != (num_rows,):
        raise ValueError(
            f"{path}: expected {num_rows} row numbers, got {found.shape} (truncated?)"
        )
    # a part of a larger file (every second row) keeps the numbers of that file
    integer = np.issubdtype(found.dtype, np.integer)
    if integer and num_rows and found[0] >= 0 and np.all(np.diff(found) > 0):
        return found.astype(np.int64)
    return np.arange(num_rows)


def describe_file(source: Any) -> dict[str, Any]:
    """Returns what tells the file of a source from another one."""
    return {
        "kind": type(source).__name__,
        "name": source.path.name,
        "bytes": source.path.stat().st_size,
        "rows": source.num_rows,
        "sha256": content_sha256(source.path),
    }


def content_sha256(path) -> str:
    """Returns the checksum of a file, of a large one that of 32 pieces of a MiB."""
    path = pathlib.Path(path)
    size, found = path.stat().st_size, hashlib.sha256()
    starts = range(0, size, _SAMPLE)
    if len(starts) > _PIECES:
        starts = [int(s) for s in np.linspace(0, size - _SAMPLE, _PIECES)]
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            found.update(file.read(_SAMPLE))
    return found.hexdigest()
