"""Writes events as compact Parquet, see `jaxphys.hypertrack.data.compact_parquet`."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.hypertrack.data.assembly import NOISE
from jaxphys.hypertrack.data.compact_parquet import compact_path
from jaxphys.hypertrack.physics.events import Event

_TYPES = {
    "event_id": "int32",
    "hit_id": "int32",
    "volume_id": "uint8",
    "layer_id": "uint8",
    "module_id": "uint16",
    "particle_id": "int64",
    "particle_type": "int32",
    "q": "int8",
    "nhits": "int16",
}
_PACKED = ("hit_id",)  # rising integers; the other integers repeat


class CompactWriter(contextlib.AbstractContextManager):
    """Writes events to three Parquet files that appear when the block ends well.

    with CompactWriter("run/train") as writer:
        writer.write(event)
    """

    def __init__(
        self,
        prefix,
        metadata: Mapping[str, Any] | None = None,
        compression_level: int = 9,
    ):
        """Prepares the files.

        Args:
            prefix: what the names of the files begin with.
            metadata: what JSON can hold; kept in the files.
            compression_level: of zstd, 1 (fast) to 22 (small).
        """
        self.prefix, self.metadata = prefix, dict(metadata or {})
        self.level = compression_level
        self.written: set[int] = set()
        self._stack, self._writers = contextlib.ExitStack(), {}

    def __exit__(self, kind, value, trace):
        if kind is None and not self.written:
            value = ValueError(f"{self.prefix}: no event to write")
            self._stack.__exit__(ValueError, value, None)
            raise value
        return self._stack.__exit__(kind, value, trace)

    def write(self, event: Event) -> None:
        """Adds an event.

        Raises:
            ValueError: it is there already, has no hits, no particles or less truth
                than the events before it, or a number does not fit.
        """
        where = f"{self.prefix}: event {event.event_id}"
        if event.event_id in self.written:
            raise ValueError(f"{where}: expected a new event, it is there already")
        tables = _tables(event)
        empty = [kind for kind in tables if not len(next(iter(tables[kind].values())))]
        if empty:  # nothing would be left of it in a file of rows
            raise ValueError(f"{where}: expected hits and particles, got no {empty[0]}")
        if self.written and set(tables) != set(self._writers):
            raise ValueError(
                f"{where}: expected {sorted(self._writers)} as for the events before, "
                f"got {sorted(tables)}"
            )
        ready = {
            kind: self._table(kind, columns, event.event_id)
            for kind, columns in tables.items()
        }
        for kind, table in ready.items():
            self._write(kind, table)
        self.written.add(event.event_id)

    def _table(self, kind, columns, event_id):
        import pyarrow as pa

        path = compact_path(self.prefix, kind)
        rows = len(next(iter(columns.values())))
        columns = {"event_id": np.full(rows, event_id, np.int64), **columns}
        table = pa.table({k: _cast(k, v, path, event_id) for k, v in columns.items()})
        return table.replace_schema_metadata({"jaxphys": json.dumps(self.metadata)})

    def _write(self, kind, table):
        import pyarrow.parquet as pq

        if kind not in self._writers:
            columns = table.column_names
            file = self._stack.enter_context(
                replace_file(compact_path(self.prefix, kind))
            )
            repeated = [n for n in columns if n in _TYPES and n not in _PACKED]
            encoding = {
                n: "DELTA_BINARY_PACKED" if n in _PACKED else "BYTE_STREAM_SPLIT"
                for n in columns
                if n not in repeated
            }
            writer = pq.ParquetWriter(
                file,
                table.schema,
                compression="zstd",
                compression_level=self.level,
                use_dictionary=repeated,  # type: ignore[arg-type]
                column_encoding=encoding,
            )
            # closed before its file is
            self._writers[kind] = self._stack.enter_context(writer)
        self._writers[kind].write_table(table, row_group_size=len(table))


def _tables(event):
    """Returns the columns of the three files; truth in the order of its file."""
    hits = {"hit_id": event.hit_id, **dict(zip("xyz", event.position.T, strict=True))}
    for name in ("volume_id", "layer_id", "module_id"):
        hits[name] = getattr(event, name)
    if not event.has_truth:
        return {"hits": hits}
    order, own = np.argsort(event.truth_order), event.particles
    if len(own):
        identity = np.where(event.label < 0, NOISE, own.particle_id[event.label])
    else:
        identity = np.full(event.num_hits, NOISE, np.int64)
    truth = {
        "hit_id": event.hit_id[order],
        "particle_id": identity[order],
        "weight": event.weight[order],
    }
    if len(own) and np.isnan(own.vertex).all():  # no file of particles was read
        return {"hits": hits, "truth": truth}
    particles = {"particle_id": own.particle_id}
    if own.particle_type is not None:
        particles["particle_type"] = own.particle_type
    particles |= dict(zip(("vx", "vy", "vz"), own.vertex.T, strict=True))
    particles |= dict(zip(("px", "py", "pz"), own.momentum.T, strict=True))
    particles |= {"q": own.charge, "nhits": own.num_hits}
    return {"hits": hits, "truth": truth, "particles": particles}


def _cast(name, values, path, event_id):
    import pyarrow as pa

    wanted = np.dtype(_TYPES.get(name, "float32"))
    if wanted.kind in "iu" and len(values):
        limits = np.iinfo(wanted)
        if values.min() < limits.min or values.max() > limits.max:
            raise ValueError(
                f"{path}: event {event_id}, column {name}: expected numbers of "
                f"{limits.min} to {limits.max}, got {values.min()} to {values.max()}"
            )
    return pa.array(np.ascontiguousarray(values).astype(wanted))
