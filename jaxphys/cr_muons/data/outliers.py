"""Writes aside what is not trained on: events of too many muons and impossible rows."""

import itertools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.index import DataIndex, FileIndex
from jaxphys.cr_muons.data.schema import find_bad_rows
from jaxphys.cr_muons.data.writers import EventWriter
from jaxphys.cr_muons.physics.events import Events

OUTLIER_COLUMNS = {
    "source_file": "string",
    "reader_batch": "int64",
    "event_in_batch": "int64",
    "count": "int64",
}
BAD_ROW_COLUMNS = {"source_file": "string", "row": "int64", "reason": "string"}


def write_outliers(
    index: DataIndex,
    filters: Filters,
    batch_size: int,
    folder: str | os.PathLike,
    process: int = 0,
    processes: int = 1,
) -> int:
    """Writes the outliers of a data set to one file of this process.

    The file outliers_<process>.parquet has the training schema and where each event
    comes from: source_file, reader_batch (from 1, of that file), event_in_batch (place
    in the reader batch, after events without muons where these are dropped) and count.
    Without outliers there is no file, and one of an earlier run is removed.

    Args:
        index: The data set.
        filters: Say what an outlier is.
        batch_size: Rows of a reader batch.
        folder: Where the file goes.
        process: Number of this process; it writes every `processes`-th file's.
        processes: Number of processes.

    Returns:
        The number of outliers written.
    """

    def outliers(file: FileIndex) -> np.ndarray:
        return np.flatnonzero(file.good_rows(filters.outliers(file.num_muons)))

    def values(file: FileIndex, rows: np.ndarray, events: Events) -> dict[str, Any]:
        place = rows % batch_size
        if filters.drop_empty:
            # events before each row that are counted within its reader batch
            before = np.concatenate([[0], np.cumsum(file.num_muons > 0)])
            place = before[rows] - before[rows - place]
        return {
            "reader_batch": rows // batch_size + 1,
            "event_in_batch": place,
            "count": events.num_muons.astype(np.int64),
        }

    path = pathlib.Path(folder) / f"outliers_{process}.parquet"
    chosen = index.files[process::processes]
    return _write_aside(path, chosen, outliers, OUTLIER_COLUMNS, values)


def write_bad_rows(index: DataIndex, path: str | os.PathLike) -> int:
    """Writes the rows with impossible numbers that were set aside to a file.

    It has the training schema, the numbers as they were read, and source_file, row
    (from 0) and reason, what is wrong first. Without such rows there is no file, and
    one of an earlier run is removed.

    Args:
        index: The data set, from `scan(..., bad_rows="set_aside")`.
        path: The file.

    Returns:
        The number of rows written.
    """

    def values(file: FileIndex, rows: np.ndarray, events: Events) -> dict[str, Any]:
        del file
        alone = (events.rows(place, place + 1) for place in range(len(events)))
        return {"row": rows, "reason": [find_bad_rows(event)[1] for event in alone]}

    path = pathlib.Path(path)
    return _write_aside(
        path, index.files, lambda file: file.bad, BAD_ROW_COLUMNS, values
    )


def _write_aside(
    path: pathlib.Path,
    files: Sequence[FileIndex],
    rows_of: Callable[[FileIndex], np.ndarray],
    columns: Mapping[str, str],
    values: Callable[[FileIndex, np.ndarray, Events], dict[str, Any]],
) -> int:
    """Writes the rows `rows_of` of all files with further columns."""
    found = [rows_of(file) for file in files]
    if not any(len(rows) for rows in found):
        path.unlink(missing_ok=True)
        return 0
    with EventWriter(path, columns) as writer:
        for file, rows in zip(files, found, strict=True):
            for start, stop in itertools.pairwise(file.file.group_start.tolist()):
                inside = rows[(rows >= start) & (rows < stop)]
                if not len(inside):
                    continue
                events = file.file.read(start, stop).select(inside - start)
                source = [file.file.path] * len(inside)
                own = values(file, inside, events)
                writer.write(events, {"source_file": source, **own})
        return writer.num_events
