"""TrackML files: columns by name, any order of rows, and every fault of a file."""

import numpy as np
import pytest

from jaxphys.hypertrack.data.csv_files import CsvEvents, read_columns
from tests.hypertrack.event_sets import (
    random_event,
    require_same,
    tables,
    write_event,
    write_tables,
)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("particle_type", [True, False])
def test_files_give_the_event_that_they_were_written_from(
    tmp_path, ending, particle_type
):
    event = random_event(1)
    source = CsvEvents(write_event(tmp_path, event, ending, particle_type))
    assert source.event_ids.tolist() == [7]
    assert source.has_truth
    found = source[0]
    if not particle_type:
        object.__setattr__(event.particles, "particle_type", None)
    require_same(found, event)


def test_columns_may_stand_in_any_order_among_others(tmp_path):
    event = random_event(2)
    rng = np.random.default_rng(0)
    lines = {}
    for kind, rows in tables(event).items():
        rows = [[*row, "1.5"] for row in rows]
        rows[0][-1] = "extra"
        order = rng.permutation(len(rows[0]))
        lines[kind] = [[row[i] for i in order] for row in rows]
    require_same(CsvEvents(write_tables(tmp_path, 7, lines)).read(7), event)


def test_events_without_truth_are_read_for_prediction(tmp_path):
    event = random_event(3)
    write_tables(tmp_path, 7, {"hits": tables(event)["hits"]})
    source = CsvEvents(tmp_path)
    assert not source.has_truth
    assert not source.read(7).has_truth
    with pytest.raises(ValueError, match="event 7 has no file of cells"):
        source.cells(7)
    with pytest.raises(ValueError, match="event 7 has no truth"):
        source.true_positions(7)


def test_particles_without_truth_are_refused(tmp_path):
    lines = tables(random_event(3))
    del lines["truth"]
    write_tables(tmp_path, 7, lines)
    with pytest.raises(ValueError, match=r"particles.csv: expected the file of truth"):
        CsvEvents(tmp_path).read(7)


def test_events_are_listed_by_number(tmp_path):
    for number in (12, 3, 100):
        write_event(tmp_path, random_event(number, event_id=number))
    (tmp_path / "event12-hits.csv").write_text("another name\n")
    source = CsvEvents(tmp_path)
    assert source.event_ids.tolist() == [3, 12, 100]
    assert len(source) == 3
    require_same(source[1], random_event(12, event_id=12))
    with pytest.raises(ValueError, match="no event 4"):
        source.read(4)


def test_folder_without_events_or_with_double_ones_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected files eventN+-hits.csv or .csv.gz"):
        CsvEvents(tmp_path)
    write_event(tmp_path, random_event(1))
    write_event(tmp_path, random_event(1), ".csv.gz")
    with pytest.raises(ValueError, match="event 7: expected one hits file"):
        CsvEvents(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hit_id,x\n1,2.5\n", r"missing: y; got hit_id, x"),
        ("hit_id,x,y\n1,2.5,\n", r"row 1, column y: .* empty cell \(1 such rows\)"),
        ("hit_id,x,y\n1,abc,2\n", r"a.csv: cannot be read as a CSV table: .*abc"),
        ("hit_id,x,y\n1.5,2,2\n", r"cannot be read as a CSV table: .*1\.5"),
        ("hit_id,x,y\n1,2\n", r"cannot be read as a CSV table: .*Expected 3 columns"),
        ("", r"a.csv: cannot be read as a CSV table: Empty CSV file"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_columns(path, ("hit_id", "x", "y"))


def test_truncated_archive_is_refused(tmp_path):
    write_event(tmp_path, random_event(1, num_tracks=200), ".csv.gz")
    path = tmp_path / "event000000007-hits.csv.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"hits.csv.gz: cannot be read as a CSV table"):
        CsvEvents(tmp_path).read(7)


def test_identifiers_keep_all_their_bits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"particle_id\n{2**62 + 1}\n")
    assert read_columns(path, ("particle_id",))["particle_id"].tolist() == [2**62 + 1]


def test_real_event_is_read_whole(data_dir):
    source = CsvEvents(data_dir("hypertrack") / "trackml_real_5pct")
    event = source.read(1)
    assert event.num_hits == 5527
    assert np.count_nonzero(event.label < 0) == 829
    assert event.num_tracks == 468
    assert event.hit_id[0] == 6
    assert np.any(np.diff(event.hit_id) > 1)
    cells = source.cells(1)
    assert len(cells["hit_id"]) == 18564
    assert set(cells["hit_id"]) <= set(event.hit_id)
    signal = event.label >= 0
    away = np.linalg.norm(source.true_positions(1) - event.position, axis=1)
    assert np.median(away[signal]) < 0.2
