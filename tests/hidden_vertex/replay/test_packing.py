"""Parts are joined and padded without touching what they hold."""

import jax
import numpy as np

from jaxphys.hidden_vertex.replay.packing import EdgeListBatches, join, pad
from tests.hidden_vertex import graph_sets

SIZES = [4, 1, 6, 3, 2]


def test_join_numbers_nodes_and_graphs_on():
    joined = join(graph_sets.events(SIZES))
    np.testing.assert_array_equal(joined["n_node"], SIZES)
    np.testing.assert_array_equal(joined["graph_index"], np.repeat(np.arange(5), SIZES))
    graph = joined["graph_index"]
    assert np.all(graph[joined["senders"]] == graph[joined["receivers"]])
    assert joined["senders"].dtype == np.int32


def test_padding_is_one_more_graph_of_loops():
    joined = join(graph_sets.events(SIZES))
    padded = pad(joined, 30, 80, 8)
    assert {
        k: len(v) for k, v in padded.items() if k in ("x", "senders", "n_node")
    } == {
        "x": 30,
        "senders": 80,
        "n_node": 8,
    }
    np.testing.assert_array_equal(padded["n_node"], [*SIZES, 0, 0, 30 - sum(SIZES)])
    np.testing.assert_array_equal(padded["weight"], [1] * 5 + [0] * 3)
    edges = len(joined["senders"])
    for name in ("senders", "receivers"):
        np.testing.assert_array_equal(padded[name][:edges], joined[name])
        assert np.all(padded[name][edges:] == 29)
    assert np.all(padded["graph_index"][sum(SIZES) :] == 7)
    for name, array in joined.items():
        if name != "n_node":
            np.testing.assert_array_equal(padded[name][: len(array)], array)


def test_a_part_that_fits_exactly_stays():
    joined = join(graph_sets.events(SIZES))
    same = pad(joined, sum(SIZES), len(joined["senders"]), 5)
    jax.tree.map(np.testing.assert_array_equal, same, joined)


def test_batches_follow_the_order_and_have_one_shape():
    parts = graph_sets.events(SIZES)
    orders = [np.array([4, 3, 2, 1, 0]), np.array([0, 2, 4, 1, 3])]
    batches = EdgeListBatches(parts, 2, lambda epoch: orders[epoch])
    shapes = set()
    for epoch, order in enumerate(orders):
        assert batches.num_batches(epoch) == 3
        found = []
        for index in range(3):
            batch = batches.batch(epoch, index, slice(None))
            shapes.add(tuple(a.shape for a in batch.values()))
            found += batch["slot"][batch["weight"] > 0].tolist()
            real = batch["weight"][0][batch["graph_index"][0]] > 0
            expected = [parts[i]["x"] for i in order[2 * index : 2 * index + 2]]
            np.testing.assert_array_equal(batch["x"][0][real], np.concatenate(expected))
        assert found == order.tolist()
        assert batches.shape_key(epoch, 0) == batches.shape_key(0, 2)
    assert len(shapes) == 1
    assert batches.resident(0) is None
