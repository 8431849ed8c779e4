"""Features and graphs: the golden files, brute force, ties, and edge cases."""

import itertools
import json

import numpy as np
import pytest

from jaxphys.hidden_vertex.physics.graphs import (
    NO_NEIGHBOUR,
    aggregate,
    features,
    knn_edges,
    knn_neighbours,
    knn_table,
    particles_of_rows,
    radius_edges,
    radius_table,
)

KNN = ("real_k6", "real_k6_periodic", "real_k4", "edge_sizes")


def load(golden_dir, variant):
    path = golden_dir("hidden_vertex") / f"graph_build__{variant}.npz"
    with np.load(path) as file:
        return json.loads(str(file["meta"]))["config"], dict(file)


def brute_force(points, k, periodic=False):
    """Sorts all distances of every particle, in plain Python order of ties."""
    points, found = np.asarray(points, np.float64), []
    for i, point in enumerate(points):
        difference = points - point
        if periodic:
            turns = np.floor((difference[:, 1] + np.pi) / (2 * np.pi))
            difference[:, 1] -= 2 * np.pi * turns
        squared = (difference**2).sum(axis=1)
        order = sorted(set(range(len(points))) - {i}, key=lambda j: (squared[j], j))
        found.append(order[:k])
    return np.array(found, np.int64).reshape(len(points), -1)


@pytest.mark.parametrize("variant", KNN)
def test_knn_graphs_equal_the_golden_files(golden_dir, variant):
    config, golden = load(golden_dir, variant)
    particles, offset = particles_of_rows(golden["input/rows"])
    np.testing.assert_array_equal(offset, golden["output/node_offset"])
    np.testing.assert_allclose(
        features(particles), golden["output/x"], rtol=1e-6, atol=1e-6
    )
    table = knn_table(particles[:, 1:], offset, config["k"], config["periodic_phi"])
    edges = [knn_edges(table[a:b]) for a, b in itertools.pairwise(offset)]
    sizes = np.cumsum([e.shape[1] for e in edges])
    np.testing.assert_array_equal(sizes, golden["output/edge_offset"][1:])
    senders, receivers = np.concatenate(edges, axis=1)
    np.testing.assert_array_equal(receivers, golden["output/receivers"])
    np.testing.assert_array_equal(senders, golden["output/senders"])


def test_radius_graphs_equal_the_golden_file_in_its_order(golden_dir):
    config, golden = load(golden_dir, "radius04")
    particles, offset = particles_of_rows(golden["input/rows"])
    # the file holds no event of fewer than two particles: they are dropped there
    keep = np.diff(offset) >= 2
    np.testing.assert_array_equal(
        np.cumsum(np.where(keep, np.diff(offset), 0)), golden["output/node_offset"][1:]
    )
    edges, edge_offset = radius_table(particles[:, 1:], offset, config["radius"])
    np.testing.assert_array_equal(edge_offset, golden["output/edge_offset"])
    np.testing.assert_array_equal(edges[0], golden["output/senders"])
    np.testing.assert_array_equal(edges[1], golden["output/receivers"])


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("step", [None, 0.25, 2.0])
@pytest.mark.parametrize("size", [2, 7, 8, 60])
def test_neighbours_equal_brute_force_with_ties_by_lower_index(size, step, k, periodic):
    rng = np.random.default_rng(size)
    points = rng.uniform(-np.pi, np.pi, (size, 2)).astype(np.float32)
    if step:  # a coarse grid: ties and particles at one place
        points = np.round(points / step).astype(np.float32) * np.float32(step)
    found = knn_neighbours(points, k, periodic)
    assert found.shape == (size, min(k, size - 1))
    np.testing.assert_array_equal(found, brute_force(points, k, periodic))


def test_distances_that_differ_in_the_last_bits_are_still_ordered():
    """The index in the low bits of a distance must not decide what the bits can."""
    near = 1.0
    points = np.zeros((8, 2))
    points[1:, 0] = near * (1 + np.arange(7, 0, -1) * 2.0**-49)
    found = knn_neighbours(points, 3)
    np.testing.assert_array_equal(found[0], [7, 6, 5])


def test_neighbours_of_close_particles_are_exact_far_from_the_origin():
    rng = np.random.default_rng(0)
    points = (4.5 + rng.normal(0, 1e-4, (50, 2))).astype(np.float32)
    np.testing.assert_array_equal(knn_neighbours(points, 6), brute_force(points, 6))


def test_more_particles_than_the_index_bits_hold_are_possible():
    points = np.random.default_rng(0).normal(size=(1100, 2)).astype(np.float32)
    np.testing.assert_array_equal(knn_neighbours(points, 3), brute_force(points, 3))


def test_neighbours_follow_the_particles_when_they_are_reordered():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 2))
    order = rng.permutation(40)
    found = knn_neighbours(points[order], 6)
    np.testing.assert_array_equal(order[found], knn_neighbours(points, 6)[order])


@pytest.mark.parametrize("size", [0, 1])
def test_lonely_particles_have_no_neighbours(size):
    points = np.zeros((size, 2), np.float32)
    assert knn_neighbours(points, 6).shape == (size, 0)
    assert radius_edges(points, 0.4).shape == (2, 0)
    table = knn_table(points, np.array([0, size]), 6)
    assert np.all(table == NO_NEIGHBOUR)
    assert table.shape == (size, 6)


def test_radius_is_inclusive_and_the_graph_symmetric():
    points = np.array([[0, 0], [0.4, 0], [0.4, 0.4000001], [0, 3.1]], np.float32)
    found = radius_edges(points, 0.4)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])
    points = np.random.default_rng(0).normal(size=(30, 2))
    senders, receivers = radius_edges(points, 0.8)
    both = set(zip(senders.tolist(), receivers.tolist(), strict=True))
    assert both == {(r, s) for s, r in both}


def test_empty_slots_are_removed_wherever_they_stand():
    rows = np.zeros((3, 2100))
    rows[0, :9] = [5, 1, 2, 0, 0, 0, 7, 3, 4]
    rows[2, 2097:] = [1, 0.5, -0.5]
    particles, offset = particles_of_rows(rows)
    assert particles.dtype == np.float32
    np.testing.assert_array_equal(particles, [[5, 1, 2], [7, 3, 4], [1, 0.5, -0.5]])
    np.testing.assert_array_equal(offset, [0, 2, 2, 3])


def test_aggregate_is_the_mean_over_a_particle_and_its_neighbours():
    rng = np.random.default_rng(0)
    offset = np.array([0, 1, 4, 20])
    x = rng.normal(size=(20, 3)).astype(np.float32)
    table = knn_table(x[:, 1:], offset, 6)
    expected = np.zeros((20, 3))
    for start, stop in itertools.pairwise(offset):
        event = x[start:stop].astype(np.float64)
        near = knn_neighbours(event[:, 1:], 6)
        for i in range(len(event)):
            expected[start + i] = np.mean([event[i], *event[near[i]]], axis=0)
    np.testing.assert_allclose(aggregate(x, table, offset), expected, rtol=1e-6)


def test_bad_points_are_refused():
    with pytest.raises(ValueError, match=r"expected \[n, 2\]"):
        knn_neighbours(np.zeros((5, 3)), 6)
    with pytest.raises(ValueError, match="k >= 1"):
        knn_neighbours(np.zeros((5, 2)), 0)
    with pytest.raises(ValueError, match="event 1: expected fewer than 65535"):
        knn_table(np.zeros((70_000, 2)), np.array([0, 3, 70_000]), 6)


def test_row_0_of_the_official_file_has_109_particles_and_1750_edges(data_dir):
    from jaxphys.hidden_vertex.data.readers import open_source

    path = data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5"
    events = open_source(path).read(0, 1)
    assert len(events.particles) == 109
    assert radius_edges(events.particles[:, 1:], 0.4).shape == (2, 1750)
