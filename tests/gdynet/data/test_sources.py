"""Folders, lists of files and archives give the same frames, and read no more."""

import numpy as np
import pytest

from jaxphys.gdynet.data.sources import (
    MinimumImageDistances,
    load_npy,
    map_npz,
    open_npz,
    open_sources,
)
from jaxphys.gdynet.physics.neighbours import neighbours
from tests.gdynet.oracles import arrays_of, brute_force, write_arrays


def same(source, arrays):
    assert np.array_equal(source.atom_types, arrays["atom_types"])
    assert np.array_equal(source.target_index, arrays["target_index"])
    for name, array in source.large.items():
        assert np.array_equal(np.asarray(array[:]), arrays[name])
    return True


def test_folder_list_of_files_and_archive_hold_the_same(tmp_path):
    arrays = arrays_of(directions=True)
    paths = write_arrays(tmp_path / "run", arrays)
    np.savez(tmp_path / "run.npz", **arrays)
    for places in (tmp_path / "run", paths, str(tmp_path / "run.npz")):
        (source,) = open_sources(places, directions=True)
        assert same(source, arrays)
        assert source.num_frames == 9
        assert source.lengths.tolist() == [9]
    both = open_sources([tmp_path / "run", tmp_path / "run.npz"])
    assert [s.num_frames for s in both] == [9, 9]


def test_large_arrays_are_mapped_not_read(tmp_path):
    arrays = arrays_of(frames=3000, directions=True)
    write_arrays(tmp_path / "run", arrays)
    np.savez(tmp_path / "run.npz", **arrays)
    for place in (tmp_path / "run", tmp_path / "run.npz"):
        (source,) = open_sources(place)
        for name, array in source.large.items():
            assert isinstance(array, np.memmap), (place, name)
        assert same(source, arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    assert same(open_npz(tmp_path / "packed.npz"), arrays)


def test_several_trajectories_may_lie_in_one_folder(tmp_path):
    arrays = {**arrays_of(), "trajectory_lengths": np.array([4, 5])}
    write_arrays(tmp_path, arrays)
    np.save(tmp_path / "trajectory_lengths.npy", arrays["trajectory_lengths"])
    (source,) = open_sources(tmp_path)
    assert source.lengths.tolist() == [4, 5]


def test_all_missing_files_are_named_at_once(tmp_path):
    arrays = arrays_of()
    write_arrays(tmp_path / "one", arrays)
    (tmp_path / "one" / "nbr_dists.npy").unlink()
    (tmp_path / "one" / "atom_types.npy").unlink()
    with pytest.raises(FileNotFoundError) as error:
        open_sources([tmp_path / "one", tmp_path / "two"])
    for name in ("nbr_dists.npy", "atom_types.npy", "two"):
        assert name in str(error.value)
    paths = write_arrays(tmp_path / "three", arrays)
    with pytest.raises(FileNotFoundError, match=r"atom_directions\.npy"):
        open_sources(tmp_path / "three", directions=True)
    paths[1].unlink()
    paths[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"target_index.*nbr_dists"):
        open_sources(paths)


@pytest.mark.parametrize(("count", "directions"), [(3, False), (4, True), (1, False)])
def test_list_of_files_must_be_complete(tmp_path, count, directions):
    paths = write_arrays(tmp_path, arrays_of(directions=True))
    with pytest.raises(ValueError, match=rf"got {count} files"):
        open_sources(paths[:count], directions)


def test_file_that_is_no_array_is_named(tmp_path):
    path = tmp_path / "nbr_lists.npy"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"nbr_lists\.npy"):
        load_npy(path)
    np.save(path, np.zeros((100, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"nbr_lists\.npy"):
        load_npy(path)
    np.save(path, np.zeros((0, 3)))
    assert load_npy(path).shape == (0, 3)
    (tmp_path / "bad.npz").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"bad\.npz: not a readable"):
        map_npz(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        map_npz(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="got none"):
        open_sources([])


def test_archive_without_an_array_names_it_and_says_what_to_do(tmp_path):
    arrays = arrays_of()
    del arrays["nbr_dists"]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileNotFoundError, match=r"a\.npz: no array nbr_dists$"):
        open_npz(tmp_path / "a.npz")
    coordinates = {"traj_coords": np.zeros((2, 5, 3)), "lattices": np.zeros((2, 3, 3))}
    types = {name: arrays[name] for name in ("atom_types", "target_index")}
    np.savez(tmp_path / "b.npz", **coordinates, **types)
    with pytest.raises(FileNotFoundError, match="--mode=prepare"):
        open_npz(tmp_path / "b.npz")


def test_archive_without_distances_computes_them_by_minimum_image(tmp_path):
    random = np.random.default_rng(0)
    lengths = np.array([[9.0, 10, 11], [9.5, 10, 10.5]])
    cells = lengths[:, :, None] * np.eye(3)
    positions = random.normal(0, 30, (2, 30, 3))  # unwrapped
    found = neighbours(positions, cells, 5, 4.5)
    np.savez(
        tmp_path / "kdtree.npz",
        traj_coords=positions,
        lattices=lengths,
        atom_types=np.ones(30, np.int32),
        target_index=np.arange(2),
        nbr_lists=found.lists,
    )
    source = open_npz(tmp_path / "kdtree.npz")
    dists = source.nbr_dists
    assert isinstance(dists, MinimumImageDistances)
    assert dists.shape == (2, 30, 5)
    np.testing.assert_allclose(dists[:], found.dists, atol=1e-5)
    np.testing.assert_allclose(dists[np.array([1, 0])], found.dists[::-1], atol=1e-5)
    np.testing.assert_allclose(dists[1:], found.dists[1:], atol=1e-5)
    oracle, _ = brute_force(positions[0], cells[0], 5, 6.0)
    np.testing.assert_allclose(dists[:1][0], oracle, atol=1e-5)
