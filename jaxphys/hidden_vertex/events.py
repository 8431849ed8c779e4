"""Ragged events and where they are read from."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

READ_ROWS = 4096


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
    }
