"""Small events, and files of them in the layout of the LHC Olympics."""

import h5py
import hdf5plugin
import numpy as np

from jaxphys.hidden_vertex.physics.events import drop_empty
from jaxphys.hidden_vertex.physics.graphs import particles_of_rows

COLUMNS = 2101
COMPRESSION = {
    "blosc": dict(hdf5plugin.Blosc(cname="blosclz", clevel=9, shuffle=1)),
    "gzip": {"compression": "gzip"},
    "none": {},
}


def lhco_rows(sizes, seed=0, signal_every=5):
    """Returns rows [R, 2101] with so many particles, float32 values in float64."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((len(sizes), COLUMNS))
    for row, size in zip(rows, sizes, strict=True):
        particles = np.column_stack(
            [
                rng.exponential(5.0, size) + 0.1,
                rng.normal(0, 1.5, size),
                rng.uniform(-np.pi, np.pi, size),
            ]
        )
        row[: 3 * size] = particles.astype(np.float32).reshape(-1)
    rows[:, -1] = np.arange(len(rows)) % signal_every == signal_every - 1
    return rows


def write_lhco(path, rows, compression="blosc", key="df", index=None):
    """Writes what pandas.DataFrame(rows).to_hdf(path, key=key, format="fixed") does."""
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        columns = np.arange(rows.shape[1])
        group["axis0"], group["block0_items"] = columns, columns
        group["axis1"] = np.arange(len(rows)) if index is None else index
        group.create_dataset(
            "block0_values",
            data=rows,
            chunks=(min(3, len(rows)), rows.shape[1]),
            **COMPRESSION[compression],
        )
    return path


def write_ragged(path, rows, label=True, **changes):
    """Writes the particles of rows [R, 2101] as a ragged Parquet file.

    Args:
        path: The file.
        rows: As `lhco_rows`.
        label: Write the column label; an array is written in its place.
        **changes: Columns to write instead of the right ones.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    slots = rows[:, :-1].reshape(len(rows), -1, 3)
    steps = {"logpt": 0.002, "eta": 0.001, "phi": 0.001}
    columns = {"event": pa.array(np.arange(len(rows), dtype=np.int32))}
    if label is not False:
        own = label is True
        columns["label"] = pa.array(rows[:, -1].astype(np.int8)) if own else label
    for i, (name, step) in enumerate(steps.items()):
        lists = []
        for event in slots:
            values = event[event[:, 0] > 0, i]
            values = np.log(values) if name == "logpt" else values
            lists.append(np.round(values / step).astype(np.int16))
        columns[name] = pa.array(lists, pa.list_(pa.int16()))
    metadata = {f"{name}_step": str(step) for name, step in steps.items()}
    table = pa.table({**columns, **changes}).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=4)
    return path


class Rows:
    """A source that holds its rows."""

    def __init__(self, rows, labelled=True):
        self.rows, self.labelled, self.num_rows = rows, labelled, len(rows)

    def read(self, start, stop):
        particles, offset = particles_of_rows(self.rows[start:stop])
        label = self.rows[start:stop, -1] if self.labelled else None
        return drop_empty(particles, offset, label, np.arange(start, stop))

    def describe(self):
        return {"rows": self.num_rows}
