"""Compact Parquet: one event is read by itself; damage is named; threads and copies."""

import concurrent.futures
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.compact_writer import CompactWriter
from tests.hypertrack.event_sets import random_event, require_same

IDS = [40, 7, 300_000]


@pytest.fixture
def prefix(tmp_path):
    with CompactWriter(tmp_path / "set", {"mu": 2}) as writer:
        for number in IDS:
            writer.write(random_event(number, event_id=number))
    return tmp_path / "set"


def test_any_event_is_read_by_number_or_by_place(prefix):
    source = CompactEvents(prefix)
    assert source.event_ids.tolist() == IDS
    assert source.has_truth
    assert source.metadata == {"mu": 2}
    for place in (2, 0, 1, -1):
        event = random_event(IDS[place], event_id=IDS[place])
        require_same(source[place], event)
        require_same(source.read(IDS[place]), event)
        assert source.num_hits[place] == event.num_hits
    with pytest.raises(ValueError, match="no event 8; expected one of 7 to 300000"):
        source.read(8)
    with pytest.raises(IndexError):
        source[3]


def test_a_source_is_read_by_threads_and_sent_to_processes(prefix):
    source = CompactEvents(prefix)
    places = [i % 3 for i in range(60)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = [event.event_id for event in pool.map(source.__getitem__, places)]
    assert found == [IDS[place] for place in places]
    copy = pickle.loads(pickle.dumps(source))
    require_same(copy[1], source[1])


def test_truth_may_be_absent(prefix):
    for kind in ("truth", "particles"):
        compact_path(prefix, kind).unlink()
    source = CompactEvents(prefix)
    assert not source.has_truth
    event = source[0]
    assert not event.has_truth
    assert set(event.label.tolist()) == {-1}


@pytest.mark.parametrize(("kind", "known"), [("hits", False), ("truth", False)])
def test_a_missing_file_is_named(prefix, kind, known):
    compact_path(prefix, kind).unlink()
    with pytest.raises(ValueError, match=rf"set-{kind}.parquet: no such file"):
        CompactEvents(prefix)


def rewrite(path, change):
    """Writes the row groups of a file anew after a change of each table."""
    file = pq.ParquetFile(path)
    parts = [change(i, file.read_row_group(i)) for i in range(file.num_row_groups)]
    file.close()
    with pq.ParquetWriter(path, parts[0].schema) as writer:
        for part in parts:
            writer.write_table(part, row_group_size=len(part))


def with_column(table, name, values):
    place = table.column_names.index(name)
    return table.set_column(
        place, name, pa.array(values, table.schema.field(name).type)
    )


def test_files_of_other_events_are_refused(prefix):
    path = compact_path(prefix, "truth")
    rewrite(path, lambda i, t: with_column(t, "event_id", np.full(len(t), 50 + i)))
    with pytest.raises(ValueError, match=r"truth.parquet: expected the events of .*50"):
        CompactEvents(prefix)


def test_row_group_of_two_events_is_refused(prefix):
    path = compact_path(prefix, "hits")
    rewrite(path, lambda i, t: with_column(t, "event_id", np.arange(len(t))))
    with pytest.raises(ValueError, match=r"row group 0: expected the rows of one"):
        CompactEvents(prefix)


def test_event_in_two_row_groups_is_refused(prefix):
    for kind in ("hits", "truth", "particles"):
        path = compact_path(prefix, kind)
        rewrite(path, lambda i, t: with_column(t, "event_id", np.full(len(t), 3)))
    with pytest.raises(ValueError, match="one row group per event"):
        CompactEvents(prefix)


def test_files_without_statistics_are_read(prefix):
    path = compact_path(prefix, "hits")
    table = pq.ParquetFile(path)
    parts = [table.read_row_group(i) for i in range(3)]
    with pq.ParquetWriter(path, parts[0].schema, write_statistics=False) as writer:
        for part in parts:
            writer.write_table(part, row_group_size=len(part))
    assert CompactEvents(prefix).event_ids.tolist() == IDS


def test_missing_column_null_and_damage_are_named(prefix):
    path = compact_path(prefix, "hits")
    whole = path.read_bytes()
    rewrite(path, lambda i, t: t.drop_columns(["y", "layer_id"]))
    with pytest.raises(ValueError, match=r"hits.parquet: columns missing: y, layer_id"):
        CompactEvents(prefix)
    path.write_bytes(whole)

    def with_null(_, table):
        values = table["y"].to_pylist()
        return with_column(table, "y", [None, *values[1:]])

    rewrite(path, with_null)
    with pytest.raises(ValueError, match=r"\(event 40\), column y: .* 1 nulls"):
        CompactEvents(prefix)[0]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        CompactEvents(prefix)


def test_faults_of_the_rows_name_the_event(prefix):
    def with_nan(_, table):
        values = table["x"].to_pylist()
        return with_column(table, "x", [*values[:3], float("nan"), *values[4:]])

    rewrite(compact_path(prefix, "hits"), with_nan)
    source = CompactEvents(prefix)
    with pytest.raises(ValueError, match=r"hits.parquet \(event 7\): row 4 .*column x"):
        source.read(7)


def test_supplied_events_are_read_without_the_others(data_dir):
    source = CompactEvents(data_dir("hypertrack") / "train_mu20")
    assert source.event_ids.tolist() == list(range(30000, 30048))
    event = source.read(30047)
    assert event.num_hits == source.num_hits[-1]
    assert event.weight.sum() == pytest.approx(1, abs=1e-5)
    assert event.noise_fraction == pytest.approx(0.15, abs=0.02)
    np.testing.assert_array_equal(event.hit_id, np.arange(event.num_hits) + 1)
