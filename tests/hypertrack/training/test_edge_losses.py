"""Losses of edges: the loop over tracks, padding, empty graphs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.training.edge_losses import (
    BCE_TYPES,
    EdgeBCE,
    EdgeContrastive,
    edge_bce,
    edge_contrastive,
    focus,
)
from tests.hypertrack.net_graphs import make_graph


def looped(logits, graph, tau, min_prob, most, weights):
    """The definition: one track after the other."""
    logits, total, norm, hits = np.asarray(logits, np.float64), 0.0, 0.0, []
    track, (source, destination) = graph["track"], graph["edge_index"]
    kept = (1 / (1 + np.exp(-logits)) > min_prob) & graph["edge_mask"]
    score = np.tanh(logits) / tau
    for number in range(min(most, track.max() + 1)):
        own = track == number
        a, b = own[source] & kept, own[destination] & kept
        positive = a & b & (source != destination)
        if not positive.any():
            continue
        against = np.exp(score[a != b]).sum()
        each = np.exp(score[positive])
        weight = (
            np.asarray(graph["hit_weight"], np.float64)[own].sum() if weights else 1.0
        )
        total += weight * -np.mean(np.log(each / (each + against)))
        norm += weight
        hits.append(own.sum())
    return total / norm / np.mean(hits)


@pytest.mark.parametrize(
    ("tau", "min_prob", "most", "weights"),
    [(0.3, 1e-3, 300, True), (0.1, 0.4, 2, True), (0.02, 0.0, 300, False)],
)
def test_contrastive_loss_equals_the_loop_over_tracks(tau, min_prob, most, weights):
    graph = make_graph(hits=40, tracks=7, nodes=44, edges=800)
    logits = np.random.default_rng(2).normal(0, 2, len(graph["edge_label"]))
    got = edge_contrastive(
        jnp.asarray(logits, jnp.float32),
        jnp.asarray(graph["edge_index"]),
        jnp.asarray(graph["edge_mask"], jnp.float32),
        jnp.asarray(graph["track"]),
        jnp.asarray(graph["hit_weight"]),
        EdgeContrastive(tau, min_prob, most, weights),
    )
    expected = looped(np.float32(logits), graph, tau, min_prob, most, weights)
    np.testing.assert_allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize("kind", BCE_TYPES)
@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("remove", [True, False])
def test_edge_bce_equals_its_definition(kind, balance, remove):
    graph = make_graph(nodes=24, edges=260)
    logits = np.random.default_rng(2).normal(0, 2, len(graph["edge_label"]))
    settings = EdgeBCE(kind, 1.5, 0.2, balance, remove)
    label, (source, destination) = graph["edge_label"], graph["edge_index"]
    there = graph["edge_mask"] & ((source != destination) | (not remove))
    x, y = logits[there], np.float64(label[there])
    entropy = np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * y
    weight = np.where(y > 0, np.sum(y == 0) / np.sum(y), 1) if balance else y * 0 + 1
    if kind == "Focal":
        factor = (1 - np.exp(-entropy)) ** 1.5
        expected = np.sum(weight * factor * entropy) / weight.sum()
    else:
        expected = np.mean(weight * entropy)
    if kind == "BCE+Hinge":
        hinge = np.maximum(0, 1 - x * (2 * y - 1))
        expected = 0.8 * expected + 0.2 * np.sum(weight * hinge) / weight.sum()
    got = edge_bce(
        jnp.asarray(logits, jnp.float32),
        jnp.asarray(label),
        jnp.asarray(graph["edge_index"]),
        jnp.asarray(graph["edge_mask"], jnp.float32),
        settings,
    )
    np.testing.assert_allclose(got, expected, rtol=2e-5)


def test_graphs_without_a_true_edge_have_no_loss_and_finite_gradients():
    edges, ones = jnp.asarray([[0, 1, 2], [1, 0, 2]]), jnp.ones(3)
    track, zeros = jnp.full(3, -1), jnp.zeros(3)

    def loss(logits):
        bce = edge_bce(logits, zeros, edges, ones, EdgeBCE())
        return bce + edge_contrastive(
            logits, edges, ones, track, ones / 3, EdgeContrastive()
        )

    value, gradient = jax.value_and_grad(loss)(jnp.asarray([1.0, -1.0, 40.0]))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_focus_below_one_has_a_finite_gradient_at_certainty():
    assert np.isfinite(jax.grad(lambda x: focus(x, 0.5))(0.0))


def test_an_unknown_type_is_refused():
    one = jnp.ones(1)
    with pytest.raises(ValueError, match="edge_BCE type: expected one of"):
        edge_bce(one, one, one, one, EdgeBCE("MSE"))
