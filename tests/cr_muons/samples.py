"""Small files of events, right and wrong ones, for the tests of the readers."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import Events, make_events


def draw_events(num=50, seed=0, mean=2.0, rows_per_shower=5, first_shower=0):
    """Returns events whose every number differs from every other."""
    draws = np.random.default_rng(seed)
    counts = draws.poisson(draws.gamma(0.5, mean / 0.5, num))
    muons = int(counts.sum())
    primaries = np.column_stack(
        [
            10 ** draws.uniform(4, 7, num),
            draws.uniform(0, 1.2, num),
            draws.choice([0.938272, 13.0402], num),
            draws.uniform(1000, 2800, num),
        ]
    )
    showers = np.zeros((num, 2), np.uint64)
    showers[:, 0] = 2**62 + seed
    showers[:, 1] = first_shower + np.arange(num) // rows_per_shower
    bundle = np.column_stack(
        [10 ** draws.normal(3, 0.4, muons), *draws.normal(0, 10, (2, muons))]
    )
    return make_events(primaries, counts, bundle, showers)


def assert_same(got: Events, expected: Events):
    for name in ("primaries", "num_muons", "muons", "showers"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def columns_of(events):
    """Returns the columns of the training schema as Python lists."""
    muons = [
        events.muons[a:b].tolist()
        for a, b in zip(events.offsets[:-1], events.offsets[1:], strict=True)
    ]
    return {
        "primary_major_id": pa.array(events.showers[:, 0].tolist(), pa.uint64()),
        "primary_minor_id": pa.array(events.showers[:, 1].tolist(), pa.uint64()),
        "primary": pa.array(events.primaries.tolist(), pa.list_(pa.float32())),
        "muons": pa.array(muons, pa.list_(pa.list_(pa.float32()))),
    }


def write_columns(path, columns, rows_per_group=20):
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return str(path)


def write_files(folder, *sizes, rows_per_group=20, **settings):
    """Writes files of so many events; returns (paths, events)."""
    paths, events = [], []
    for number, size in enumerate(sizes):
        events.append(draw_events(size, seed=number, **settings))
        path = folder / f"events_{number}.parquet"
        write_events(path, events[-1], rows_per_group)
        paths.append(str(path))
    return paths, events


def truncate(path, keep=0.6):
    """Cuts the end of a file off."""
    path = pathlib.Path(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
