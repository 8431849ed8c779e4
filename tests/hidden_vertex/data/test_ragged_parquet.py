"""Ragged Parquet files: decoding, row groups, and errors that name row and column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxphys.hidden_vertex.data.ragged_parquet import (
    open_ragged_parquet,
    write_ragged_parquet,
)
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.physics.events import iterate, join_events
from jaxphys.hidden_vertex.physics.graphs import particles_of_rows
from tests.hidden_vertex.samples import Rows, lhco_rows, write_ragged

SIZES = [3, 0, 70, 1, 12, 40, 0, 9, 5, 2]


@pytest.fixture
def rows():
    return lhco_rows(SIZES)


@pytest.mark.parametrize("read_rows", [1, 3, 4, 5, 100])
def test_events_are_decoded_whatever_the_blocks(tmp_path, rows, read_rows):
    source = open_source(write_ragged(tmp_path / "a.parquet", rows))
    events = join_events(list(iterate(source, read_rows=read_rows)))
    particles, _ = particles_of_rows(rows)
    np.testing.assert_allclose(
        np.log(events.particles[:, 0]), np.log(particles[:, 0]), atol=1.1e-3
    )
    np.testing.assert_allclose(events.particles[:, 1:], particles[:, 1:], atol=6e-4)
    assert events.particles.dtype == np.float32
    np.testing.assert_array_equal(events.event_id, [0, 2, 3, 4, 5, 7, 8, 9])
    np.testing.assert_array_equal(events.empty_id, [1, 6])
    np.testing.assert_array_equal(events.label, rows[events.event_id, -1])


def test_missing_label_is_accepted_for_prediction_only(tmp_path, rows):
    path = write_ragged(tmp_path / "a.parquet", rows, label=False)
    with pytest.raises(ValueError, match="column label is missing"):
        open_source(path)
    assert open_source(path, allow_unlabelled=True).read(0, 10).label is None


def test_bad_rows_are_named(tmp_path, rows):
    label = rows[:, -1].astype(np.int8)
    label[6] = 3
    path = write_ragged(tmp_path / "a.parquet", rows, label=pa.array(label))
    with pytest.raises(ValueError, match="row 6, column label: expected 0 or 1, got 3"):
        list(iterate(open_source(path), read_rows=4))


@pytest.mark.parametrize(
    ("column", "row", "values", "message"),
    [
        ("eta", 5, [1, 2], "row 5, column eta: expected as many entries as in logpt"),
        ("phi", 3, [None], "row 3, column phi: expected finite numbers, got nan"),
        ("logpt", 3, [32000], "row 3, column logpt: expected finite numbers, got inf"),
        ("phi", 8, None, "row 8, column phi: expected a list, got null"),
    ],
)
def test_bad_lists_are_named(tmp_path, rows, column, row, values, message):
    table = pq.read_table(write_ragged(tmp_path / "a.parquet", rows))
    lists = table[column].to_pylist()
    lists[row] = values
    path = write_ragged(tmp_path / "b.parquet", rows, **{column: lists_of(lists)})
    if values == [32000]:  # exp(64) is finite
        table = pq.read_table(path)
        metadata = {**table.schema.metadata, b"logpt_step": b"0.003"}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    source = open_source(path)
    with pytest.raises(ValueError, match=rf"b\.parquet: {message}"):
        list(iterate(source, read_rows=4))


def lists_of(lists):
    return pa.array(lists, pa.list_(pa.int16()))


def test_truncated_file_is_refused(tmp_path, rows):
    whole = write_ragged(tmp_path / "a.parquet", rows).read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.parquet: not a whole Parquet file"):
        open_source(path)


def test_missing_columns_and_steps_are_named(tmp_path, rows):
    path = write_ragged(tmp_path / "a.parquet", rows)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["eta"]), path)
    with pytest.raises(ValueError, match="columns missing: eta"):
        open_ragged_parquet(path)
    pq.write_table(table.replace_schema_metadata({"eta_step": "1"}), path)
    with pytest.raises(ValueError, match=r"numbers logpt_step, .* got \['eta_step'\]"):
        open_ragged_parquet(path)


def test_generated_sample_is_read(data_dir):
    source = open_source(data_dir("hidden_vertex") / "lhco_like_30k.parquet")
    assert source.num_rows == 30_000
    events = source.read(1990, 2010)
    assert len(events) == 20
    np.testing.assert_array_equal(events.event_id, np.arange(1990, 2010))
    assert events.particles[:, 0].min() > 0.09


def test_what_is_written_is_read_within_half_a_step(tmp_path, rows):
    source = Rows(rows)
    blocks = [source.read(0, 5), source.read(5, len(SIZES))]
    path = write_ragged_parquet(tmp_path / "a.parquet", blocks, (3.0, 2.0, 1.0))
    events, wanted = open_source(path).read(0, 8), join_events(blocks)
    assert len(events) == 8
    np.testing.assert_array_equal(events.offset, wanted.offset)
    np.testing.assert_array_equal(events.label, wanted.label)
    np.testing.assert_array_equal(events.event_id, wanted.event_id)
    for start, stop in zip(wanted.offset[:-1], wanted.offset[1:], strict=True):
        truth, found = wanted.particles[start:stop], events.particles[start:stop]
        assert np.all(np.diff(found[:, 1]) >= 0)
        # particles of one step in eta keep their order
        order = np.argsort(np.round(truth[:, 1] / 0.001), kind="stable")
        truth = truth[order]
        np.testing.assert_allclose(found[:, 1:], truth[:, 1:], atol=5.01e-4)
        np.testing.assert_allclose(
            np.log(found[:, 0]), np.log(truth[:, 0]), atol=1.001e-3
        )
    table = pq.ParquetFile(path)
    assert table.num_row_groups == 2
    assert table.schema_arrow.metadata[b"signal_points"] == b"[[3.0, 2.0, 1.0]]"
    points = table.read(["signal_point"])["signal_point"]
    np.testing.assert_array_equal(points.to_numpy(), wanted.label)


def test_schema_is_that_of_the_shipped_data(tmp_path, rows, data_dir):
    real = data_dir("hidden_vertex") / "lhco_like_30k.parquet"
    events = Rows(rows).read(0, len(rows))
    path = write_ragged_parquet(tmp_path / "a.parquet", events, (3500, 500, 100))
    wanted, found = pq.read_schema(real), pq.read_schema(path)
    assert found.equals(wanted)
    for name in (b"logpt_step", b"eta_step", b"phi_step"):
        assert found.metadata[name] == wanted.metadata[name]


def test_particles_beyond_the_steps_are_refused(tmp_path, rows):
    events = Rows(rows).read(0, len(rows))
    events.particles[5, 1] = 33.0  # a particle of row 2
    with pytest.raises(ValueError, match="event 2, column eta: expected a number that"):
        write_ragged_parquet(tmp_path / "a.parquet", events)
    events.particles[5] = [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="event 2, column logpt: expected a number"):
        write_ragged_parquet(tmp_path / "a.parquet", events)
    with pytest.raises(ValueError, match="no block of events"):
        write_ragged_parquet(tmp_path / "a.parquet", [])
    assert list(tmp_path.iterdir()) == []
