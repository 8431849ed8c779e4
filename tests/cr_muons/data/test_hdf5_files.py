"""HDF5 files hold the same events; there an empty one is a muon of energy 0."""

import h5py
import numpy as np
import pytest

from jaxphys.cr_muons.data.hdf5_files import open_hdf5, write_hdf5
from jaxphys.cr_muons.physics.events import make_events
from tests.cr_muons.samples import assert_same, draw_events, truncate

# numbers of showers are held as float32 there
EVENTS = make_events(
    draw_events(40).primaries,
    draw_events(40).num_muons,
    draw_events(40).muons,
    np.stack([np.full(40, 3), np.arange(40) // 4], axis=1),
)


@pytest.fixture
def path(tmp_path):
    write_hdf5(str(tmp_path / "a.h5"), EVENTS)
    return str(tmp_path / "a.h5")


def test_a_file_gives_back_its_events(path):
    assert (EVENTS.num_muons == 0).sum() > 5
    assert (EVENTS.num_muons == 1).sum() > 1
    with h5py.File(path) as file:  # what the format says
        counts, muons, primaries = (
            np.asarray(file[name]) for name in ("counts", "muons", "primaries")
        )
    assert counts.min() == 1
    assert muons.shape == (counts.sum(), 6)
    assert primaries.shape == (40, 7)
    assert_same(open_hdf5(path).read(0, 40), EVENTS)


def test_any_range_is_read(path):
    file = open_hdf5(path)
    for start, stop in ((0, 1), (7, 23), (39, 40), (5, 5)):
        assert_same(file.read(start, stop), EVENTS.rows(start, stop))
    assert file.group_start.tolist() == [0, 40]


def test_one_muon_of_zero_energy_among_others_stays(tmp_path):
    events = make_events([[1e5, 0.1, 1, 1e3]] * 2, [2, 0], [[0, 1, 1], [5, 1, 1]])
    write_hdf5(str(tmp_path / "a.h5"), events)
    assert open_hdf5(str(tmp_path / "a.h5")).read(0, 2).num_muons.tolist() == [2, 0]


def test_a_truncated_or_missing_file_is_named(path, tmp_path):
    truncate(path, 0.4)
    with pytest.raises(ValueError, match=r"a.h5: not a whole HDF5 file"):
        open_hdf5(path)
    with pytest.raises(ValueError, match=r"b.h5: no such file"):
        open_hdf5(str(tmp_path / "b.h5"))


def test_arrays_that_do_not_fit_are_named(tmp_path):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["primaries"] = np.zeros((2, 7), np.float32)
        file["muons"] = np.zeros((3, 6), np.float32)
    with pytest.raises(ValueError, match=r"a.h5: arrays missing: counts"):
        open_hdf5(path)
    with h5py.File(path, "a") as file:
        file["counts"] = np.array([1, 1])
    with pytest.raises(ValueError, match=r"a.h5: muons: expected shape \(2, 6\)"):
        open_hdf5(path)
    with h5py.File(path, "a") as file:
        del file["counts"]
        file["counts"] = np.array([4, -1])
    with pytest.raises(ValueError, match=r"a.h5: row 1, counts: expected >= 0, got -1"):
        open_hdf5(path)


def test_a_negative_shower_is_named(path):
    with h5py.File(path, "a") as file:
        primaries = np.array(file["primaries"])
        primaries[5, 1] = -2
        del file["primaries"]
        file["primaries"] = primaries
    with pytest.raises(ValueError, match=r"a.h5: row 5, column primaries"):
        open_hdf5(path).read(0, 40)
