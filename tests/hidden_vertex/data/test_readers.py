"""LHC Olympics files: every filter, every fault, and the real rows."""

import pickle
import subprocess
import sys
from typing import Any

import h5py
import numpy as np
import pytest

from jaxphys.hidden_vertex.data.readers import open_lhco, open_source
from jaxphys.hidden_vertex.physics.events import iterate, join_events
from jaxphys.hidden_vertex.physics.graphs import particles_of_rows
from tests.hidden_vertex.samples import COMPRESSION, lhco_rows, write_lhco

SIZES = [3, 0, 700, 1, 12, 40, 0, 9]


@pytest.fixture
def rows():
    return lhco_rows(SIZES)


@pytest.mark.parametrize("compression", COMPRESSION)
@pytest.mark.parametrize("read_rows", [3, 4096])
def test_official_layout_is_read_exactly(tmp_path, rows, compression, read_rows):
    source = open_source(write_lhco(tmp_path / "a.h5", rows, compression))
    assert source.num_rows == len(SIZES)
    assert source.labelled
    events = join_events(list(iterate(source, read_rows=read_rows)))
    particles, _ = particles_of_rows(rows)
    np.testing.assert_array_equal(events.particles, particles)
    assert events.particles.dtype == np.float32
    np.testing.assert_array_equal(np.diff(events.offset), [3, 700, 1, 12, 40, 9])
    np.testing.assert_array_equal(events.event_id, [0, 2, 3, 4, 5, 7])
    np.testing.assert_array_equal(events.empty_id, [1, 6])
    np.testing.assert_array_equal(events.label, rows[[0, 2, 3, 4, 5, 7], -1])


def test_zero_slots_between_particles_are_removed(tmp_path, rows):
    rows[0, 3:6] = 0
    events = open_source(write_lhco(tmp_path / "a.h5", rows)).read(0, 1)
    expected = rows[0, [0, 1, 2, 6, 7, 8]].reshape(2, 3)
    np.testing.assert_array_equal(events.particles, expected)


def test_row_numbers_of_the_file_are_kept(tmp_path, rows):
    path = write_lhco(tmp_path / "a.h5", rows, index=10 * np.arange(len(rows)))
    np.testing.assert_array_equal(open_source(path).read(2, 5).event_id, [20, 30, 40])


def test_source_can_be_sent_to_another_process(tmp_path, rows):
    source = open_source(write_lhco(tmp_path / "a.h5", rows))
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(0, 8).offset, source.read(0, 8).offset)
    assert again.describe() == source.describe()
    assert source.describe()["rows"] == len(SIZES)


def test_another_key_is_read_and_a_missing_one_named(tmp_path, rows):
    path = write_lhco(tmp_path / "a.h5", rows, key="other")
    assert open_lhco(path, key="other").num_rows == len(SIZES)
    with pytest.raises(ValueError, match=r"expected df/block0_values .* 'other'"):
        open_source(path)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (4, 7, np.nan, r"row 4, column 7 \(eta of particle 2\): expected a finite"),
        (2, 2098, np.inf, r"row 2, column 2098 \(eta of particle 699\): .* got inf"),
        (5, 3, -1.0, r"row 5, column 3 \(pT of particle 1\): expected pT >= 0, got -1"),
        (7, 2100, 2.0, r"row 7, column 2100 \(label\): expected 0 or 1, got 2.0"),
        (7, 2100, np.nan, r"row 7, column 2100 \(label\): expected a finite"),
    ],
)
@pytest.mark.parametrize("read_rows", [3, 100])
def test_bad_values_name_file_row_and_column(
    tmp_path, rows, row, column, value, message, read_rows
):
    rows[row, column] = value
    source = open_source(write_lhco(tmp_path / "bad.h5", rows))
    with pytest.raises(ValueError, match=rf"bad\.h5: {message}"):
        list(iterate(source, read_rows=read_rows))


def test_negative_eta_and_phi_are_good_values(tmp_path, rows):
    rows[0, 1:3] = -3.0
    events = open_source(write_lhco(tmp_path / "a.h5", rows)).read(0, 1)
    np.testing.assert_array_equal(events.particles[0, 1:], [-3, -3])


@pytest.mark.parametrize("columns", [2099, 2102, 15])
def test_wrong_column_count_is_refused(tmp_path, columns):
    path = write_lhco(tmp_path / "a.h5", np.zeros((4, columns)))
    for allow in (False, True):
        with pytest.raises(ValueError, match=f"expected 2101 columns .*4, {columns}"):
            open_source(path, allow)


def test_missing_label_is_accepted_for_prediction_only(tmp_path, rows):
    path = write_lhco(tmp_path / "a.h5", rows[:, :2100])
    with pytest.raises(ValueError, match=r"column 2100 \(label\) is missing"):
        open_source(path)
    source = open_source(path, allow_unlabelled=True)
    assert not source.labelled
    events = source.read(0, 8)
    assert events.label is None
    assert len(events) == 6


def test_columns_in_another_order_are_refused(tmp_path, rows):
    path = write_lhco(tmp_path / "a.h5", rows)
    with h5py.File(path, "r+") as file:
        items: Any = file["df/block0_items"]
        items[:2] = [1, 0]
    with pytest.raises(ValueError, match="block0_items: expected the columns 0 to"):
        open_source(path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path, part):
    whole = write_lhco(tmp_path / "a.h5", lhco_rows([700] * 20)).read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.h5.*truncated"):
        list(iterate(open_source(path)))


def test_damaged_rows_are_named(tmp_path):
    path = write_lhco(tmp_path / "a.h5", lhco_rows([700] * 9), "gzip")
    with h5py.File(path) as file:
        chunk = file["df/block0_values"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    start = chunk.byte_offset
    content[start : start + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    source = open_source(path)
    assert len(source.read(0, 3)) == 3
    with pytest.raises(ValueError, match="rows 3 to 6: cannot be read"):
        source.read(3, 6)


def test_missing_filter_names_hdf5plugin(tmp_path, rows):
    path = write_lhco(tmp_path / "a.h5", rows, "blosc")
    program = (
        "import sys; sys.modules['hdf5plugin'] = None\n"
        "from jaxphys.hidden_vertex.data.readers import open_source\n"
        "open_source(sys.argv[1])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "ValueError" in ran.stderr
    assert "HDF5 filter 32001 (Blosc), which is not installed" in ran.stderr
    assert "pip install hdf5plugin" in ran.stderr


def test_gzip_filter_needs_no_plugin(tmp_path, rows, monkeypatch):
    path = write_lhco(tmp_path / "a.h5", rows, "gzip")
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    assert open_source(path).read(0, 8).particles.shape == (765, 3)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none\.h5: cannot be read: No such file"):
        open_source(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("pt,eta,phi\n")
    with pytest.raises(ValueError, match="expected an HDF5 file or a ragged Parquet"):
        open_source(tmp_path / "text.h5")
    (tmp_path / "packed.h5").write_bytes(b"\x1f\x8b\x08\x00" * 10)
    with pytest.raises(ValueError, match="packed with gzip: unpack it"):
        open_source(tmp_path / "packed.h5")


def test_real_rows_are_read(data_dir):
    source = open_source(data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5")
    events = join_events(list(iterate(source, read_rows=128)))
    assert len(events) == 500
    np.testing.assert_array_equal(events.event_id, np.arange(0, 1000, 2))
    np.testing.assert_array_equal(np.bincount(np.asarray(events.label)), [452, 48])
    assert events.offset[1] == 109
    assert len(events.empty_id) == 0
