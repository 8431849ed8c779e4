"""Opens files of events: LHC Olympics HDF5 (here) and ragged Parquet.

A source is small and can be sent to another process; it opens its file when rows are
read and never holds more than a block of them.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxphys.hidden_vertex.data.ragged_parquet import open_ragged_parquet
from jaxphys.hidden_vertex.physics.events import (
    Events,
    Source,
    check_coordinates,
    describe_file,
    drop_empty,
    row_numbers,
)
from jaxphys.hidden_vertex.physics.graphs import particles_of_rows

NUM_SLOTS = 700
LABEL_COLUMN = 3 * NUM_SLOTS
_QUANTITIES = ("pT", "eta", "phi")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_BLOSC = 32001


def open_source(path, allow_unlabelled: bool = False, key: str = "df") -> Source:
    """Opens a file of events by its content.

    Args:
        path: HDF5 file in the layout of the LHC Olympics (pandas, fixed; any HDF5
            filter), or a ragged Parquet file.
        allow_unlabelled: Accept a file without labels (prediction).
        key: HDF5 group.

    Raises:
        ValueError: If the file is missing, truncated, or of another layout.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if head == _HDF5_MAGIC:
        return open_lhco(path, allow_unlabelled, key)
    if head[:4] == b"PAR1":
        return open_ragged_parquet(path, allow_unlabelled)
    if head[:2] == b"\x1f\x8b":
        raise ValueError(
            f"{path}: the whole file is packed with gzip: unpack it (gunzip) first; "
            "gzip as an HDF5 filter is read as it is"
        )
    raise ValueError(
        f"{path}: expected an HDF5 file or a ragged Parquet file, it begins with "
        f"{head!r}"
    )


def _named(column):
    """Returns a column of the LHC Olympics layout in words."""
    if column == LABEL_COLUMN:
        return f"column {column} (label)"
    return f"column {column} ({_QUANTITIES[column % 3]} of particle {column // 3})"


@dataclasses.dataclass(frozen=True, eq=False)
class LhcoFile:
    """Rows of 700 x (pT, eta, phi) and a label, as published by the LHC Olympics."""

    path: pathlib.Path
    key: str
    num_rows: int
    labelled: bool
    row_id: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Returns name, size and number of rows."""
        return describe_file(self)

    def read(self, start: int, stop: int) -> Events:
        """Reads and checks the rows start <= row < stop."""
        with _hdf5(self.path) as file:
            table = file[f"{self.key}/block0_values"]
            try:
                rows = table[start:stop]
            except OSError as error:
                raise ValueError(
                    f"{self.path}: rows {start} to {stop}: cannot be read, the file is "
                    f"truncated or damaged: {error}"
                ) from error
        self._check(rows, start)
        particles, offset = particles_of_rows(rows)
        check_coordinates(self.path, particles, offset, start)
        label = rows[:, LABEL_COLUMN] if self.labelled else None
        return drop_empty(particles, offset, label, self.row_id[start:stop])

    def _check(self, rows, start):
        finite = np.isfinite(rows)
        if not finite.all():
            self._refuse(rows, start, ~finite, "a finite number")
        pt = rows[:, :LABEL_COLUMN:3]
        if len(rows) and pt.min() < 0:
            bad = np.zeros(rows.shape, bool)
            bad[:, :LABEL_COLUMN:3] = pt < 0
            self._refuse(rows, start, bad, "pT >= 0")
        if self.labelled:
            label = rows[:, LABEL_COLUMN]
            bad = np.zeros(rows.shape, bool)
            bad[:, LABEL_COLUMN] = (label != 0) & (label != 1)
            if bad.any():
                self._refuse(rows, start, bad, "0 or 1")

    def _refuse(self, rows, start, bad, expected):
        row, column = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"{self.path}: row {start + row}, {_named(column)}: expected {expected}, "
            f"got {rows[row, column]} ({bad.any(axis=1).sum()} such rows in rows "
            f"{start} to {start + len(rows) - 1})"
        )


def open_lhco(path, allow_unlabelled: bool = False, key: str = "df") -> LhcoFile:
    """Opens a pandas "fixed" HDF5 file of the LHC Olympics without pandas.

    Args:
        path: The file.
        allow_unlabelled: Accept 2,100 columns, that is no label.
        key: Group of the table.

    Raises:
        ValueError: If the file is truncated, its filter is not installed, or its
            columns are others.
    """
    path = pathlib.Path(path)
    with _hdf5(path) as file:
        if f"{key}/block0_values" not in file:
            raise ValueError(
                f"{path}: expected {key}/block0_values (pandas, format fixed), the "
                f"file holds {', '.join(map(repr, sorted(file))) or 'nothing'}"
            )
        group: Any = file[key]
        table = group["block0_values"]
        shape = table.shape
        _check_columns(path, shape, allow_unlabelled)
        _check_filters(path, table)
        if table.dtype.kind not in "fiu":
            raise ValueError(
                f"{path}: block0_values: expected numbers, got {table.dtype}"
            )
        if not shape[0]:
            raise ValueError(f"{path}: block0_values: expected rows, got none")
        try:
            items = (
                group["block0_items"][:] if "block0_items" in group else np.arange(0)
            )
            index = group["axis1"][:] if "axis1" in group else np.arange(shape[0])
        except OSError as error:
            raise ValueError(f"{path}: truncated or damaged: {error}") from error
        if len(items) and not np.array_equal(items, np.arange(shape[1])):
            raise ValueError(
                f"{path}: block0_items: expected the columns 0 to {shape[1] - 1} in "
                f"order, got {len(items)} beginning with {items[:3].tolist()}"
            )
    row_id = row_numbers(path, index, shape[0])
    return LhcoFile(path, key, shape[0], shape[1] == LABEL_COLUMN + 1, row_id)


@contextlib.contextmanager
def _hdf5(path) -> Iterator[Any]:
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 (registers the filters)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path}: not a whole HDF5 file (truncated download?): {error}"
        ) from error
    with file:
        yield file


def _check_columns(path, shape, allow_unlabelled):
    if shape[1:] == (LABEL_COLUMN + 1,):
        return
    if shape[1:] != (LABEL_COLUMN,):
        raise ValueError(
            f"{path}: block0_values: expected {LABEL_COLUMN + 1} columns ({NUM_SLOTS} "
            f"particles and a label), got the shape {shape}"
        )
    if not allow_unlabelled:
        raise ValueError(
            f"{path}: block0_values: column {LABEL_COLUMN} (label) is missing: a file "
            "without labels can be scored (predict), not trained or evaluated on"
        )


def _check_filters(path, table):
    import h5py

    settings = table.id.get_create_plist()
    for i in range(settings.get_nfilters()):
        number, _, _, name = settings.get_filter(i)
        if not h5py.h5z.filter_avail(number):
            title = "Blosc" if number == _HDF5_BLOSC else name.decode(errors="replace")
            raise ValueError(
                f"{path}: block0_values: packed with the HDF5 filter {number} ({title})"
                ", which is not installed: pip install hdf5plugin"
            )
