"""The graph autoencoders and what must not change them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.equivalence import torch_weights
from jaxphys.hidden_vertex.model import model as m
from jaxphys.nn.graph_convolution import Neighbours, aggregate
from tests.hidden_vertex import graph_sets

SIZES = [9, 1, 2, 14, 5]
MODELS = {
    "seed": (m.SeedAutoencoder((8, 6), 4, (7,)), m.seed_entries()),
    "node": (m.NodeAutoencoder((8, 6), 2), m.node_entries()),
}


def part_of(sizes=SIZES, seed=0):
    return graph_sets.part_of(graph_sets.events(sizes, seed))


def params_of(model, part):
    """Returns weights with biases that are not zero."""
    params = jax.jit(model.init)(jax.random.key(0), part)["params"]
    return jax.tree.map(
        lambda p: p + 0.1 * jnp.sin(jnp.arange(p.size)).reshape(p.shape), params
    )


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (m.SeedAutoencoder(), 3565),
        (m.SeedAutoencoder((64, 32), 10, (32, 64), (32,), 0.1), 6381),
        (m.NodeAutoencoder((16, 8), 1), 420),
        (m.NodeAutoencoder((32, 16), 2), 1381),
    ],
)
def test_published_numbers_of_parameters(model, count):
    params = jax.jit(model.init)(jax.random.key(0), part_of())["params"]
    assert m.parameter_count(params) == count


@pytest.mark.parametrize("name", MODELS)
def test_output_and_gradients_equal_pytorch_geometric(name):
    pytest.importorskip("torch")
    pytest.importorskip("torch_geometric.nn")
    import torch

    from tests.hidden_vertex import pyg_twin

    torch.manual_seed(0)
    make = {"seed": pyg_twin.Seed, "node": pyg_twin.PerNode}[name]
    twin = make(
        **(
            {"hidden": (8, 6), "latent_dim": 4, "decoder_hidden": 7}
            if name == "seed"
            else {"hidden": (8, 6), "latent_dim": 2}
        )
    )
    model, entries = MODELS[name]
    params = torch_weights.to_flax(pyg_twin.weights(twin), entries)
    part = part_of()
    inputs = pyg_twin.inputs_of(part)
    expected = twin(*inputs)
    torch.mean((expected - inputs[0]) ** 2).backward()

    def value(params):
        found = model.apply({"params": params}, part).x_hat
        return jnp.mean(jnp.square(found - part["x"])), found

    grads, found = jax.jit(jax.grad(value, has_aux=True))(params)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    grads = torch_weights.to_torch(grads, entries)
    for key, wanted in pyg_twin.gradients(twin).items():
        np.testing.assert_allclose(grads[key], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_neighbours_and_a_stored_aggregate_give_the_same(name):
    model, _ = MODELS[name]
    part = part_of()
    params = params_of(model, part)
    expected = model.apply({"params": params}, part)
    rest = {k: v for k, v in part.items() if k not in ("senders", "receivers")}
    rest["neighbours"] = graph_sets.neighbours_of(part, 3)
    stored = aggregate(part["x"], Neighbours(rest["neighbours"]))
    for fast in (rest, {**rest, "aggregate": stored}):
        found = model.apply({"params": params}, fast)
        np.testing.assert_allclose(found.x_hat, expected.x_hat, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.code, expected.code, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_order_of_the_nodes_does_not_matter(name):
    model, _ = MODELS[name]
    part = part_of()
    params = params_of(model, part)
    moved, order = graph_sets.shuffled(part)
    expected = model.apply({"params": params}, part)
    found = model.apply({"params": params}, moved)
    np.testing.assert_allclose(found.x_hat, expected.x_hat[order], rtol=1e-5, atol=1e-6)
    if not model.code_per_node:
        np.testing.assert_allclose(found.code, expected.code, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name):
    model, _ = MODELS[name]
    events = graph_sets.events(SIZES)
    part = graph_sets.part_of(events)
    params = params_of(model, part)
    batch = graph_sets.batch_of(events, nodes=60, edges=200, graphs=9)
    padded = jax.tree.map(lambda a: a[0], batch)
    expected = model.apply({"params": params}, part)
    found = model.apply({"params": params}, padded)
    nodes, codes = len(part["x"]), len(expected.code)
    np.testing.assert_allclose(
        found.x_hat[:nodes], expected.x_hat, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(found.code[:codes], expected.code, rtol=1e-6, atol=1e-6)
    assert np.all(np.isfinite(found.x_hat))


def test_graph_without_nodes_gets_the_code_of_nothing():
    model, _ = MODELS["seed"]
    one, other = graph_sets.events([4, 3])
    full = graph_sets.part_of([one, other])
    empty = graph_sets.part_of([one, graph_sets.event(0, 7), other])
    params = params_of(model, full)
    expected = model.apply({"params": params}, full)
    found = model.apply({"params": params}, empty)
    there = found.code[np.array([0, 2])]
    np.testing.assert_allclose(there, expected.code, rtol=1e-5, atol=1e-6)
    head = params["encoder"]["head"]["dense_0"]["bias"]
    np.testing.assert_allclose(found.code[1], head, rtol=1e-6)


def test_masks_depend_on_the_event_and_nothing_else():
    """Not on padding, on the events beside it, or on the part that it is in."""
    key, events = jax.random.key(3), graph_sets.events([5, 8, 3])
    alone = graph_sets.part_of(events[1:2])
    batch = graph_sets.batch_of(events[:2], events[2:], nodes=30)
    part = jax.tree.map(lambda a: a[0], batch)
    one = m.draw_keep(key, alone, (4, 6), 0.3)
    other = m.draw_keep(key, part, (4, 6), 0.3)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b[5:13])
    again = m.draw_keep(jax.random.key(4), alone, (4, 6), 0.3)
    assert any(np.any(a != b) for a, b in zip(one, again, strict=True))
    assert np.any(one[0] != one[1][:, :4])


def test_dropout_keeps_the_mean_of_the_activations():
    part = part_of([400])
    masks = m.draw_keep(jax.random.key(0), part, (50,), 0.1)
    assert np.mean(masks[0]) == pytest.approx(0.9, abs=0.01)
    model = m.SeedAutoencoder((50, 4), dropout=0.1)
    params = jax.jit(model.init)(jax.random.key(0), part)["params"]
    encoder = model.bind({"params": params}).encoder
    keep = [masks[0], np.ones((400, 4), bool)]
    dropped, kept = encoder.nodes(part, keep)[0], encoder.nodes(part)[0]
    there = np.asarray(masks[0])
    np.testing.assert_allclose(dropped[there], kept[there] / 0.9, rtol=1e-6)
    assert np.all(dropped[~there] == 0)


def test_standardised_features():
    raw = np.array([[0.0, 1.0, 2.0], [7.0, -1.0, 0.5]], np.float32)
    found = m.standardised(jnp.asarray(raw), (1, 2, 3), (2, 4, 5))
    columns = (
        np.log(np.maximum(raw[:, 0].astype(np.float64), 1e-8)),
        raw[:, 1],
        raw[:, 2],
    )
    expected = (np.stack(columns, 1) - [1, 2, 3]) / [2, 4, 5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_initial_weights_have_the_ranges_of_pytorch():
    params = jax.jit(m.SeedAutoencoder((64, 400), 300).init)(
        jax.random.key(0), part_of()
    )
    head = params["params"]["encoder"]["head"]["dense_0"]
    for leaf in head.values():
        assert np.abs(leaf).max() <= 1 / np.sqrt(400)
        np.testing.assert_allclose(leaf.std(), 1 / np.sqrt(3 * 400), rtol=0.1)
