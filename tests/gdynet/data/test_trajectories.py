"""Files of molecular dynamics through ASE and MDAnalysis, targets, and centring."""

import importlib
import pickle

import numpy as np
import pytest

from jaxphys.gdynet.data import trajectories as module
from jaxphys.gdynet.data.trajectories import (
    ArrayFrames,
    cell_of_lengths,
    centre,
    make_whole,
    open_npz_frames,
    open_trajectory,
    parse_targets,
)
from jaxphys.gdynet.physics.cells import minimum_image

TYPES = np.array([22, 8, 8, 3])


def written_by_ase(path, frames=5, pbc=True):
    ase = pytest.importorskip("ase")
    write = pytest.importorskip("ase.io").write
    random = np.random.default_rng(0)
    cell = np.array([[6.0, 0, 0], [1, 6, 0], [0, 1, 7]])
    positions = random.uniform(0, 6, (frames, 4, 3))
    images = [
        ase.Atoms(numbers=TYPES, positions=p, cell=cell if pbc else None, pbc=pbc)
        for p in positions
    ]
    write(path, images)
    return positions, cell


@pytest.mark.parametrize("name", ["run.extxyz", "run.traj"])
def test_ase_files_are_read_in_pieces(tmp_path, name):
    positions, cell = written_by_ase(tmp_path / name)
    source = open_trajectory(tmp_path / name)
    assert source.num_frames == 5
    assert source.atom_types.tolist() == TYPES.tolist()
    read, cells = source.read(1, 4)
    np.testing.assert_allclose(read, positions[1:4], atol=1e-6)
    np.testing.assert_allclose(cells, np.stack([cell] * 3), atol=1e-6)
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(1, 4)[0], read)
    assert source.describe()["frames"] == 5
    with pytest.raises(ValueError, match="read by ASE"):
        source.select("name O")


def test_file_without_a_cell_has_none(tmp_path):
    written_by_ase(tmp_path / "run.extxyz", pbc=False)
    assert open_trajectory(tmp_path / "run.extxyz").read(0, 2)[1] is None


def test_mdanalysis_reads_topology_positions_cells_and_selections(tmp_path):
    mda = pytest.importorskip("MDAnalysis")
    random = np.random.default_rng(1)
    positions = random.uniform(0, 8, (6, 4, 3)).astype(np.float32)
    dimensions = np.array([8.0, 9, 10, 80, 95, 100])
    line = (
        "HETATM{0:5d} {1:>4s} ALL A   1       0.000   0.000   0.000  1.00  0.00"
        "          {1:>2s}  \n"
    )
    symbols = ["Ti", "O", "O", "Li"]
    atoms = [line.format(i + 1, s) for i, s in enumerate(symbols)]
    (tmp_path / "top.pdb").write_text("".join(atoms) + "END\n")
    universe = mda.Universe.empty(4, trajectory=True)
    universe.load_new(positions, order="fac", dimensions=dimensions)
    with mda.Writer(str(tmp_path / "run.xtc"), 4) as writer:
        for _ in universe.trajectory:
            writer.write(universe.atoms)
    source = open_trajectory(tmp_path / "run.xtc", tmp_path / "top.pdb")
    assert source.num_frames == 6
    assert source.atom_types.tolist() == [22, 8, 8, 3]
    read, cells = source.read(2, 5)
    np.testing.assert_allclose(read, positions[2:5], atol=0.02)  # xtc rounds
    np.testing.assert_allclose(cells[0], cell_of_lengths(dimensions), atol=1e-3)
    assert source.select("name O").tolist() == [1, 2]
    assert parse_targets("selection:name Li", TYPES, source.select).tolist() == [3]
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(2, 5)[0], read)


@pytest.mark.parametrize(
    ("library", "package"), [("ase", "ase.io"), ("mdanalysis", "MDAnalysis")]
)
def test_library_that_is_not_there_names_the_extra(
    tmp_path, monkeypatch, library, package
):
    (tmp_path / "run.xyz").write_text("")
    load = importlib.import_module

    def refuse(name, *rest):
        if name == package:
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(module.importlib, "import_module", refuse)
    with pytest.raises(ImportError, match=r"run\.xyz.*jaxphys\[md\]"):
        open_trajectory(tmp_path / "run.xyz", library=library)


def test_files_that_are_missing_or_unreadable_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.xtc, .*b\.pdb"):
        open_trajectory(tmp_path / "a.xtc", tmp_path / "b.pdb")
    (tmp_path / "a.xyz").write_text("no number")
    with pytest.raises(ValueError, match="library='x'"):
        open_trajectory(tmp_path / "a.xyz", library="x")
    pytest.importorskip("ase")
    with pytest.raises(ValueError, match=r"a\.xyz: ASE cannot read it"):
        open_trajectory(tmp_path / "a.xyz")


def test_order_of_atoms_must_not_change(tmp_path):
    ase = pytest.importorskip("ase")
    write = pytest.importorskip("ase.io").write
    frames = [ase.Atoms(n, positions=np.eye(3)) for n in ("TiO2", "TiO2", "O2Ti")]
    write(tmp_path / "run.extxyz", frames)
    source = open_trajectory(tmp_path / "run.extxyz")
    with pytest.raises(ValueError, match="frame 2: expected the atoms of frame 0"):
        source.read(1, 3)


def test_arrays_are_a_source():
    positions = np.arange(24.0).reshape(2, 4, 3)
    for cells in (np.eye(3), np.stack([np.eye(3)] * 2)):
        source = ArrayFrames(positions, cells, TYPES)
        read, found = source.read(1, 2)
        np.testing.assert_array_equal(read, positions[1:])
        assert found.shape == (1, 3, 3)
    assert ArrayFrames(positions, None, TYPES).read(0, 1)[1] is None
    with pytest.raises(ValueError, match="MDAnalysis"):
        source.select("all")


def test_archive_of_coordinates(tmp_path):
    arrays = {
        "traj_coords": np.random.default_rng(0).random((3, 4, 3)),
        "lattices": np.stack([5.0 * np.eye(3)] * 3),
        "atom_types": TYPES,
        "target_index": np.array([3]),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    source, targets = open_npz_frames(tmp_path / "a.npz")
    assert targets.tolist() == [3]
    np.testing.assert_array_equal(source.read(0, 3)[0], arrays["traj_coords"])
    np.savez(tmp_path / "b.npz", **{**arrays, "lattices": np.full((3, 3), 5.0)})
    _, cells = open_npz_frames(tmp_path / "b.npz")[0].read(0, 3)
    np.testing.assert_array_equal(cells, np.stack([5.0 * np.eye(3)] * 3))
    for change, message in (
        ({"atom_types": TYPES[:3]}, r"traj_coords\]: expected \[frames, 3, 3\]"),
        ({"lattices": np.zeros((2, 3, 3))}, r"lattices\]: expected \[3, 3, 3\]"),
    ):
        np.savez(tmp_path / "c.npz", **{**arrays, **change})
        with pytest.raises(ValueError, match=message):
            open_npz_frames(tmp_path / "c.npz")
    del arrays["lattices"]
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(FileNotFoundError, match="lattices"):
        open_npz_frames(tmp_path / "d.npz")


def test_targets_by_element_and_index():
    assert parse_targets("element:O", TYPES).tolist() == [1, 2]
    assert parse_targets("index:3,0", TYPES).tolist() == [3, 0]
    for text, message in (
        ("element:H", "there are Li, O, Ti"),
        ("index:4", "from 0 to 3, got 4"),
        ("index:a", "whole numbers"),
        ("Li", "expected element:Li"),
        ("selection:name O", "expected element:Li"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_targets(text, TYPES)
    with pytest.raises(ValueError, match="no atom is selected"):
        parse_targets("selection:x", TYPES, lambda text: np.zeros(0))


def test_cell_of_lengths_and_angles():
    np.testing.assert_array_equal(
        cell_of_lengths(np.array([2.0, 3, 4, 90, 90, 90])), np.diag([2.0, 3, 4])
    )
    cell = cell_of_lengths(np.array([2.0, 3, 4, 80, 95, 110]))
    lengths = np.linalg.norm(cell, axis=1)
    np.testing.assert_allclose(lengths, [2, 3, 4])
    cosines = (cell / lengths[:, None]) @ (cell / lengths[:, None]).T
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    np.testing.assert_allclose(angles, [80, 95, 110])


def test_molecule_across_the_boundary_is_joined():
    cell = np.array([[8.0, 0, 0], [2, 8, 0], [0, 0, 9]])
    random = np.random.default_rng(2)
    chain = np.cumsum(random.normal(0, 0.8, (2, 7, 3)), axis=1)
    cut = chain + random.integers(-3, 3, (2, 7, 3)) @ cell
    whole = make_whole(cut, np.stack([cell] * 2))
    bonds = np.diff(whole, axis=1)
    np.testing.assert_allclose(bonds, np.diff(chain, axis=1), atol=1e-9)
    np.testing.assert_array_equal(whole[:, 0], cut[:, 0])


def test_centred_atoms_lie_around_the_origin_and_no_distance_changes():
    cell = np.diag([8.0, 9, 10])
    random = np.random.default_rng(3)
    positions = random.uniform(-20, 20, (2, 6, 3))
    positions[:, 1] = positions[:, 0] + 1
    cells = np.stack([cell] * 2)
    moved = centre(positions, cells, np.array([0, 1]))
    np.testing.assert_allclose(moved[:, :2].mean(axis=1), 0, atol=1e-9)
    for f in range(2):
        one = minimum_image(positions[f, :, None] - positions[f], cell)
        two = minimum_image(moved[f, :, None] - moved[f], cell)
        lengths = (np.linalg.norm(d, axis=-1) for d in (one, two))
        np.testing.assert_allclose(*lengths, atol=1e-9)
    assert np.all(np.abs(moved) <= [4.5, 5, 5.5])
    free = centre(positions, None, np.array([0, 1]))
    np.testing.assert_allclose(free, positions - positions[:, :2].mean(1)[:, None])
