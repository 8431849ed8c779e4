"""All is known before training: counts, showers, and every wrong row."""

import os
import pathlib

import numpy as np
import pytest

from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.parquet_files import ParquetEvents
from jaxphys.cr_muons.data.splits import is_validation
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import make_events
from tests.cr_muons.samples import draw_events, truncate, write_files


def spoiled(row, value):
    events = draw_events(50)
    primaries = events.primaries.copy()
    primaries[row, 0] = value
    return make_events(primaries, events.num_muons, events.muons, events.showers)


def test_counts_and_split_are_those_of_the_rows(tmp_path):
    paths, events = write_files(tmp_path, 50, 33)
    index = scan(paths)
    for file, expected in zip(index.files, events, strict=True):
        np.testing.assert_array_equal(file.num_muons, expected.num_muons)
        np.testing.assert_array_equal(
            file.validation(0.4, 5), is_validation(expected.showers, 0.4, 5)
        )
        assert file.has_showers
        assert len(file.run_start) < len(expected) / 3
    assert index.num_rows == 83
    counts = np.concatenate([e.num_muons for e in events])
    assert index.facts == {
        "files": 2,
        "events": 83,
        "muons": counts.sum(),
        "empty": (counts == 0).sum(),
        "most_muons": counts.max(),
        "bad_rows": 0,
    }


def test_a_truncated_file_is_named_before_any_row_is_read(tmp_path, monkeypatch):
    paths, _ = write_files(tmp_path, 20, 20, 20)
    truncate(paths[2])
    monkeypatch.delattr(ParquetEvents, "read")
    with pytest.raises(ValueError, match=r"events_2.parquet: not a whole Parquet file"):
        scan(paths)


@pytest.mark.parametrize("value", [-5.0, np.nan, np.inf, 0.0])
def test_a_bad_row_is_named(tmp_path, value):
    path = str(write_events(tmp_path / "a.parquet", spoiled(43, value), 20))
    with pytest.raises(ValueError, match=r"a.parquet: row 43, column primary, energy"):
        scan([path])


def test_bad_rows_can_be_set_aside(tmp_path):
    path = str(write_events(tmp_path / "a.parquet", spoiled([4, 43], -1), 20))
    index = scan([path], bad_rows="set_aside")
    assert index.files[0].bad.tolist() == [4, 43]
    assert index.facts["bad_rows"] == 2
    with pytest.raises(ValueError, match="bad_rows: expected raise or set_aside"):
        scan([path], bad_rows="ignore")


def test_no_events_are_an_error(tmp_path):
    path = str(write_events(tmp_path / "a.parquet", draw_events(5).rows(0, 0)))
    with pytest.raises(ValueError, match=r"a.parquet: expected events, got none"):
        scan([path])


def test_the_index_is_kept_for_a_file_that_does_not_change(tmp_path, monkeypatch):
    paths, _ = write_files(tmp_path, 50, 20)
    first = scan(paths, index_dir=tmp_path / "index")
    with monkeypatch.context() as patch:
        patch.delattr(ParquetEvents, "read")
        again = scan(paths, index_dir=tmp_path / "index")
    assert again.facts == first.facts
    for a, b in zip(first.files, again.files, strict=True):
        np.testing.assert_array_equal(a.num_muons, b.num_muons)
        np.testing.assert_array_equal(a.validation(0.3, 1), b.validation(0.3, 1))
    write_events(paths[1], draw_events(20, seed=9))
    os.utime(paths[1], ns=(0, 0))
    changed = scan(paths, index_dir=tmp_path / "index")
    np.testing.assert_array_equal(
        changed.files[1].num_muons, draw_events(20, seed=9).num_muons
    )


def test_a_damaged_index_is_made_again_and_bad_rows_still_raise(tmp_path):
    path = str(write_events(tmp_path / "a.parquet", spoiled(3, -1)))
    folder = tmp_path / "index"
    scan([path], index_dir=folder, bad_rows="set_aside")
    with pytest.raises(ValueError, match="row 3"):
        scan([path], index_dir=folder)
    (held,) = pathlib.Path(folder).iterdir()
    held.write_bytes(b"PK")
    index = scan([path], index_dir=folder, bad_rows="set_aside")
    assert index.num_bad == 1


def test_a_fraction_out_of_range_is_refused(tmp_path):
    index = scan(write_files(tmp_path, 5)[0])
    assert index.files[0].validation(1.0, 0).all()
    assert not index.files[0].validation(0.0, 0).any()
    with pytest.raises(ValueError, match="val_fraction"):
        index.files[0].validation(-0.1, 0)


def test_the_fingerprint_tells_data_apart(tmp_path):
    paths, events = write_files(tmp_path, 30, 20)
    first = scan(paths).fingerprint
    assert scan(paths).fingerprint == first
    assert scan(paths[::-1]).fingerprint != first
    assert scan(paths[:1]).fingerprint != first
    write_events(paths[1], events[1].select(np.arange(20)[::-1]))
    assert scan(paths).fingerprint != first
