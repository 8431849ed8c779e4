import numpy as np
import pytest

from jaxphys.hypertrack.inference import pivot_search
from jaxphys.hypertrack.inference.kept_graph import kept_graph
from tests.hypertrack.edge_graphs import cliques


@pytest.fixture(scope="module")
def graph():
    _, edges, prob, position = cliques(3)
    return kept_graph(edges, prob, len(position), 0.55)


def dense(graph):
    table = np.zeros((graph.num_nodes,) * 2, np.float32)
    row = np.repeat(np.arange(graph.num_nodes), np.diff(graph.indptr))
    table[row, graph.column] = graph.prob
    return table


def slow_walk(table, active, seed, num_pivots, threshold):
    path, weight = [seed], np.float32(0)
    while len(path) < num_pivots:
        row = np.where(active, table[path[-1]], 0)
        row[path] = 0
        best = int(np.argmax(row))
        if not row[best] > threshold:
            break
        path.append(best)
        a = row[best]
        weight += np.log(a / (1 - a + np.float32(1e-3)))
    return path, weight


@pytest.mark.parametrize("num_pivots", [1, 3, 5])
def test_walks_together_are_the_walks_one_by_one(graph, num_pivots):
    table = dense(graph)
    active = np.random.default_rng(0).random(graph.num_nodes) < 0.8
    seeds = np.flatnonzero(active)
    walks = pivot_search.greedy_walks(graph, active, seeds, num_pivots, 0.8)
    for number, seed in enumerate(seeds):
        path, weight = slow_walk(table, active, seed, num_pivots, 0.8)
        assert walks.path[number][: len(path)].tolist() == path
        assert np.all(walks.path[number][len(path) :] == -1)
        np.testing.assert_allclose(walks.weight[number], weight, rtol=1e-6)
    assert np.any(walks.whole)


def test_the_first_of_equal_edges_is_taken():
    edges = np.array([[0, 0, 0, 2], [3, 2, 1, 0]])
    graph = kept_graph(edges, np.full(4, 0.9), 4, 0.5)
    active = np.array([True, False, True, True])
    walks = pivot_search.greedy_walks(graph, active, np.array([0]), 3, 0.4)
    assert walks.path.tolist() == [[0, 2, -1]]  # and never back to its own path


def test_random_walks_take_edges_as_often_as_their_probability():
    edges = np.array([[0, 0, 0, 0], [1, 2, 3, 4]])
    graph = kept_graph(edges, np.array([0.9, 0.6, 0.3, 0.1]), 5, 0.05)
    active = np.array([True, True, True, True, True])
    rng = np.random.default_rng(0)
    seeds = np.zeros(20_000, int)
    walks = pivot_search.random_walks(graph, active, seeds, 2, 0.2, rng)
    share = np.bincount(walks.path[:, 1], minlength=5) / len(seeds)
    np.testing.assert_allclose(share, [0, 0.5, 1 / 3, 1 / 6, 0], atol=0.015)


def test_seeds_are_the_smallest_keys_of_every_component_in_groups():
    component = np.array([0, 1, 1, 1, -1, 1, 0, 1])
    active = np.array([True, True, True, False, True, True, True, True])
    key = np.array([3, 5, 1, 0, 0, 4, 2, 2])
    seeds = pivot_search.choose_seeds(component, active, key, 2, groups=2)
    assert seeds.node.tolist() == [6, 0, 2, 7, 5, 1]
    assert seeds.group.tolist() == [0, 0, 1, 1, 2, 2]
    assert seeds.component.tolist() == [0, 1, 1]
    one = pivot_search.choose_seeds(component, active, key, 1)
    assert one.node.tolist() == [6, 2]


def test_the_heaviest_walk_of_a_group_wins_and_the_earlier_of_equals():
    path = np.arange(10).reshape(5, 2)
    weight = np.array([1, 3, 3, 0, 0], np.float32)
    walks = pivot_search.Walks(path, weight)
    best = pivot_search.best_of_groups(walks, np.array([0, 0, 0, 1, 1]))
    assert best.path.tolist() == [[2, 3], [6, 7]]


def test_micrographs_are_the_active_neighbours_of_the_pivots(graph):
    table = dense(graph)
    active = np.random.default_rng(1).random(graph.num_nodes) < 0.7
    pivots = np.random.default_rng(2).integers(0, graph.num_nodes, (6, 3))
    node, owner = pivot_search.spanned(graph, active, pivots)
    for number, three in enumerate(pivots):
        expected = np.flatnonzero((table[three] > 0).any(axis=0) & active)
        np.testing.assert_array_equal(node[owner == number], expected)


def test_a_whole_component_is_its_active_nodes():
    component = np.array([1, 0, 1, -1, 0, 1])
    active = np.array([True, True, True, True, False, True])
    found = pivot_search.whole_component(component, active, np.array([1, 0]))
    assert [f.tolist() for f in found] == [[0, 2, 5, 1], [0, 0, 0, 1]]
