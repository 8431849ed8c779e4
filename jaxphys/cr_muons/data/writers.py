"""Writes events as Parquet: the training schema, events set aside and predictions."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from jaxphys.cr_muons.data.schema import ID_COLUMNS
from jaxphys.cr_muons.physics.events import Events

ROWS_PER_GROUP = 100_000
PREDICTION_SCHEMAS = ("flat", "training")
_MOST_VALUES = 2**31 - 1  # of a list column with 32-bit offsets


def training_schema(further: Mapping[str, str] | None = None) -> Any:
    """Returns the pyarrow schema of files to train on.

    Args:
        further: Columns behind those of the schema, by the names of their types.
    """
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    columns = [
        *((name, pa.uint64()) for name in ID_COLUMNS),
        ("primary", numbers),
        ("muons", pa.list_(numbers)),
    ]
    for name, kind in (further or {}).items():
        columns.append((name, pa.type_for_alias(kind)))
    return pa.schema(columns)


def training_table(
    events: Events,
    further: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Any:
    """Returns events as a pyarrow table in the training schema.

    Args:
        events: At most 2^31 / 3 muons.
        further: See `training_schema`.
        values: Of the further columns, one of each event.
    """
    import pyarrow as pa

    if 3 * len(events.muons) > _MOST_VALUES:
        raise ValueError(
            f"a table of events: expected at most {_MOST_VALUES // 3} muons, got "
            f"{len(events.muons)}"
        )
    columns = [
        *(pa.array(np.ascontiguousarray(ids)) for ids in events.showers.T),
        _lists(np.arange(len(events) + 1) * 4, events.primaries),
        pa.ListArray.from_arrays(
            pa.array(events.offsets.astype(np.int32)),
            _lists(np.arange(len(events.muons) + 1) * 3, events.muons),
        ),
    ]
    columns += [pa.array((values or {})[name]) for name in further or {}]
    return pa.table(columns, schema=training_schema(further))


def _lists(offsets, numbers):
    import pyarrow as pa

    flat = np.ascontiguousarray(numbers, np.float32).reshape(-1)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(flat))


class EventWriter:
    """Writes a file in the training schema block by block.

    The file gets its name when it is closed without an error, so that a file is whole
    or not there.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        further: Mapping[str, str] | None = None,
        rows_per_group: int = ROWS_PER_GROUP,
        compression: str = "zstd",
    ) -> None:
        """Opens the file.

        Args:
            path: The file.
            further: See `training_schema`; `write` then takes their values.
            rows_per_group: Events of a row group at most.
            compression: "zstd", "snappy" or "none".
        """
        import pyarrow.parquet as pq

        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._further, self._rows = dict(further or {}), rows_per_group
        self.num_events = 0
        # dictionaries do not help numbers that hardly repeat, and slow the reader
        repeated = [name for name, kind in self._further.items() if kind == "string"]
        self._writer = pq.ParquetWriter(
            self._temporary,
            training_schema(self._further),
            compression=compression,
            use_dictionary=cast(Any, repeated or False),
        )

    def write(self, events: Events, values: Mapping[str, Any] | None = None) -> None:
        """Appends events; blocks of about `rows_per_group` are best.

        Args:
            events: The events.
            values: Of the further columns, one of each event.
        """
        if not len(events):
            return
        if set(self._further) != set(values or {}):
            raise ValueError(
                f"{self.path}: further columns: expected {sorted(self._further)}, "
                f"got {sorted(values or {})}"
            )
        table = training_table(events, self._further, values)
        self._writer.write_table(table, row_group_size=self._rows)
        self.num_events += len(events)

    def close(self) -> None:
        """Ends the file and gives it its name."""
        self._writer.close()
        os.replace(self._temporary, self.path)

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, kind: type | None, *details: object) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()
            self._temporary.unlink(missing_ok=True)


def write_events(
    path: str | os.PathLike,
    events: Events,
    rows_per_group: int = ROWS_PER_GROUP,
    compression: str = "zstd",
) -> pathlib.Path:
    """Writes events in the training schema and returns the path."""
    with EventWriter(path, None, rows_per_group, compression) as writer:
        for start in range(0, len(events), rows_per_group):
            writer.write(events.rows(start, start + rows_per_group))
    return pathlib.Path(path)


def write_predictions(
    path: str | os.PathLike, events: Events, schema: str = "flat"
) -> pathlib.Path:
    """Writes generated muons.

    Args:
        path: The file.
        events: Primaries and their generated muons.
        schema: "flat": one row per muon, event_index int64 and E_GeV, X_m, Y_m
            float32; "training": one row per event, which can be trained on.

    Raises:
        ValueError: If the schema is unknown.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if schema == "training":
        return write_events(path, events)
    if schema != "flat":
        raise ValueError(
            f"output_schema: expected {' or '.join(PREDICTION_SCHEMAS)}, got {schema!r}"
        )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"event_index": pa.array(events.event_of_muon().astype(np.int64))}
    for place, name in enumerate(("E_GeV", "X_m", "Y_m")):
        columns[name] = pa.array(np.ascontiguousarray(events.muons[:, place]))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
