"""Parquet files of events, read by ranges of rows."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.schema import Layout, decode, find_layout
from jaxphys.cr_muons.physics.events import Events


@dataclasses.dataclass(frozen=True, eq=False)
class ParquetEvents:
    """Events in a Parquet file.

    Attributes:
        path: Path or URI.
        opener: Returns what pyarrow reads: a path or an open file.
        layout: How the file holds its events.
        group_start: [G + 1] int64 first row of each row group, then the rows.
        size: Bytes.
    """

    path: str
    opener: Callable[[], Any]
    layout: Layout
    group_start: np.ndarray
    size: int

    @property
    def num_rows(self) -> int:
        """Number of events."""
        return int(self.group_start[-1])

    def read(self, start: int, stop: int, showers: bool = True) -> Events:
        """Reads the rows start <= row < stop; decodes the row groups they lie in.

        Args:
            start: First row.
            stop: After the last row.
            showers: False leaves their numbers out (0 and the row): training does not
                need them.

        Raises:
            ValueError: If the file is damaged or a list has a wrong length.
        """
        import pyarrow as pa

        layout = self.layout if showers else self.layout.without_ids()
        edges = self.group_start
        blocks = []
        try:
            with _parquet_file(self.opener(), self._metadata) as file:
                # one by one: several at once come in pieces that must be joined
                for group in self._groups(start, stop):
                    table = file.read_row_groups(
                        [group], list(layout.columns), use_threads=False
                    )
                    first = max(start, int(edges[group]))
                    last = min(stop, int(edges[group + 1]))
                    table = table.slice(first - int(edges[group]), last - first)
                    blocks.append((first, table))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{self.path}: rows {start} to {stop}: cannot be read, the file is "
                f"truncated, damaged or has changed: {error}"
            ) from error
        rows = sum(len(table) for _, table in blocks)
        if rows != stop - start:
            raise ValueError(
                f"{self.path}: rows {start} to {stop}: expected {stop - start} rows, "
                f"got {rows}: the file has changed"
            )
        return Events.concatenate(
            [decode(table, layout, self.path, first) for first, table in blocks]
        )

    def _groups(self, start, stop):
        """Returns the row groups, which may hold no rows, that overlap a range."""
        edges = self.group_start
        overlap = (edges[:-1] < stop) & (edges[1:] > start)
        return np.flatnonzero(overlap).tolist()

    @functools.cached_property
    def _metadata(self):
        with _parquet_file(self.opener()) as file:
            return file.metadata


@contextlib.contextmanager
def _parquet_file(source, metadata=None):
    import pyarrow.parquet as pq

    # of local files only the pages that are read come into memory
    mapped = isinstance(source, str)
    file = pq.ParquetFile(
        source, metadata=metadata, memory_map=mapped, pre_buffer=not mapped
    )
    try:
        yield file
    finally:
        file.close(force=True)


def open_parquet(
    path: str, opener: Callable[[], Any] | None = None, need_muons: bool = True
) -> ParquetEvents:
    """Opens a Parquet file; only its footer is read.

    Args:
        path: Path or URI, named in errors.
        opener: Returns the path of a local file or an open binary file; None: `path`.
        need_muons: Refuse a table without muons.

    Raises:
        ValueError: If the file is truncated, empty or has other columns.
    """
    import pyarrow as pa

    opener = opener or (lambda: path)
    try:
        source = opener()
        with _parquet_file(source) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: not a whole Parquet file (truncated?): {error}"
        ) from error
    layout = find_layout(schema, path, need_muons)
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    edges = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    size = sum(
        metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)
    )
    return ParquetEvents(path, opener, layout, edges, size)
