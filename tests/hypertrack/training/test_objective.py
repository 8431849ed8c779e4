"""Losses of a batch: graphs apart, padding, micrographs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.training import objective
from tests.hypertrack.net_graphs import (
    FAST,
    SMALL,
    drawn_variables,
    make_graph,
    micrographs,
    stack,
)


@pytest.fixture(scope="module")
def variables():
    return drawn_variables(SMALL)


def run(settings, variables, batch, phase="joint", key=None):
    batch = jax.tree.map(jnp.asarray, batch)
    call = jax.jit(objective.evaluate, static_argnums=(0, 4, 5))
    params, stats = variables["params"], variables["batch_stats"]
    return call(settings, params, stats, batch, phase, True, key)


def graphs(count=2):
    found = [make_graph(seed=k, nodes=24, edges=300) for k in range(count)]
    return [{**g, **micrographs(g)} for g in found]


@pytest.mark.slow
def test_graphs_of_a_batch_do_not_see_each_other(variables):
    values, logits, moments = run(SMALL, variables, stack(graphs()))
    for k, graph in enumerate(graphs()):
        one, alone, own = run(SMALL, variables, stack([graph]))
        np.testing.assert_allclose(logits[k], alone[0], atol=2e-4)
        for name in values:
            np.testing.assert_allclose(values[name][k], one[name][0], atol=1e-4)
        jax.tree.map(
            lambda a, b, k=k: np.testing.assert_allclose(
                a[k], b[0], rtol=1e-3, atol=1e-4
            ),
            moments,
            own,
        )


def test_the_loss_is_the_weighted_sum_of_its_parts(variables):
    values, _, _ = run(SMALL, variables, stack(graphs(1)))
    expected = (
        0.2 * values["edge_BCE"]
        + values["edge_contrastive"]
        + 0.2 * values["cluster_BCE"]
        + 0.2 * values["cluster_contrastive"]
    )
    assert values["clusters"] > 0
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-6)


@pytest.mark.slow
def test_losses_of_clusters_reach_the_graph_net(variables):
    only = dataclasses.replace(SMALL, beta_edge_bce=0.0, beta_edge_contrastive=0.0)
    (graph,) = graphs(1)

    def loss(params):
        found = objective.evaluate_graph(
            only, params, variables["batch_stats"], graph, "joint", True
        )
        return found[0]["loss"]

    graph = jax.tree.map(jnp.asarray, graph)
    found = jax.jit(jax.grad(loss))(variables["params"])
    for part in ("net", "transformer"):
        kernels = [np.abs(g).max() for g in jax.tree.leaves(found[part])]
        assert max(kernels) > 1e-6
    assert np.abs(found["net"]["conv_0"]["edge"]["linear_0"]["kernel"]).max() > 0


def test_proposed_micrographs_replace_those_of_the_batch(variables):
    made = jax.tree.map(jnp.asarray, micrographs(make_graph(nodes=24, edges=300)))
    settings = dataclasses.replace(SMALL, propose=lambda graph, prob, key: made)
    batch = stack([make_graph(nodes=24, edges=300)])
    got, _, _ = run(settings, variables, batch, key=jax.random.key(3))
    expected, _, _ = run(SMALL, variables, {**batch, **stack([made])})
    np.testing.assert_allclose(got["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.slow
def test_proposals_are_keyed_by_the_slot(variables):
    def propose(graph, prob, key):
        rows = jax.random.randint(key, (2, 6), 0, 20, jnp.int32)
        mask = jnp.ones((2, 6), bool)
        return {
            "rows": rows,
            "row_mask": mask,
            "pivots": rows[:, :3],
            "set_mask": mask[:, 0],
        }

    settings = dataclasses.replace(SMALL, propose=propose)
    batch = stack([make_graph(nodes=24, edges=300)] * 2)
    key = jax.random.key(3)
    both, _, _ = run(settings, variables, {**batch, "slot": np.array([4, 9])}, key=key)
    last = {name: array[1:] for name, array in batch.items()}
    alone, _, _ = run(settings, variables, {**last, "slot": np.array([9])}, key=key)
    np.testing.assert_allclose(both["loss"][1], alone["loss"][0], rtol=1e-4)
    assert both["cluster_BCE"][0] != both["cluster_BCE"][1]


def test_graphs_of_padding_have_no_weight():
    values = {"loss": jnp.array([2.0, jnp.nan]), "auc": jnp.array([jnp.nan, 1.0])}
    batch = {"edge_mask": jnp.array([[True, False], [False, False]])}
    weight = objective.graph_weight(batch)
    np.testing.assert_array_equal(weight, [1, 0])
    found = objective.weighted_sums(values, weight)
    assert found["loss"] == (2, 1)
    assert found["auc"] == (0, 0)
    given = objective.graph_weight({**batch, "weight": jnp.array([0, 1])})
    np.testing.assert_array_equal(given, [0, 1])


def test_both_nets_give_latents_that_the_transformer_reads():
    graph = jax.tree.map(jnp.asarray, make_graph())
    settings = dataclasses.replace(SMALL, net=FAST)
    variables = drawn_variables(settings)
    evaluate = jax.jit(objective.latents_and_logits, static_argnums=0)
    params, stats = variables["params"], variables["batch_stats"]
    latents, logits = evaluate(settings, params, stats, graph)
    rows = objective.transformer_rows(FAST, latents, graph["position"])
    assert rows.shape == (20, 10)
    assert np.abs(rows[:, 7:]).max() < 10  # coordinates are scaled for this net
    assert logits.shape == graph["edge_label"].shape


def test_unknown_phases_are_refused():
    with pytest.raises(ValueError, match="phase: expected one of"):
        SMALL.trained("warm-up")
