import numpy as np

from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.inference.joint_phase import (
    host_micrographs,
    pivot_majority,
    training_sets,
    truth_masks,
)
from tests.hypertrack.edge_graphs import cliques


def test_the_most_frequent_label_wins_and_the_smallest_of_equals():
    labels = np.array([[4, 4, 7], [7, 4, 9], [-1, -1, 3], [5, 3, -1], [2, 2, 2]])
    assert pivot_majority(labels).tolist() == [4, 4, -1, -1, 2]


def test_truth_marks_the_hits_of_the_pivots_track():
    track = np.array([0, 0, 1, -1, 0])
    rows = np.array([[0, 2, 4, 3], [3, 0, 1, 0]])
    mask = np.array([[True] * 4, [True, True, True, False]])
    found = truth_masks(track)(rows, mask, np.array([[0, 1, 2], [3, 3, 0]]))
    assert found.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_every_track_that_can_be_found_gets_a_set_and_noise_gets_none():
    track, edges, prob, position = cliques(7, wrong=40)
    settings = ClusterSettings(max_failures=4)
    rng = np.random.default_rng(0)
    sets = training_sets(edges, prob, position, track, settings, rng)
    target = pivot_majority(track[sets.pivots])
    assert (target >= 0).all()
    size = np.bincount(track[track >= 0])
    wanted = set(np.flatnonzero(size >= 4))
    assert len(wanted & set(target)) >= 0.9 * len(wanted)


def test_padding_of_a_batch_changes_nothing_and_draws_follow_the_seed():
    track, edges, prob, position = cliques(8)
    nodes, more = len(track), 30
    batch = {
        "position": np.pad(position, ((0, 1), (0, 0)))[None].repeat(3, 0),
        "edge_index": np.pad(edges, ((0, 0), (0, more)), constant_values=nodes)[
            None
        ].repeat(3, 0),
        "edge_mask": (np.arange(len(prob) + more) < len(prob))[None].repeat(3, 0),
        "node_mask": (np.arange(nodes + 1) < nodes)[None].repeat(3, 0),
        "track": np.append(track, -1)[None].repeat(3, 0),
    }
    whole = np.pad(prob, (0, more), constant_values=0.99)[None].repeat(3, 0)
    seeds = [(1, 5, 0), (1, 5, 1), (1, 5, 0)]
    found = host_micrographs(batch, whole, ClusterSettings(), seeds)
    rows = found["rows"][found["row_mask"]]
    assert rows.max() < nodes
    np.testing.assert_array_equal(found["pivots"][0], found["pivots"][2])
    assert (found["pivots"][0] != found["pivots"][1]).any()
    rng = np.random.default_rng([1, 5, 0])
    alone = training_sets(edges, prob, position, track, ClusterSettings(), rng)
    np.testing.assert_array_equal(
        found["pivots"][0][found["set_mask"][0]], alone.pivots
    )  # fmt: skip
    small = host_micrographs(batch, whole, ClusterSettings(), seeds, (2, 16))
    assert small["rows"].shape == (3, 2, 16)
