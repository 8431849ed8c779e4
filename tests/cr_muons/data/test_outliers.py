"""What is set aside is written with where it comes from."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxphys.cr_muons.batches.batches import MuonBatches
from jaxphys.cr_muons.data.event_files import open_events, read_events
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.outliers import write_bad_rows, write_outliers
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import make_events
from jaxphys.cr_muons.replay.reader_batches import Outlier, training_calls
from tests.cr_muons.samples import assert_same, draw_events, write_files


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


def spoiled_files(folder):
    """Writes two files; rows 4 and 41 of the second have impossible numbers."""
    paths, (first, second) = write_files(folder, 50, 47)
    primaries, muons = second.primaries.copy(), second.muons.copy()
    assert second.num_muons[4] > 0
    muons[second.offsets[4], 1] = np.nan
    primaries[41, 0] = -1
    bad = make_events(primaries, second.num_muons, muons, second.showers)
    write_events(paths[1], bad, 20)
    return paths, first, bad


def test_bad_rows_are_written_with_what_is_wrong(tmp_path):
    paths, _, events = spoiled_files(tmp_path)
    index = scan(paths, bad_rows="set_aside")
    assert write_bad_rows(index, tmp_path / "new" / "bad.parquet") == 2
    (path,) = (tmp_path / "new").iterdir()
    table = pq.read_table(path)
    assert table["source_file"].to_pylist() == [paths[1]] * 2
    assert table["row"].to_pylist() == [4, 41]
    nan, negative = table["reason"].to_pylist()
    assert nan == "muons, muon 0, x: expected a finite number, got nan"
    assert negative == "primary, energy: expected a finite number > 0, got -1.0"
    for place, row in enumerate((4, 41)):
        alone = open_events(path).read(place, place + 1)
        assert_same(alone, events.rows(row, row + 1))


def test_bad_rows_of_an_earlier_run_go(tmp_path):
    spoiled, first, _ = spoiled_files(tmp_path)
    path = tmp_path / "bad.parquet"
    assert write_bad_rows(scan(spoiled, bad_rows="set_aside"), path) == 2
    assert write_bad_rows(scan(spoiled[:1], bad_rows="set_aside"), path) == 0
    assert not path.exists()
    assert len(first) == 50


def test_a_bad_row_is_no_outlier(tmp_path):
    events = draw_events(50)
    large = np.flatnonzero(events.num_muons > 5)
    primaries = events.primaries.copy()
    primaries[large[0], 3] = -1
    bad = make_events(primaries, events.num_muons, events.muons, events.showers)
    index = scan([str(write_events(tmp_path / "a.parquet", bad))], bad_rows="set_aside")
    filters = Filters(max_muons_per_event=5)
    assert write_outliers(index, filters, 16, tmp_path / "o") == len(large) - 1
    batches = MuonBatches(index, 16, filters=filters)
    assert batches.counts()["outliers"] == len(large) - 1
