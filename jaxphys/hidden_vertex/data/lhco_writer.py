"""Writes events in the layout of the LHC Olympics: what pandas calls format fixed."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.hidden_vertex.data.readers import LABEL_COLUMN, NUM_SLOTS
from jaxphys.hidden_vertex.physics.events import Events

_CHUNK_ROWS = 16
_AXES = ("axis0", "block0_items")


def write_lhco(
    path,
    events: Events | Iterable[Events],
    num_events: int | None = None,
    attributes: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Writes one row an event: 700 x (pT, eta, phi), zeros, then the label.

    The filter is gzip, which every HDF5 library has.

    Args:
        path: The file; it appears when it is whole.
        events: All, or blocks of them; without label there are 2,100 columns.
        num_events: Rows, needed if the events come in blocks.
        attributes: Name -> text, of the file.

    Returns:
        The path.

    Raises:
        ValueError: If an event has more than 700 particles or the number of events is
            another one.
    """
    import h5py

    if isinstance(events, Events):
        num_events, events = len(events), [events]
    if num_events is None:
        raise ValueError("num_events: expected the number of rows, got None")
    path, start = pathlib.Path(path), 0
    with replace_file(path) as handle, h5py.File(handle, "w") as file:
        group = _begin(file, attributes or {})
        axis1 = _array(group, "axis1", (num_events,), np.int64)
        table = None
        for block in events:
            columns = LABEL_COLUMN + (block.label is not None)
            if table is None:
                table = _begin_table(group, num_events, columns)
            stop = start + len(block)
            if stop > num_events or table.shape[1] != columns:
                raise ValueError(
                    f"{path}: expected {num_events} events with {table.shape[1]} "
                    f"columns, got {stop} or more with {columns}"
                )
            table[start:stop] = _rows(path, block, columns)
            axis1[start:stop] = block.event_id
            start = stop
        if start != num_events:
            raise ValueError(f"{path}: expected {num_events} events, got {start}")
    return path


def _begin(file, attributes):
    _describe(file, CLASS="GROUP", VERSION="1.0", PYTABLES_FORMAT_VERSION="2.1")
    file.attrs.update(attributes)
    group = file.create_group("df")
    variety = {f"{name}_variety": "regular" for name in (*_AXES, "axis1")}
    _describe(group, CLASS="GROUP", VERSION="1.0", pandas_type="frame", **variety)
    _describe(group, encoding="UTF-8", errors="strict")
    group.attrs.update({"nblocks": np.int64(1), "ndim": np.int64(2)})
    return group


def _array(group, name, shape, dtype, **options):
    array = group.create_dataset(name, shape, dtype, **options)
    ascii_texts = {"CLASS": "CARRAY", "VERSION": "1.1"}
    if len(shape) == 1:
        _describe(array, kind="integer")
        ascii_texts["name"] = "N."  # None as PyTables pickles it
    for key, text in ascii_texts.items():
        array.attrs[key] = np.bytes_(text)
    array.attrs["transposed"] = np.uint8(1)
    return array


def _describe(place, **texts):
    import h5py

    for name, text in texts.items():
        # pandas takes text of another kind for bytes and fails
        kind = h5py.string_dtype("utf-8", len(text))
        place.attrs.create(name, np.array(text.encode(), kind), dtype=kind)


def _begin_table(group, num_events, columns):
    for name in _AXES:
        _array(group, name, (columns,), np.int64)[:] = np.arange(columns)
    return _array(
        group,
        "block0_values",
        (num_events, columns),
        np.float64,
        chunks=(min(_CHUNK_ROWS, max(num_events, 1)), columns),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )


def _rows(path, events, columns):
    size = np.diff(events.offset)
    if size.max(initial=0) > NUM_SLOTS:
        event = int(np.argmax(size))
        raise ValueError(
            f"{path}: event {events.event_id[event]}: expected at most {NUM_SLOTS} "
            f"particles, got {size[event]}"
        )
    rows = np.zeros((len(size), columns))
    row = np.repeat(np.arange(len(size)), size)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    first, last = events.offset[[0, -1]]
    slots = rows[:, :LABEL_COLUMN].reshape(len(size), NUM_SLOTS, 3)
    slots[row, slot] = events.particles[first:last]
    rows[:, :LABEL_COLUMN] = slots.reshape(len(size), LABEL_COLUMN)
    if events.label is not None:
        rows[:, LABEL_COLUMN] = events.label
    return rows
