"""Frames and pairs: order, seams, splits, and which frames are read."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.gdynet.data.dataset import (
    Pairs,
    Trajectories,
    all_pairs,
    from_arrays,
    open_trajectories,
    split_blocks,
)
from jaxphys.gdynet.data.sources import make_source
from tests.gdynet.oracles import arrays_of, write_arrays


def of_lengths(*lengths):
    arrays = arrays_of(frames=sum(lengths))
    return from_arrays({**arrays, "trajectory_lengths": np.array(lengths)})


def test_pairs_are_trajectory_major_and_never_cross_a_seam():
    data = of_lengths(4, 7, 3)
    pairs = all_pairs(data, 2)
    one, two = pairs.frames(np.arange(pairs.size))
    expected = [0, 1, *range(4, 9), 11]
    assert one.tolist() == expected
    assert (two - one).tolist() == [2] * pairs.size
    assert np.array_equal(data.trajectory_of(one), data.trajectory_of(two))


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_pairs_are_those_of_a_loop(lengths, tau, stride):
    stops = np.cumsum(lengths)
    blocks = np.stack([stops - lengths, stops], axis=1)
    pairs = Pairs(blocks, tau, stride)
    expected = [(f, f + tau) for a, b in blocks for f in range(a, b - tau, stride)]
    assert pairs.size == len(expected)
    if expected:
        found = np.stack(pairs.frames(np.arange(pairs.size)), axis=1)
        assert found.tolist() == [list(pair) for pair in expected]
    assert pairs.num_batches(4, True) == len(expected) // 4
    assert pairs.num_batches(4, False) == -(-len(expected) // 4)


@pytest.mark.parametrize("tau", [0, -1])
def test_lag_below_one_is_refused(tau):
    with pytest.raises(ValueError, match=rf"tau, stride: .* got {tau}, 1"):
        all_pairs(of_lengths(5), tau)


def test_trajectory_that_is_too_short_is_named():
    with pytest.raises(ValueError, match=r"arrays, trajectory 1: 3 frames.*tau=3"):
        all_pairs(of_lengths(9, 3), 3)


def test_frames_are_read_from_the_folder_that_holds_them(tmp_path):
    parts = [arrays_of(frames=f, seed=f, directions=True) for f in (4, 6)]
    for i, arrays in enumerate(parts):
        arrays["atom_types"] = parts[0]["atom_types"]
        write_arrays(tmp_path / str(i), arrays)
    data = open_trajectories([tmp_path / "0", tmp_path / "1"], directions=True)
    assert data.lengths.tolist() == [4, 6]
    assert data.num_frames == 10
    frames = np.array([9, 0, 4, 3, 9])
    for name, stored in (
        ("nbr_lists", "nbr_lists"),
        ("nbr_dists", "nbr_dists"),
        ("directions", "atom_directions"),
    ):
        whole = np.concatenate([arrays[stored] for arrays in parts])
        np.testing.assert_array_equal(data.read(name, frames), whole[frames])
        assert data.static(name) is None


def test_static_geometry_serves_every_frame_and_types_are_those_of_the_step():
    arrays = arrays_of(frames=6, directions=True)
    for shape in ((5, 3), (1, 5, 3)):
        still = {
            **arrays,
            "nbr_lists": arrays["nbr_lists"][0].astype(np.uint8).reshape(shape),
            "nbr_dists": arrays["nbr_dists"][0].astype(np.float16).reshape(shape),
            "atom_directions": arrays["atom_directions"].astype(np.float64),
        }
        data = from_arrays(still, directions=True)
        assert data.num_frames == 6
        read = data.read("nbr_lists", np.array([5, 0]))
        assert read.dtype == np.int32
        np.testing.assert_array_equal(read, arrays["nbr_lists"][[0, 0]])
        assert data.static("nbr_lists").dtype == np.int32
        assert data.static("nbr_dists").dtype == np.float32
        assert data.static("directions") is None
        assert data.read("directions", np.array([1])).dtype == np.float32


def test_geometry_of_different_crystals_is_not_static():
    one, two = (arrays_of(frames=6, seed=s, directions=True) for s in (1, 2))
    two["atom_types"] = one["atom_types"]
    for arrays in (one, two):
        arrays["nbr_lists"] = arrays["nbr_lists"][:1]
    data = Trajectories([make_source("one", one), make_source("two", two)])
    assert data.static("nbr_lists") is None
    read = data.read("nbr_lists", np.array([11, 0]))
    expected = np.concatenate([two["nbr_lists"], one["nbr_lists"]])
    np.testing.assert_array_equal(read, expected)


def test_only_the_frames_that_are_asked_for_are_read():
    class Counted:
        def __init__(self, array):
            self.array, self.rows = array, []
            self.shape, self.dtype = array.shape, array.dtype

        def __getitem__(self, rows):
            found = self.array[rows]
            self.rows.append(len(found))
            return found

    arrays = arrays_of(frames=1000)
    counted = {k: Counted(v) if k.startswith("nbr") else v for k, v in arrays.items()}
    data = Trajectories([make_source("counted", counted)])
    data.read("nbr_dists", np.array([5, 900, 7]))
    assert counted["nbr_dists"].rows == [3]
    assert counted["nbr_lists"].rows == []


def test_whole_trajectories_are_split_by_a_permutation():
    data = of_lengths(*range(5, 25))
    parts = split_blocks(data, (0.7, 0.2, 0.1), 2, seed=3)
    assert [len(p) for p in parts] == [14, 4, 2]
    joined = np.concatenate(parts)
    assert len(np.unique(joined, axis=0)) == 20
    assert set(joined[:, 0]) == set(data.starts.tolist())
    again = split_blocks(data, (0.7, 0.2, 0.1), 2, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    other = split_blocks(data, (0.7, 0.2, 0.1), 2, seed=4)
    assert not np.array_equal(parts[0], other[0])


@pytest.mark.parametrize("block", [0, 20])
@pytest.mark.parametrize("lengths", [(400,), (150, 90, 310)])
def test_blocks_of_time_keep_a_lag_apart_and_share_no_frame(block, lengths):
    tau = 7
    data = of_lengths(*lengths)
    parts = split_blocks(data, (0.8, 0.1, 0.1), tau, block=block)
    owner = np.full(data.num_frames, -1)
    for i, blocks in enumerate(parts):
        for a, b in blocks:
            assert np.all(owner[a:b] == -1)
            assert data.trajectory_of(a) == data.trajectory_of(b - 1)
            owner[a:b] = i
    used = np.flatnonzero(owner >= 0)
    for a, b in itertools.pairwise(used):
        if owner[a] != owner[b] and data.trajectory_of(a) == data.trajectory_of(b):
            assert b - a > tau
    shares = np.array([np.sum(owner == i) for i in range(3)]) / data.num_frames
    assert shares[0] > 0.6
    assert min(shares) > 0.01
    for blocks in parts:
        one, two = Pairs(blocks, tau).frames(np.arange(Pairs(blocks, tau).size))
        assert np.array_equal(owner[one], owner[two])


def test_split_that_cannot_be_is_refused():
    data = of_lengths(30)
    for shares, block, message in (
        ((0.5, 0.6), 0, "sum 1"),
        ((1.0,), 0, "two or more"),
        ((1.5, -0.5), 0, "shares > 0"),
        ((0.8, 0.2), 3, "split_block=3: expected 0 or more frames than tau=4"),
        ((0.9, 0.1), 0, "part 1 holds no pair"),
    ):
        with pytest.raises(ValueError, match=message):
            split_blocks(data, shares, 4, block=block)
