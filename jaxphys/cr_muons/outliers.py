"""Writes events with too many muons aside, in a form that can be trained on later."""

import os
import pathlib

import numpy as np

from jaxphys.cr_muons.filters import Filters
from jaxphys.cr_muons.index import DataIndex
from jaxphys.cr_muons.writers import EventWriter


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
    path = pathlib.Path(folder) / f"outliers_{process}.parquet"
    chosen = index.files[process::processes]
    found = [_rows_of(file, filters) for file in chosen]
    if not any(len(rows) for rows in found):
        path.unlink(missing_ok=True)
        return 0
    with EventWriter(path, provenance=True) as writer:
        for file, rows in zip(chosen, found, strict=True):
            _write(writer, file, rows, filters, batch_size)
        return writer.num_events


def _rows_of(file, filters):
    outlier = filters.outliers(file.num_muons)
    outlier[file.bad] = False
    return np.flatnonzero(outlier)


def _write(writer, file, rows, filters, batch_size):
    edges = file.file.group_start
    # events before each row that are counted within its reader batch
    counted = (file.num_muons > 0) if filters.drop_empty else np.ones(len(edges), bool)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        inside = rows[(rows >= start) & (rows < stop)]
        if not len(inside):
            continue
        events = file.file.read(start, stop).select(inside - start)
        if filters.drop_empty:
            before = np.concatenate([[0], np.cumsum(counted)])
            first = inside - inside % batch_size
            place = before[inside] - before[first]
        else:
            place = inside % batch_size
        writer.write(
            events,
            {
                "source_file": [file.file.path] * len(inside),
                "reader_batch": inside // batch_size + 1,
                "event_in_batch": place,
            },
        )
