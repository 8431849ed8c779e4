"""Files are found wherever they are; what cannot be used is named."""

import pytest

from jaxphys.cr_muons.data.event_files import find_files, open_events, read_events
from jaxphys.cr_muons.data.hdf5_files import write_hdf5
from jaxphys.cr_muons.physics.events import Events
from tests.cr_muons.samples import assert_same, truncate, write_files


def test_folders_patterns_and_lists_name_files_in_order(tmp_path):
    paths, _ = write_files(tmp_path, 5, 5, 5)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.parquet").write_text("x")
    assert find_files(str(tmp_path)) == paths
    assert find_files(f"{tmp_path}/*_[02].parquet") == [paths[0], paths[2]]
    assert find_files(f"{paths[2]}, file://{paths[0]}") == [paths[2], paths[0]]
    assert find_files([tmp_path]) == paths


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "expected files of events, got none"),
        ("{0}/none.parquet", "none.parquet: no such file or folder"),
        ("{0}/*.h5", "no file matches this pattern"),
        ("{0}/empty", "empty: expected files .* in this folder, got 1 others"),
        ("{0},{0}/events_0.parquet", "events_0.parquet: is named twice"),
    ],
)
def test_what_is_no_file_is_named(tmp_path, name, message):
    write_files(tmp_path, 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=message):
        find_files(name.format(tmp_path))


def test_all_events_are_read_in_order(tmp_path):
    paths, events = write_files(tmp_path, 30, 20)
    assert_same(read_events(str(tmp_path)), Events.concatenate(events))
    assert_same(read_events(paths[1]), events[1])


def test_formats_go_by_the_suffix(tmp_path):
    _, (events,) = write_files(tmp_path, 30)
    events = Events(
        events.primaries, events.num_muons, events.muons, events.showers % 1000
    )
    write_hdf5(str(tmp_path / "a.hdf5"), events)
    assert_same(read_events(str(tmp_path / "a.hdf5")), events)


def test_a_truncated_file_among_good_ones_is_named(tmp_path):
    paths, _ = write_files(tmp_path, 30, 20, 10)
    truncate(paths[1])
    with pytest.raises(ValueError, match=r"events_1.parquet: not a whole"):
        read_events(str(tmp_path))
    with pytest.raises(ValueError, match=r"events_1.parquet"):
        open_events(paths[1])
