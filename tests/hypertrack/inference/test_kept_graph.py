import numpy as np
import pytest

from jaxphys.hypertrack.inference.kept_graph import kept_graph
from tests.hypertrack.edge_graphs import cliques


def test_edges_are_those_above_the_threshold_sorted_and_without_self_edges():
    _, edges, prob, position = cliques(1)
    order = np.random.default_rng(0).permutation(len(prob))
    graph = kept_graph(edges[:, order], prob[order], len(position), 0.6)
    row = np.repeat(np.arange(len(position)), np.diff(graph.indptr))
    found = dict(zip(zip(row, graph.column, strict=True), graph.prob, strict=True))
    keep = (prob > 0.6) & (edges[0] != edges[1])
    pairs = zip(*edges[:, keep], strict=True)
    assert found == dict(zip(pairs, prob[keep], strict=True))
    keys = row * len(position) + graph.column
    assert np.all(np.diff(keys) > 0)
    place, owner = graph.rows(np.array([3, 0, 3]))
    for number, node in enumerate([3, 0, 3]):
        np.testing.assert_array_equal(
            graph.column[place[owner == number]], graph.column[row == node]
        )


def parts_of(edges, hits):
    """Returns connected sets of nodes, by merging."""
    part = [{n} for n in range(hits)]
    for a, b in edges.T:
        joined = part[a] | part[b]
        for node in joined:
            part[node] = joined
    return {frozenset(p) for p in part}


def test_components_are_numbered_by_size_and_first_node():
    _, edges, prob, position = cliques(2, wrong=15)
    graph = kept_graph(edges, prob, len(position), 0.55)
    keep = (prob > 0.55) & (edges[0] != edges[1])
    parts = parts_of(edges[:, keep], len(position))
    expected = sorted((p for p in parts if len(p) >= 4), key=lambda p: (len(p), min(p)))
    found = graph.components(4)
    assert found.max() + 1 == len(expected)
    for number, part in enumerate(expected):
        assert set(np.flatnonzero(found == number)) == part


def test_one_direction_joins():
    graph = kept_graph(np.array([[0, 2], [1, 1]]), np.ones(2), 4, 0.5)
    np.testing.assert_array_equal(graph.components(3), [0, 0, 0, -1])
    assert (
        len(kept_graph(np.zeros((2, 0), int), np.zeros(0), 0, 0.5).components(1)) == 0
    )


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"each of 2 edges, got \(3,\)"):
        kept_graph(np.zeros((2, 2), int), np.zeros(3), 4, 0.5)
    with pytest.raises(ValueError, match="got 1 NaN"):
        kept_graph(np.zeros((2, 2), int), np.array([0, np.nan]), 4, 0.5)
