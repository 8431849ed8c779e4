"""From positions and cells to the folder: in chunks, parallel, resumable."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from jaxphys.gdynet.data import prepare as module
from jaxphys.gdynet.data.dataset import open_trajectories
from jaxphys.gdynet.data.directions import Displacement
from jaxphys.gdynet.data.prepare import Recipe, prepare, write_folder
from jaxphys.gdynet.data.trajectories import ArrayFrames
from jaxphys.gdynet.physics.neighbours import neighbours
from tests.gdynet.oracles import arrays_of

TARGETS = np.array([1, 2])


def source(frames=7, atoms=12):
    random = np.random.default_rng(0)
    positions = random.uniform(0, 8, (frames, atoms, 3))
    types = np.where(np.arange(atoms) < 3, 22, 8)
    return ArrayFrames(positions, 8 * np.eye(3), types)


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(pathlib.Path(folder).iterdir())}


def test_folder_holds_the_neighbours_of_every_frame(tmp_path):
    data = source()
    folder = prepare(data, TARGETS, tmp_path / "run", Recipe(n_nbrs=6), chunk=3)
    found = open_trajectories(folder)
    expected = neighbours(data.positions, data.cells, 6, 7.0)
    every = np.arange(7)
    np.testing.assert_array_equal(found.read("nbr_lists", every), expected.lists)
    np.testing.assert_array_equal(found.read("nbr_dists", every), expected.dists)
    assert found.target_index.tolist() == [1, 2]
    assert found.atom_types.tolist() == data.atom_types.tolist()
    assert np.load(folder / "nbr_lists.npy", mmap_mode="r").dtype == np.int32
    assert not list(tmp_path.glob(".*"))


def test_result_does_not_depend_on_chunks_or_workers(tmp_path):
    recipe = Recipe(n_nbrs=5, directions=Displacement("Ti", "O", 4))
    prepare(source(), TARGETS, tmp_path / "a", recipe, chunk=7)
    prepare(source(), TARGETS, tmp_path / "b", recipe, chunk=2, workers=2)
    one, two = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert "atom_directions.npy" in one
    for name in one.keys() - {"about.json"}:
        assert one[name] == two[name], name


def test_interrupted_call_goes_on_where_it_stopped(tmp_path, monkeypatch):
    write, written = module.write_chunk, []

    def fail_at(limit):
        def chunk(source, recipe, partial, start, stop):
            if len(written) == limit:
                raise KeyboardInterrupt
            written.append(start)
            return write(source, recipe, partial, start, stop)

        monkeypatch.setattr(module, "write_chunk", chunk)

    fail_at(2)
    with pytest.raises(KeyboardInterrupt):
        prepare(source(), TARGETS, tmp_path / "run", Recipe(n_nbrs=4), chunk=2)
    assert not (tmp_path / "run").exists()
    fail_at(99)
    prepare(source(), TARGETS, tmp_path / "run", Recipe(n_nbrs=4), chunk=2)
    assert written == [0, 2, 4, 6]
    monkeypatch.setattr(module, "write_chunk", write)
    prepare(source(), TARGETS, tmp_path / "whole", Recipe(n_nbrs=4), chunk=2)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_equal_call_is_answered_and_another_one_refused(tmp_path):
    folder = prepare(source(), TARGETS, tmp_path / "run", Recipe(n_nbrs=4))
    before = contents(folder)
    prepare(source(), TARGETS, folder, Recipe(n_nbrs=4))
    assert contents(folder) == before
    with pytest.raises(
        ValueError, match=r"made differently.*n_nbrs: expected 5, got 4"
    ):
        prepare(source(), TARGETS, folder, Recipe(n_nbrs=5))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        prepare(source(), TARGETS, tmp_path / "other")


def test_too_few_neighbours_names_the_frame_of_the_whole(tmp_path):
    data = source()
    data.positions[5] *= 0.0
    data.positions[5, 3] = 4.0  # alone in the middle of the cell
    recipe = Recipe(n_nbrs=4, radius=5.0)
    with pytest.raises(ValueError, match="frame 5, atom 3: 0 neighbours"):
        prepare(data, TARGETS, tmp_path / "run", recipe, chunk=2)


def test_directions_may_come_from_a_file(tmp_path):
    directions = np.random.default_rng(1).normal(size=(7, 12, 3)).astype(np.float32)
    np.save(tmp_path / "d.npy", directions)
    recipe = Recipe(n_nbrs=4, directions=tmp_path / "d.npy")
    folder = prepare(source(), TARGETS, tmp_path / "run", recipe, chunk=3)
    found = open_trajectories(folder, directions=True)
    np.testing.assert_array_equal(found.read("directions", np.arange(7)), directions)
    np.save(tmp_path / "d.npy", directions[:6])
    with pytest.raises(ValueError, match=r"d\.npy: expected shape \(7, 12, 3\)"):
        prepare(source(), TARGETS, tmp_path / "new", recipe)


def test_centring_does_not_change_the_neighbours(tmp_path):
    plain = prepare(source(), TARGETS, tmp_path / "a", Recipe(n_nbrs=5))
    moved = Recipe(n_nbrs=5, centre=(0, 1))
    moved = prepare(source(), TARGETS, tmp_path / "b", moved)
    one, two = (np.load(f / "nbr_dists.npy") for f in (plain, moved))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_molecule_is_looked_at_without_its_box(tmp_path):
    chain = np.cumsum(np.random.default_rng(4).normal(0, 0.8, (3, 5, 3)), axis=1)
    cut = chain - 8.0 * np.floor(chain / 8.0)
    data = ArrayFrames(cut, 8.0 * np.eye(3), np.full(5, 6))
    recipe = Recipe(n_nbrs=4, radius="auto", pbc=False, unwrap=(0, 1, 2, 3, 4))
    folder = prepare(data, np.array([2]), tmp_path / "run", recipe)
    expected = neighbours(chain, None, 4, "auto")
    np.testing.assert_allclose(
        np.load(folder / "nbr_dists.npy"), expected.dists, atol=1e-5
    )


def test_arguments_are_checked(tmp_path):
    for target in ([], [12], [-1]):
        with pytest.raises(ValueError, match="targets from 0 to 11"):
            prepare(source(), np.array(target, int), tmp_path / "run")
    with pytest.raises(ValueError, match="workers"):
        prepare(source(), TARGETS, tmp_path / "run", workers=0)
    refused: list[dict[str, Any]] = [
        {"n_nbrs": 0},
        {"backend": "x"},
        {"radius": -1.0},
    ]
    for options in refused:
        with pytest.raises(ValueError, match="expected"):
            Recipe(**options)


def test_arrays_in_memory_become_a_folder(tmp_path):
    arrays = {**arrays_of(), "trajectory_lengths": np.array([4, 5])}
    arrays["nbr_lists"] = arrays["nbr_lists"].astype(np.uint8)
    folder = write_folder(tmp_path / "run", arrays, {"seed": 3})
    data = open_trajectories(folder)
    assert data.lengths.tolist() == [4, 5]
    found = data.read("nbr_lists", np.arange(9))
    np.testing.assert_array_equal(found, arrays["nbr_lists"])
    assert np.load(folder / "nbr_lists.npy").dtype == np.int32
    assert json.loads((folder / "about.json").read_text())["seed"] == 3
