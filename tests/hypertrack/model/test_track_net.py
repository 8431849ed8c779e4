"""The graph net: padding, order of hits, pairs, precision."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.batch_norm import COLLECTION
from jaxphys.hypertrack.model.track_net import INPUT_MEAN, TrackNet, network_input
from tests.hypertrack.net_graphs import NET, drawn, make_graph


@pytest.fixture(scope="module")
def variables():
    return drawn(NET, make_graph())


def run(net, variables, graph, train=True):
    found = jax.jit(
        lambda graph: net.apply(variables, graph, train, mutable=[COLLECTION])
    )({k: jnp.asarray(v) for k, v in graph.items()})
    return found[0], found[1].get(COLLECTION)


@pytest.mark.parametrize("train", [True, False])
def test_padding_and_pairs_change_nothing(variables, train):
    plain, moments = run(NET, variables, make_graph(pairs=False), train)
    padded, others = run(NET, variables, make_graph(nodes=30, edges=400), train)
    edges, hits = len(plain.logits), len(plain.latents)
    np.testing.assert_allclose(padded.logits[:edges], plain.logits, atol=2e-4)
    np.testing.assert_allclose(padded.latents[:hits], plain.latents, atol=2e-4)
    if train:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            moments,
            others,
        )


def test_hits_may_come_in_any_order(variables):
    graph = make_graph(pairs=False)
    hits = len(graph["position"])
    place = np.append(np.random.default_rng(5).permutation(hits - 1), hits - 1)
    index = place[graph["edge_index"]]
    order = np.lexsort(index)
    position = np.empty_like(graph["position"])
    position[place] = graph["position"]
    changed = {
        **graph,
        "position": position,
        "edge_index": index[:, order].astype(np.int32),
    }
    expected, _ = run(NET, variables, graph)
    got, _ = run(NET, variables, changed)
    np.testing.assert_allclose(got.logits, expected.logits[order], atol=2e-4)


def test_evaluating_layers_again_gives_the_same_gradients(variables):
    graph = make_graph()

    def gradient(net):
        def loss(params):
            tree = {**variables, "params": params}
            found, _ = net.apply(tree, graph, True, mutable=[COLLECTION])
            return jnp.mean(found.logits**2)

        return jax.jit(jax.grad(loss))(variables["params"])

    again = dataclasses.replace(NET, remat=True)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        gradient(NET),
        gradient(again),
    )


def test_bfloat16_is_close(variables):
    exact, _ = run(NET, variables, make_graph(), False)
    low = dataclasses.replace(NET, dtype=jnp.bfloat16)
    got, _ = run(low, variables, make_graph(), False)
    assert got.logits.dtype == jnp.float32
    assert not np.array_equal(got.logits, exact.logits)
    np.testing.assert_allclose(got.logits, exact.logits, atol=0.1)


def test_the_default_net_has_the_size_of_the_original():
    graph = make_graph()
    found = jax.eval_shape(lambda key: TrackNet().init(key, graph), jax.random.key(0))
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in found["params"].items()
    }
    assert sizes.pop("fusion") == 24759
    assert sizes.pop("head") == 2941
    assert sum(sizes.values()) == 132544


def test_scaled_input_is_about_one():
    position = jnp.asarray([INPUT_MEAN])
    np.testing.assert_allclose(network_input(position, True), 0, atol=1e-6)
    np.testing.assert_array_equal(network_input(position, False), position)
