"""Any data set opens by one path; ranges of events; the sample of the package."""

import numpy as np
import pytest

from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.compact_writer import CompactWriter
from jaxphys.hypertrack.data.csv_files import CsvEvents
from jaxphys.hypertrack.data.event_source import (
    describe_ids,
    open_events,
    sample_prefix,
    select_events,
)
from tests.hypertrack.event_sets import random_event, require_same, write_event


def test_csv_and_parquet_of_an_event_are_equal_in_memory(tmp_path):
    event = random_event(1)
    folder = write_event(tmp_path / "csv", event)
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(event)
    plain, compact = open_events(folder), open_events(tmp_path / "set")
    assert isinstance(plain, CsvEvents)
    assert isinstance(compact, CompactEvents)
    require_same(plain.read(7), compact.read(7))
    require_same(compact.read(7), event)


@pytest.mark.parametrize("kind", ["hits", "truth", "particles"])
def test_one_of_the_files_stands_for_all(tmp_path, kind):
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(random_event(1))
    assert len(open_events(compact_path(tmp_path / "set", kind), need_truth=True)) == 1


def test_a_path_without_events_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected the prefix of no-hits.parquet, "):
        open_events(tmp_path / "no")


def test_training_needs_truth(tmp_path):
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(random_event(1))
    for kind in ("truth", "particles"):
        compact_path(tmp_path / "set", kind).unlink()
    assert not open_events(tmp_path / "set").has_truth
    with pytest.raises(ValueError, match="expected the files of truth and particles"):
        open_events(tmp_path / "set", need_truth=True)


def test_the_sample_is_a_small_set_of_whole_events():
    source = open_events("", need_truth=True)
    assert 40 <= len(source) <= 60
    size = sum(
        p.stat().st_size for p in sample_prefix().parent.glob("sample-*.parquet")
    )
    assert size < 1.5e6
    events = [source[i] for i in range(len(source))]
    tracks = sum(event.num_tracks for event in events) / len(events)
    assert 60 < tracks < 300
    noise = sum((event.label < 0).sum() for event in events)
    assert noise / sum(event.num_hits for event in events) == pytest.approx(
        0.15, abs=0.01
    )


def test_ranges_include_their_ends():
    ids = np.array([5, 1, 2, 3, 9, 7])
    assert select_events(ids).tolist() == ids.tolist()
    assert select_events(ids, [2, 9], [5, 20]).tolist() == [5, 2, 3, 9]
    assert select_events(ids, [1], [1]).tolist() == [1]


def test_a_range_that_selects_nothing_prints_what_there_is():
    ids = np.array([30000, 30001, 30002, 30007])
    with pytest.raises(ValueError, match=r"no event in 1-9; there are 30000-30002, 3"):
        select_events(ids, [1], [9])
    with pytest.raises(ValueError, match="as many starts as ends"):
        select_events(ids, [1], [])
    with pytest.raises(ValueError, match="each start not above its end"):
        select_events(ids, [9], [1])


def test_numbers_are_described_shortly():
    assert describe_ids(np.array([4, 2, 3, 9])) == "2-4, 9"
    assert describe_ids(np.array([])) == "none"
    assert describe_ids(np.arange(0, 40, 2)).endswith("18, ...")
