"""The fast net: invariances, self edges, features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.fast_net import node_features, pair_features
from tests.hypertrack.net_graphs import FAST, drawn, make_graph


@pytest.fixture(scope="module")
def variables():
    return drawn(FAST, make_graph())


def run(variables, graph):
    graph = {k: jnp.asarray(v) for k, v in graph.items()}
    return jax.jit(lambda graph: FAST.apply(variables, graph, False))(graph)


def test_padding_and_pairs_change_nothing(variables):
    plain = run(variables, make_graph(pairs=False))
    padded = run(variables, make_graph(nodes=30, edges=400))
    edges, hits = len(plain.logits), len(plain.latents)
    np.testing.assert_allclose(padded.logits[:edges], plain.logits, atol=1e-4)
    np.testing.assert_allclose(padded.latents[:hits], plain.latents, atol=1e-4)


def test_self_edges_are_not_aggregated(variables):
    graph = make_graph(pairs=False)
    apart = graph["edge_index"][0] != graph["edge_index"][1]
    less = {**graph, "edge_index": graph["edge_index"][:, apart]}
    less["edge_mask"] = graph["edge_mask"][apart]
    full, part = run(variables, graph), run(variables, less)
    np.testing.assert_allclose(full.latents, part.latents, atol=1e-5)
    np.testing.assert_allclose(full.logits[apart], part.logits, atol=1e-5)


def test_features_of_a_pair_do_not_depend_on_its_direction_but_the_sign_does():
    low, high = np.random.default_rng(0).normal(0, 300, (2, 50, 3)).astype(np.float32)
    one, sign = pair_features(jnp.asarray(low), jnp.asarray(high))
    other, back = pair_features(jnp.asarray(high), jnp.asarray(low))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(sign, -back)


def test_a_straight_track_from_the_beam_has_no_curvature_and_its_own_origin():
    first = jnp.asarray([[30.0, 40.0, 20.0 + 7.0]])
    second = jnp.asarray([[60.0, 80.0, 40.0 + 7.0]])
    (features,), _ = pair_features(first, second)
    np.testing.assert_allclose(features[jnp.array([1, 5])], 0, atol=1e-5)
    np.testing.assert_allclose(jnp.sinh(features[4]) * 10, 7, rtol=1e-4)


def test_features_are_finite_at_the_beam_and_for_a_hit_with_itself():
    rows = jnp.asarray([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert np.all(np.isfinite(node_features(rows)))
    assert np.all(np.isfinite(pair_features(rows, rows)[0]))
