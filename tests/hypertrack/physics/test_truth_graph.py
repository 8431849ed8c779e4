"""True pairs agree with their definitions, written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.hypertrack.physics.truth_graph import (
    NODE2NODE,
    edge_labels,
    pair_keys,
    require_node2node,
    track_of_hits,
    tracks_of_rows,
    true_pairs,
)
from tests.hypertrack.toy_tracks import dense, prim, toy_event


def matrix_of(event, mode, compat=False):
    rows, offsets = event.track_hits()
    pairs = true_pairs(event.position, rows, offsets, mode, compat)
    return dense(pairs, event.num_hits)


def trees(event):
    """Returns tree edges of each track as a list of (hits, edges)."""
    rows, offsets = event.track_hits()
    for start, stop in itertools.pairwise(offsets):
        own = rows[start:stop]
        yield own, prim(event.position[own].astype(np.float64))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 15))
def test_hyper_joins_all_hits_of_a_track_once(seed, num_tracks):
    event = toy_event(num_tracks, seed=seed)
    same = (event.label[:, None] == event.label) & (event.label >= 0)
    np.testing.assert_array_equal(matrix_of(event, "hyper"), same)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_eom_is_the_minimum_spanning_tree_with_self_pairs(seed):
    event = toy_event(seed=seed)
    expected = np.diag(event.label >= 0).astype(int)
    for own, edges in trees(event):
        for a, b in edges:
            expected[own[a], own[b]] = expected[own[b], own[a]] = 1
    np.testing.assert_array_equal(matrix_of(event, "eom"), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_cricket_reaches_two_steps_in_the_tree(seed):
    event = toy_event(seed=seed)
    one = matrix_of(event, "eom")
    np.testing.assert_array_equal(matrix_of(event, "cricket"), (one @ one) > 0)


@pytest.mark.parametrize("mode", NODE2NODE)
def test_pairs_are_symmetric_stay_in_a_track_and_avoid_noise(mode):
    event = toy_event(seed=3)
    for compat in (False, True):
        found = matrix_of(event, mode, compat=compat)
        np.testing.assert_array_equal(found > 0, found.T > 0)
        a, b = np.nonzero(found)
        assert (event.label[a] == event.label[b]).all()
        assert (event.label[a] >= 0).all()


@pytest.mark.parametrize("mode", NODE2NODE)
def test_pairs_do_not_depend_on_the_order_of_the_hits(mode):
    event = toy_event(seed=5)
    order = np.random.default_rng(0).permutation(event.num_hits)
    moved = matrix_of(event.take(order), mode)
    np.testing.assert_array_equal(moved, matrix_of(event, mode)[np.ix_(order, order)])


def test_compatible_cricket_depends_on_the_order_of_the_hits():
    event = toy_event(seed=5)
    order = np.random.default_rng(0).permutation(event.num_hits)
    # the order of a track's hits is that of the truth file
    part = event.take(order)
    rows, offsets = part.track_hits()
    resorted = np.concatenate([np.sort(r) for r in np.split(rows, offsets[1:-1])])
    pairs = true_pairs(part.position, resorted, offsets, "cricket", True)
    before = matrix_of(event, "cricket", compat=True)[np.ix_(order, order)]
    assert ((dense(pairs, event.num_hits) > 0) != (before > 0)).any()


def test_hits_at_one_place_are_joined_too():
    position = np.array([[1.0, 0, 0], [1, 0, 0], [5, 0, 0]])
    pairs = true_pairs(position, np.arange(3), np.array([0, 3]), "eom")
    # of equal distances the first pair in the order of the hits is taken
    np.testing.assert_array_equal(dense(pairs, 3), [[1, 1, 1], [1, 1, 0], [1, 0, 1]])


def test_tracks_of_one_hit_and_no_tracks_at_all():
    position = np.zeros((3, 3))
    for mode in NODE2NODE:
        one = true_pairs(position, np.array([2]), np.array([0, 1]), mode, True)
        np.testing.assert_array_equal(one, [[2], [2]])
        none = true_pairs(position, np.zeros(0, int), np.array([0]), mode, True)
        assert none.shape == (2, 0)


@pytest.mark.parametrize("mode", NODE2NODE)
def test_labels_are_membership_in_the_true_pairs(mode):
    event = toy_event(seed=8)
    size = event.num_hits
    every = np.stack(np.divmod(np.random.default_rng(0).permutation(size**2), size))
    pairs = true_pairs(event.position, *event.track_hits(), mode)
    found = edge_labels(every, event.label, None if mode == "hyper" else pairs)
    np.testing.assert_array_equal(found, dense(pairs, size)[tuple(every)] > 0)


def test_labels_without_pairs_or_edges():
    none = np.zeros((2, 0), int)
    assert not edge_labels(np.array([[0], [0]]), np.array([0]), none).any()
    assert edge_labels(none, np.array([0])).shape == (0,)


def test_keys_of_large_events_do_not_overflow():
    pairs = np.array([[199_999], [199_998]], np.int32)
    assert pair_keys(pairs, 200_000)[0] == 199_999 * 200_000 + 199_998


def test_tables_and_ragged_lists_hold_the_same():
    event = toy_event(seed=2)
    hits, offsets = tracks_of_rows(event.x_ind(30))
    rows, own = event.track_hits()
    np.testing.assert_array_equal(hits, rows)
    np.testing.assert_array_equal(offsets, own)
    track = track_of_hits(hits, offsets, event.num_hits)
    np.testing.assert_array_equal(track, event.label)


def test_unknown_mode_is_named():
    with pytest.raises(ValueError, match=r"node2node: expected one of hyper.*'knn'"):
        require_node2node("knn")
    with pytest.raises(ValueError, match="node2node"):
        true_pairs(np.zeros((1, 3)), np.zeros(1, int), np.array([0, 1]), "knn")
