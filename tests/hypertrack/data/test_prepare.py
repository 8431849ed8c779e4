"""Conversion to compact Parquet, and the check of a data set."""

import numpy as np
import pytest

from jaxphys.hypertrack.data.compact_parquet import CompactEvents
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.data.prepare import check, prepare
from tests.hypertrack.event_sets import (
    random_event,
    require_same,
    tables,
    write_event,
    write_tables,
)


@pytest.fixture
def folder(tmp_path):
    for number in range(20):
        write_event(tmp_path / "csv", random_event(number, event_id=number))
    return tmp_path / "csv"


def test_all_events_are_written_in_order(tmp_path, folder, capsys):
    prefix = prepare(folder, tmp_path / "new/set")
    source = CompactEvents(prefix)
    assert source.event_ids.tolist() == list(range(20))
    for number in (0, 16, 19):
        require_same(source.read(number), random_event(number, event_id=number))
    assert "prepare" in capsys.readouterr().err


def test_chosen_events_are_written_as_they_are_named(tmp_path, folder):
    prefix = prepare(folder, tmp_path / "set", [5, 2], progress=False)
    assert CompactEvents(prefix).event_ids.tolist() == [5, 2]


def test_real_event_is_the_same_in_both_forms(tmp_path, data_dir):
    folder = data_dir("hypertrack") / "trackml_real_5pct"
    prefix = prepare(folder, tmp_path / "real", progress=False)
    require_same(open_events(prefix).read(1), open_events(folder).read(1))


def test_a_bad_event_stops_and_leaves_nothing(tmp_path, folder):
    lines = tables(random_event(3, event_id=3))
    lines["hits"][4][1] = "nan"
    write_tables(folder, 3, lines)
    with pytest.raises(ValueError, match=r"event000000003-hits.csv: row 4 .* column x"):
        prepare(folder, tmp_path / "set", progress=False)
    assert not list(tmp_path.glob("*.parquet"))
    found = check(folder, progress=False)
    assert found.num_events == 19
    assert list(found.problems) == [3]
    assert "row 4" in found.problems[3]


def test_check_counts_what_there_is(folder):
    found = check(folder, progress=False)
    events = [random_event(number, event_id=number) for number in range(20)]
    assert found.num_events == 20
    assert found.num_hits == sum(event.num_hits for event in events)
    assert found.num_particles == sum(event.num_tracks for event in events)
    assert found.problems == {}
    for kind in ("truth", "particles"):
        (folder / f"event000000011-{kind}.csv").unlink()
    found = check(folder, progress=False)
    assert list(found.problems) == [11]
    assert "has no truth" in found.problems[11]
    assert check(folder, need_truth=False, progress=False).problems == {}


@pytest.mark.slow
def test_workers_write_the_same_file(tmp_path, folder):
    one = prepare(folder, tmp_path / "one", progress=False)
    two = prepare(folder, tmp_path / "two", workers=2, progress=False)
    for number in range(20):
        require_same(CompactEvents(two).read(number), CompactEvents(one).read(number))
    np.testing.assert_array_equal(
        CompactEvents(two).event_ids, CompactEvents(one).event_ids
    )
