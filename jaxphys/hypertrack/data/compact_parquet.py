"""Compact Parquet: all events in three files, a row group is an event.

`<prefix>-hits.parquet`, `-truth.parquet` and `-particles.parquet` have the columns of
TrackML and `event_id` first, with the events in the same order. Any event is read by
itself: opening reads the footers only.
"""

import json
import pathlib
import threading
from typing import Any

import numpy as np

from jaxphys.hypertrack.data.assembly import (
    HIT_COLUMNS,
    OPTIONAL_COLUMNS,
    PARTICLE_COLUMNS,
    TRUTH_COLUMNS,
    assemble,
)
from jaxphys.hypertrack.physics.events import Event

KINDS = ("hits", "truth", "particles")
_COLUMNS = {
    "hits": HIT_COLUMNS,
    "truth": TRUTH_COLUMNS,
    "particles": PARTICLE_COLUMNS,
}


def compact_path(prefix, kind: str) -> pathlib.Path:
    """Returns the file of a kind: "hits", "truth" or "particles"."""
    prefix = pathlib.Path(prefix)
    return prefix.with_name(f"{prefix.name}-{kind}.parquet")


class CompactEvents:
    """The events of three Parquet files, read one at a time.

    It may be sent to other processes and read by several threads.

    Attributes:
        prefix: what the names of the files begin with.
        event_ids: numbers of the events in file order, `[E]` int64.
        has_truth: whether the files of truth and particles are there.
        num_hits: hits of each event, `[E]` int64.
        metadata: what was stored about how the files were made.
    """

    def __init__(self, prefix):
        """Reads the footers.

        Raises:
            ValueError: a file is missing or damaged, has not the columns, or the
                files hold different events.
        """
        self.prefix = pathlib.Path(prefix)
        self._local = threading.local()
        self.kinds = tuple(k for k in KINDS if compact_path(prefix, k).is_file())
        if "hits" not in self.kinds:
            raise ValueError(f"{compact_path(prefix, 'hits')}: no such file")
        if "particles" in self.kinds and "truth" not in self.kinds:
            raise ValueError(f"{compact_path(prefix, 'truth')}: no such file")
        self.has_truth = len(self.kinds) == len(KINDS)
        ids = {kind: self._event_ids(kind) for kind in self.kinds}
        self.event_ids = ids["hits"]
        for kind, found in ids.items():
            if not np.array_equal(found, self.event_ids):
                raise ValueError(
                    f"{compact_path(prefix, kind)}: expected the events of "
                    f"{compact_path(prefix, 'hits')} in the same order, got "
                    f"{len(found)} row groups: {found[:5].tolist()} ..."
                )
        footer = self._file("hits").metadata
        self.num_hits = np.array(
            [footer.row_group(i).num_rows for i in range(len(self.event_ids))], np.int64
        )
        stored = self._file("hits").schema_arrow.metadata or {}
        self.metadata: dict[str, Any] = json.loads(stored.get(b"jaxphys", b"{}"))
        self._row = {int(e): i for i, e in enumerate(self.event_ids)}
        if len(self._row) < len(self.event_ids):
            raise ValueError(
                f"{compact_path(prefix, 'hits')}: expected one row group per event, "
                "got an event_id in several"
            )

    def __len__(self) -> int:
        return len(self.event_ids)

    def __getitem__(self, index: int) -> Event:
        """Reads the event at a place of `event_ids`."""
        return self._read(range(len(self))[index])

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._local = threading.local()

    def read(self, event_id: int) -> Event:
        """Reads one event.

        Raises:
            ValueError: there is no such event, or its rows do not fit together.
        """
        if event_id not in self._row:
            raise ValueError(
                f"{self.prefix}: no event {event_id}; expected one of "
                f"{self.event_ids.min()} to {self.event_ids.max()}"
            )
        return self._read(self._row[event_id])

    def _read(self, group):
        where, tables = {}, dict.fromkeys(KINDS)
        for kind in KINDS:
            path = compact_path(self.prefix, kind)
            where[kind] = f"{path} (event {self.event_ids[group]})"
            if kind in self.kinds:
                tables[kind] = self._columns(kind, group, where[kind])
        hits = tables["hits"] or {}
        return assemble(
            int(self.event_ids[group]),
            hits,
            tables["truth"],
            tables["particles"],
            where,
        )

    def _columns(self, kind, group, where):
        import pyarrow as pa

        file = self._file(kind)
        present = file.schema_arrow.names
        names = [n for n in (*_COLUMNS[kind], *OPTIONAL_COLUMNS) if n in present]
        try:
            table = file.read_row_group(group, names, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where}: cannot be read: {error}") from error
        for name in names:
            if table[name].null_count:
                raise ValueError(
                    f"{where}, column {name}: expected numbers, got "
                    f"{table[name].null_count} nulls"
                )
        return {name: table[name].to_numpy() for name in names}

    def _file(self, kind):
        """Returns the open file of this thread."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._local.__dict__.setdefault("files", {})
        if kind not in files:
            path = compact_path(self.prefix, kind)
            try:
                files[kind] = pq.ParquetFile(path)
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"{path}: not a whole Parquet file (truncated?): {error}"
                ) from error
        return files[kind]

    def _event_ids(self, kind):
        """Returns the event of each row group, from the statistics of the footer."""
        path, file = compact_path(self.prefix, kind), self._file(kind)
        present = file.schema_arrow.names
        missing = [n for n in ("event_id", *_COLUMNS[kind]) if n not in present]
        if missing:
            raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
        column, ids = present.index("event_id"), []
        for i in range(file.num_row_groups):
            group = file.metadata.row_group(i)
            known = group.column(column).statistics
            if known is not None and known.has_min_max:
                low, high = known.min, known.max
            else:
                own = file.read_row_group(i, ["event_id"])["event_id"].to_numpy()
                if not len(own):
                    raise ValueError(f"{path}: row group {i}: expected rows, got none")
                low, high = own.min(), own.max()
            if low != high:
                raise ValueError(
                    f"{path}: row group {i}: expected the rows of one event, got "
                    f"event_id {low} to {high}"
                )
            ids.append(int(low))
        return np.array(ids, np.int64)
