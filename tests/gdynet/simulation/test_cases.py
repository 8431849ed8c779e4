"""Recorded trajectories of the cases with known answers."""

import json

import numpy as np
import pytest

from jaxphys.gdynet.data.dataset import all_pairs, from_arrays
from jaxphys.gdynet.physics import exact
from jaxphys.gdynet.simulation.cases import is_case, read_case


def write(path, meta, **arrays):
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    return path


def test_lithium_file(data_dir):
    path = data_dir("gdynet") / "li_fcc.npz"
    assert is_case(path)
    case = read_case(path, trajectories=3, step=200)
    data = from_arrays(case.arrays)
    assert data.lengths.tolist() == [10] * 3
    assert case.frame_time == pytest.approx(20.0)
    with np.load(path) as found:
        fraction = found["li_frac"][:3, ::200].reshape(-1, 3) / 65536
        sulphur, meta = found["sulphur"], json.loads(str(found["meta"]))
    box = 6.0 * fraction[:, None] - sulphur
    nearest = np.linalg.norm(box - 6 * np.round(box / 6), axis=-1).min(axis=1)
    np.testing.assert_allclose(case.arrays["nbr_dists"][:, 4, 0], nearest, atol=1e-5)
    recorded = meta["exact_environment_timescale"]
    assert case.timescales[0] == pytest.approx(recorded, rel=0.005)


def test_dipole_file(data_dir):
    path = data_dir("gdynet") / "ferro_b4.npz"
    case = read_case(path, trajectories=5, step=10)
    data = from_arrays(case.arrays, directions=True)
    assert data.lengths.tolist() == [125] * 5
    assert data.static("nbr_lists").shape == (1, 40, 12)
    with np.load(path) as found:
        z = found["dipole_z"][:5, ::10].astype(np.float32).reshape(-1, 8)
        recorded = json.loads(str(found["meta"]))["exact_timescales"]
    read = data.read("directions", np.arange(data.num_frames))
    np.testing.assert_array_equal(read[:, data.target_index, 2], z)
    np.testing.assert_allclose(case.timescales, recorded, rtol=2e-4)


def test_prinz_file(data_dir):
    path = data_dir("gdynet") / "prinz.npz"
    case = read_case(path, trajectories=20)
    data = from_arrays(case.arrays)
    assert data.lengths.tolist() == [10000] * 20
    assert all_pairs(data, 5).size == 20 * 9995
    with np.load(path) as found:
        meta = json.loads(str(found["meta"]))
        x = found["x"][:20].astype(np.float64)
    expected = (2 * x + 3).reshape(-1)
    np.testing.assert_allclose(case.arrays["nbr_dists"][:, 0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(case.timescales, meta["exact_timescales"][:3], rtol=1e-4)
    basin = np.searchsorted(exact.prinz_edges(), x)
    weights = np.bincount(basin.ravel(), minlength=4) / x.size
    np.testing.assert_allclose(weights, case.populations, atol=0.05)


def test_alanine_file(data_dir):
    case = read_case(data_dir("gdynet") / "alanine_first_half.npz")
    data = from_arrays(case.arrays, directions=True)
    assert data.num_frames == 5000
    assert data.num_neighbours == 4
    assert len(set(data.atom_types.tolist())) == 5
    assert case.timescales[0] == pytest.approx(66, abs=1)
    bond = case.arrays["nbr_dists"][:, :, 0]
    assert 1.2 < bond.min() < bond.max() < 1.8  # no molecule is cut by a box
    sine = case.arrays["atom_directions"][:, 0, 0]
    assert np.abs(sine).max() <= 1


def test_other_files_are_no_cases(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert not is_case(tmp_path / "a.npz")
    assert not is_case(tmp_path)
    with pytest.raises(ValueError, match=r"a\.npz: expected an array meta"):
        read_case(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="case 'E': expected one of A, B, C, D"):
        read_case(write(tmp_path / "b.npz", {"case": "E"}))
    with pytest.raises(ValueError, match="case A without array 'li_frac'"):
        read_case(write(tmp_path / "c.npz", {"case": "A"}))
    with pytest.raises(ValueError, match="trajectories, step"):
        read_case(tmp_path / "c.npz", step=0)
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_case(tmp_path / "none.npz")
