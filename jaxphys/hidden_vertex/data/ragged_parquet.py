"""Parquet files of events as lists of integers: ln pT, eta and phi in fixed steps."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.hidden_vertex.physics.events import (
    Events,
    check_coordinates,
    describe_file,
    drop_empty,
    row_numbers,
)

STEPS = {"logpt": 0.002, "eta": 0.001, "phi": 0.001}


@dataclasses.dataclass(frozen=True, eq=False)
class RaggedParquet:
    """Events as lists of integers: ln pT, eta and phi in fixed steps."""

    path: pathlib.Path
    num_rows: int
    labelled: bool
    row_id: np.ndarray
    steps: tuple[float, float, float]
    group_start: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Returns name, size and number of rows."""
        return describe_file(self)

    def read(self, start: int, stop: int) -> Events:
        """Reads and checks the rows start <= row < stop."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        edges = self.group_start
        first = int(np.searchsorted(edges, start, side="right")) - 1
        last = max(int(np.searchsorted(edges, stop, side="left")), first + 1)
        columns = ["logpt", "eta", "phi", *(["label"] if self.labelled else [])]
        try:
            with pq.ParquetFile(self.path) as file:
                groups = range(first, min(last, len(edges) - 1))
                table = file.read_row_groups(list(groups), columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(
                f"{self.path}: rows {start} to {stop}: cannot be read, the file is "
                f"truncated or damaged: {error}"
            ) from error
        table = table.slice(start - edges[first], stop - start)
        lists = [self._list(table, name, start) for name in columns[:3]]
        offset = lists[0][1]
        for name, (_, other) in zip(columns[1:3], lists[1:], strict=True):
            if not np.array_equal(other, offset):
                row = start + int(np.argmax(np.diff(other) != np.diff(offset)))
                raise ValueError(
                    f"{self.path}: row {row}, column {name}: expected as many entries "
                    "as in logpt"
                )
        particles = np.column_stack(
            [v * np.float32(s) for (v, _), s in zip(lists, self.steps, strict=True)]
        )
        with np.errstate(over="ignore"):  # what is infinite is refused next
            particles[:, 0] = np.exp(particles[:, 0])
        self._check_finite(particles, offset, start)
        check_coordinates(self.path, particles, offset, start)
        label = self._label(table, start) if self.labelled else None
        return drop_empty(particles, offset, label, self.row_id[start:stop])

    def _list(self, table, name, start):
        column = table[name].combine_chunks()
        null = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        if len(null):
            raise ValueError(
                f"{self.path}: row {start + null[0]}, column {name}: expected a list, "
                "got null"
            )
        offset = column.offsets.to_numpy().astype(np.int64)
        values = column.values.slice(offset[0], offset[-1] - offset[0])
        # a null becomes NaN here and is found with the other numbers
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return numbers, offset - offset[0]

    def _check_finite(self, particles, offset, start):
        bad = np.argwhere(~np.isfinite(particles))
        if len(bad):
            particle, column = bad[0].tolist()
            row = int(np.searchsorted(offset, particle, side="right")) - 1
            raise ValueError(
                f"{self.path}: row {start + row}, column "
                f"{('logpt', 'eta', 'phi')[column]}: expected finite numbers, got "
                f"{particles[particle, column]} ({len(bad)} in this block)"
            )

    def _label(self, table, start):
        label = table["label"].to_numpy()
        bad = np.flatnonzero((label != 0) & (label != 1))
        if len(bad):
            raise ValueError(
                f"{self.path}: row {start + bad[0]}, column label: expected 0 or 1, "
                f"got {label[bad[0]]} ({len(bad)} such rows in this block)"
            )
        return label


def open_ragged_parquet(path, allow_unlabelled: bool = False) -> RaggedParquet:
    """Opens a Parquet file with the list columns logpt, eta, phi.

    Args:
        path: The file; its schema metadata holds logpt_step, eta_step and phi_step.
        allow_unlabelled: Accept a file without the column label.

    Raises:
        ValueError: If the file is truncated or a column or step is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = pathlib.Path(path)
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            groups = [
                metadata.row_group(i).num_rows for i in range(file.num_row_groups)
            ]
            event = file.read(["event"])["event"] if "event" in schema.names else None
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path}: not a whole Parquet file (truncated?): {error}"
        ) from error
    missing = [name for name in ("logpt", "eta", "phi") if name not in schema.names]
    if missing:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
    labelled = "label" in schema.names
    if not labelled and not allow_unlabelled:
        raise ValueError(
            f"{path}: column label is missing: a file without labels can be scored "
            "(predict), not trained or evaluated on"
        )
    found = schema.metadata or {}
    try:
        logpt, eta, phi = (
            float(found[f"{name}_step".encode()]) for name in ("logpt", "eta", "phi")
        )
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: schema metadata: expected the numbers logpt_step, eta_step and "
            f"phi_step, got {sorted(key.decode() for key in found)}"
        ) from error
    edges = np.concatenate([[0], np.cumsum(groups)]).astype(np.int64)
    rows = int(edges[-1])
    row_id = (
        np.arange(rows) if event is None else row_numbers(path, event.to_numpy(), rows)
    )
    return RaggedParquet(path, rows, labelled, row_id, (logpt, eta, phi), edges)


def write_ragged_parquet(
    path,
    events: Events | Iterable[Events],
    signal_point: tuple[float, float, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
    compression_level: int = 9,
) -> pathlib.Path:
    """Writes events in steps of 0.002 in ln pT and 0.001 in eta and phi.

    The particles of an event are put in the order of eta, which packs well.

    Args:
        path: The file; it appears when it is whole.
        events: All, or blocks of them with equal columns; a block is a row group.
        signal_point: Masses m_v, m_x, m_y in GeV of the events with label 1; adds the
            column signal_point (0 background, 1 this point).
        metadata: Name -> what JSON can hold; stored in the schema.
        compression_level: Of zstd, 1 (fast) to 22 (small).

    Returns:
        The path.

    Raises:
        ValueError: If a particle cannot be written in these steps.
    """
    import pyarrow.parquet as pq

    path, blocks = (
        pathlib.Path(path),
        [events] if isinstance(events, Events) else events,
    )
    stored = {f"{name}_step": str(step) for name, step in STEPS.items()}
    stored["units"] = "logpt: ln(pT/GeV); each in steps, see logpt_step ..."
    stored |= {name: json.dumps(value) for name, value in (metadata or {}).items()}
    if signal_point is not None:
        stored["signal_points"] = json.dumps([list(signal_point)])
    packing = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in STEPS}
    with replace_file(path) as file:
        writer = None
        for block in blocks:
            table = _table(path, block, signal_point is not None)
            table = table.replace_schema_metadata(stored)
            if writer is None:
                writer = pq.ParquetWriter(
                    file,
                    table.schema,
                    compression="zstd",
                    compression_level=compression_level,
                    use_dictionary=False,
                    column_encoding=packing,
                )
            writer.write_table(table, row_group_size=max(len(table), 1))
        if writer is None:
            raise ValueError(f"{path}: no block of events to write")
        writer.close()
    return path


def _table(path, events, with_point):
    import pyarrow as pa

    size = np.diff(events.offset)
    row = np.repeat(np.arange(len(size)), size)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(events.particles[:, 0]), *events.particles[:, 1:].T
    numbers = np.stack(
        [np.round(v / step) for v, step in zip(values, STEPS.values(), strict=True)]
    )
    bad = np.argwhere(~(np.abs(numbers) <= np.iinfo(np.int16).max))
    if len(bad):
        column, particle = bad[0].tolist()
        raise ValueError(
            f"{path}: event {events.event_id[row[particle]]}, column "
            f"{list(STEPS)[column]}: expected a number that fits 16 bits in steps of "
            f"{list(STEPS.values())[column]}, got the particle (pT, eta, phi) = "
            f"{events.particles[particle].tolist()}"
        )
    numbers = numbers.astype(np.int16)[:, np.lexsort((numbers[1], row))]
    columns = {"event": pa.array(events.event_id.astype(np.int32))}
    if events.label is not None:
        columns["label"] = pa.array(events.label.astype(np.int8))
        if with_point:
            columns["signal_point"] = columns["label"]
    offset = pa.array((events.offset - events.offset[0]).astype(np.int32))
    for name, column in zip(STEPS, numbers, strict=True):
        columns[name] = pa.ListArray.from_arrays(offset, pa.array(column))
    return pa.table(columns)
