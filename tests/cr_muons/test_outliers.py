"""Outliers are written with where they come from."""

import pyarrow.parquet as pq
import pytest

from jaxphys.cr_muons.event_files import open_events, read_events
from jaxphys.cr_muons.filters import Filters
from jaxphys.cr_muons.index import scan
from jaxphys.cr_muons.outliers import write_outliers
from jaxphys.cr_muons.reader_batches import Outlier, training_calls
from tests.cr_muons.samples import assert_same, write_files


@pytest.mark.parametrize("drop_empty", [False, True])
def test_provenance_is_that_of_the_reader_batches(tmp_path, drop_empty):
    paths, _ = write_files(tmp_path, 50, 47)
    filters = Filters(drop_empty, 5)
    number = write_outliers(scan(paths), filters, 16, tmp_path / "out")
    expected = [
        (path, call)
        for path in paths
        for call in training_calls([open_events(path)], 16, filters)
        if isinstance(call, Outlier)
    ]
    assert number == len(expected) > 3
    table = pq.read_table(tmp_path / "out" / "outliers_0.parquet").to_pylist()
    written = read_events(str(tmp_path / "out"))
    for i, (path, outlier) in enumerate(expected):
        assert table[i]["source_file"] == path
        assert table[i]["reader_batch"] == outlier.reader_batch
        assert table[i]["event_in_batch"] == outlier.event_in_batch
        assert table[i]["count"] == len(outlier.event.muons)
        assert_same(written.rows(i, i + 1), outlier.event)


def test_processes_share_the_files(tmp_path):
    paths, events = write_files(tmp_path, 50, 47, 30)
    index, filters = scan(paths), Filters(max_muons_per_event=5)
    numbers = [write_outliers(index, filters, 16, tmp_path / "o", i, 2) for i in (0, 1)]
    above = [(e.num_muons > 5).sum() for e in events]
    assert numbers == [above[0] + above[2], above[1]]


def test_without_outliers_there_is_no_file(tmp_path):
    index = scan(write_files(tmp_path, 50)[0])
    assert write_outliers(index, Filters(max_muons_per_event=2), 16, tmp_path / "o") > 0
    assert write_outliers(index, Filters(), 16, tmp_path / "o") == 0
    assert not list((tmp_path / "o").iterdir())
