"""What is written can be read, and has the columns that others expect."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxphys.cr_muons.data.event_files import read_events
from jaxphys.cr_muons.data.writers import (
    EventWriter,
    training_schema,
    training_table,
    write_events,
    write_predictions,
)
from jaxphys.cr_muons.physics.events import empty_events
from tests.cr_muons.samples import assert_same, columns_of, draw_events

EVENTS = draw_events(50)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_events_come_back(tmp_path, compression):
    path = write_events(tmp_path / "new" / "a.parquet", EVENTS, 20, compression)
    assert_same(read_events(str(path)), EVENTS)
    assert pq.ParquetFile(path).metadata.num_row_groups == 3


def test_the_schema_is_that_of_the_original_converter(tmp_path):
    path = write_events(tmp_path / "a.parquet", EVENTS)
    table = pq.read_table(path)
    numbers = pa.list_(pa.float32())
    kinds = [pa.uint64(), pa.uint64(), numbers, pa.list_(numbers)]
    names = ["primary_major_id", "primary_minor_id", "primary", "muons"]
    assert table.schema.names == names
    assert all(a.equals(b) for a, b in zip(table.schema.types, kinds, strict=True))
    assert table.to_pydict() == pa.table(columns_of(EVENTS)).to_pydict()


def test_views_and_no_events_are_written(tmp_path):
    path = write_events(tmp_path / "a.parquet", EVENTS.rows(13, 31))
    assert_same(read_events(str(path)), EVENTS.rows(13, 31))
    assert len(read_events(str(write_events(path, empty_events())))) == 0


def test_further_columns_follow_the_training_schema(tmp_path):
    some = EVENTS.rows(0, 3)
    columns = {"source_file": "string", "row": "int64"}
    with EventWriter(tmp_path / "a.parquet", columns) as writer:
        writer.write(some, {"row": [1, 1, 2], "source_file": ["f"] * 3})
        writer.write(empty_events(), {})
        with pytest.raises(
            ValueError, match=r"expected \['row', 'source_file'\].*\[\]"
        ):
            writer.write(some)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == [*training_schema().names, "source_file", "row"]
    assert table["source_file"].to_pylist() == ["f"] * 3
    assert table["row"].to_pylist() == [1, 1, 2]
    assert_same(read_events(str(tmp_path / "a.parquet")), some)


def test_a_file_is_whole_or_not_there(tmp_path):
    def fail():
        with EventWriter(tmp_path / "a.parquet") as writer:
            writer.write(EVENTS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_predictions_have_one_row_per_muon(tmp_path):
    path = write_predictions(tmp_path / "p.parquet", EVENTS)
    table = pq.read_table(path)
    assert [(f.name, str(f.type)) for f in table.schema] == [
        ("event_index", "int64"),
        ("E_GeV", "float"),
        ("X_m", "float"),
        ("Y_m", "float"),
    ]
    np.testing.assert_array_equal(table["event_index"], EVENTS.event_of_muon())
    got = np.column_stack([table[n].to_numpy() for n in ("E_GeV", "X_m", "Y_m")])
    np.testing.assert_array_equal(got, EVENTS.muons)


def test_predictions_in_the_training_schema_are_events(tmp_path):
    path = write_predictions(tmp_path / "p.parquet", EVENTS, "training")
    assert_same(read_events(str(path)), EVENTS)
    with pytest.raises(ValueError, match="output_schema"):
        write_predictions(path, EVENTS, "other")


def test_more_muons_than_a_table_can_hold_are_refused():
    class Many:
        muons = range(2**30)

    with pytest.raises(ValueError, match="at most"):
        training_table(Many())  # pyright: ignore[reportArgumentType]
