"""Ragged Parquet files: decoding, row groups, and errors that name row and column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxphys.hidden_vertex.events import iterate, join_events
from jaxphys.hidden_vertex.graphs import particles_of_rows
from jaxphys.hidden_vertex.ragged_parquet import open_ragged_parquet
from jaxphys.hidden_vertex.readers import open_source
from tests.hidden_vertex.samples import lhco_rows, write_ragged

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
