"""Pairs of edges, degrees, sums at nodes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.edge_layout import relative_degree, topology, with_pairs
from tests.hypertrack.net_graphs import make_graph


def test_every_edge_finds_the_pair_of_its_ends():
    graph = make_graph(nodes=25, edges=300)
    real = graph["edge_mask"]
    ends = np.sort(graph["edge_index"][:, real], 0)
    pairs = graph["pair_index"][:, graph["edge_pair"][real]]
    np.testing.assert_array_equal(pairs, ends)
    found = topology({k: jnp.asarray(v) for k, v in graph.items()})
    source, destination = graph["edge_index"][:, real]
    weight = np.bincount(found.pair_weight.astype(int), minlength=3)
    assert weight[1] == np.sum(source == destination)
    assert weight[2] == np.sum(source < destination)


def test_reverse_edges_that_are_given_change_nothing():
    graph = make_graph(nodes=25, edges=300, pairs=False)
    index, count = graph["edge_index"], int(graph["edge_mask"].sum())
    place = {tuple(edge): k for k, edge in enumerate(index.T[:count])}
    reverse = np.arange(index.shape[1])
    reverse[:count] = [place[j, i] for i, j in index.T[:count]]
    expected, got = with_pairs(graph), with_pairs({**graph, "reverse_edge": reverse})
    for name in ("pair_index", "edge_pair"):
        np.testing.assert_array_equal(got[name], expected[name])


def test_an_edge_without_its_reverse_is_refused():
    graph = make_graph(pairs=False)
    keep = np.ones(graph["edge_index"].shape[1], bool)
    keep[np.flatnonzero(graph["edge_index"][0] != graph["edge_index"][1])[0]] = False
    broken = {**graph, "edge_index": graph["edge_index"][:, keep]}
    broken["edge_mask"] = graph["edge_mask"][keep]
    with pytest.raises(ValueError, match="both directions"):
        with_pairs(broken)


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="num_pairs: expected"):
        with_pairs(make_graph(pairs=False), num_pairs=3)


def test_the_mean_degree_leaves_out_nodes_after_the_last_edge():
    graph = make_graph(hits=12, nodes=16, edges=120)
    degree = np.bincount(graph["edge_index"][0][graph["edge_mask"]], minlength=16)
    used = np.flatnonzero(degree)[-1] + 1
    assert used < 12
    found = topology({k: jnp.asarray(v) for k, v in graph.items()})
    expected = degree / degree[:used].mean()
    np.testing.assert_allclose(relative_degree(found), expected, rtol=1e-6)
    values = jnp.ones((graph["edge_index"].shape[1], 1))
    total = found.sum_at_destination(values)[:, 0]
    np.testing.assert_allclose(total, degree)  # 0 at the node of padding
