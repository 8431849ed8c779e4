"""Energies given places: the views, the network, its loss."""

from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hidden_vertex.model import conditional as c
from jaxphys.hidden_vertex.model.model import parameter_count
from jaxphys.hidden_vertex.training import losses
from tests.hidden_vertex import graph_sets


def jets(counts, members=12, seed=0):
    """Returns jets [len(counts), members, 3] with given numbers of constituents."""
    rng = np.random.default_rng(seed)
    found = np.zeros((len(counts), members, 3), np.float32)
    for row, count in zip(found, counts, strict=True):
        w = np.sort(rng.random(count))[::-1]
        row[:count, 0] = w / max(w.sum(), 1e-9)
        row[:count, 1:] = rng.normal(size=(count, 2))
    return found


def random_params(model, view):
    """Returns weights with biases that are not zero."""
    params = jax.jit(model.init)(jax.random.key(0), view)["params"]
    return jax.tree.map(
        lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), params
    )


def dense(params, x):
    """An MLP with ReLU between, in float64."""
    for number in range(len(params)):
        layer = params[f"dense_{number}"]
        x = np.maximum(x, 0) if number else x
        x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])
    return x


def test_network_of_the_jets_has_the_published_number_of_parameters():
    model, view = c.ConditionalAutoencoder(), c.jets_view(jets([5, 9]))
    params = jax.jit(model.init)(jax.random.key(0), view)["params"]
    assert parameter_count(params) == 22088
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(params) if leaf.ndim == 1)


def test_jet_equals_the_definition():
    constituents = jets([7])[0]
    constituents[6, 0] = 1e-7  # its logarithm is that of 1e-5
    model = c.ConditionalAutoencoder(latent_dim=3, width=8)
    view = c.jets_view(constituents)
    params = random_params(model, view)
    found: Any = jax.jit(model.apply)({"params": params}, view)
    prediction, code = found
    w, x, y = constituents[:7].T.astype(np.float64)
    log = np.log(np.maximum(w, 1e-5))
    phi = dense(params["embed"], np.stack([log / 4, 3 * x, 3 * y], 1))
    pooled = np.concatenate([phi.mean(axis=0), w @ phi])
    z = dense(params["head"], np.maximum(pooled, 0))
    np.testing.assert_allclose(code, z, rtol=1e-5, atol=1e-6)
    spread = np.broadcast_to(z, (7, 3))
    out = dense(params["decoder"], np.column_stack([5 * x, 5 * y, spread]))
    np.testing.assert_allclose(prediction[:7], out, rtol=1e-5, atol=1e-6)
    s = np.clip(out[:, 1], -4, 4)
    nll = np.mean((log - out[:, 0]) ** 2 * np.exp(-s) + s)
    np.testing.assert_allclose(losses.set_loss(view, prediction), nll, rtol=1e-5)


def test_event_equals_the_definition():
    particles = np.abs(jets([6])[0]) * [90, 1, 1]
    view = c.event_view(jnp.asarray(particles, jnp.float32))
    pt = particles[:6, 0]
    np.testing.assert_allclose(view.weight[:6], pt / pt.sum(), rtol=1e-6)
    np.testing.assert_allclose(view.target[:6], np.log(pt), rtol=1e-5)
    np.testing.assert_allclose(view.inputs[:6, 0], np.log(pt) / 3, rtol=1e-5)
    np.testing.assert_allclose(view.position, particles[:, 1:] / 2, rtol=1e-6)
    model = c.ConditionalAutoencoder(10, outputs=1)
    found: Any = jax.jit(model.apply)(
        jax.jit(model.init)(jax.random.key(0), view), view
    )
    prediction, code = found
    assert (prediction.shape, code.shape) == ((12, 1), (10,))
    expected = np.mean((prediction[:6, 0] - view.target[:6]) ** 2)
    np.testing.assert_allclose(losses.set_loss(view, prediction), expected, rtol=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
def test_order_and_padding_do_not_matter(outputs):
    model = c.ConditionalAutoencoder(latent_dim=3, outputs=outputs, width=8)
    many = jets([12, 5, 1, 0])
    params = random_params(model, c.jets_view(many))

    @jax.jit
    def value(constituents):
        view = c.jets_view(constituents)
        found: Any = model.apply({"params": params}, view)
        prediction, code = found
        return losses.set_loss(view, prediction), code

    expected = value(many)
    order = np.random.default_rng(3).permutation(12)
    padded = np.pad(many, ((0, 0), (0, 5), (0, 0)))
    padded[:, 12:, 1:] = 9
    for other in (many[:, order], padded):
        for one, two in zip(expected, value(other), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert expected[0][3] == 0  # nothing there, nothing to pay
    np.testing.assert_array_equal(value(many[::-1])[0], expected[0][::-1])


def test_gradients_are_finite_with_empty_jets_and_right_by_differences():
    model = c.ConditionalAutoencoder(latent_dim=2, width=4)
    with jax.enable_x64(True):
        view = c.jets_view(jnp.asarray(jets([12, 1, 0]), jnp.float64))
        params = random_params(model, view)
        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)

        @jax.jit
        def total(params):
            found: Any = model.apply({"params": params}, view)[0]
            return jnp.sum(losses.set_loss(view, found))

        gradients = jax.jit(jax.grad(total))(params)
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        slope = jax.flatten_util.ravel_pytree(gradients)[0]
        assert np.all(np.isfinite(slope))
        for place in range(0, len(flat), 11):
            move = jnp.zeros_like(flat).at[place].set(1e-6)
            up, down = total(unravel(flat + move)), total(unravel(flat - move))
            np.testing.assert_allclose(slope[place], (up - down) / 2e-6, atol=1e-7)


def test_graph_view_predicts_the_energy_from_code_and_place():
    part = graph_sets.part_of(graph_sets.events([5, 8, 1]))
    model = c.ConditionalGraphAutoencoder((8, 6), 4, (7,))
    params = random_params(model, part)
    found: Any = jax.jit(model.apply)({"params": params}, part)
    assert (found.code.shape, found.x_hat.shape) == ((3, 4), (14, 1))
    spread = np.asarray(found.code)[part["graph_index"]]
    out = dense(params["decoder"], np.column_stack([spread, part["x"][:, 1:]]))
    np.testing.assert_allclose(found.x_hat, out, rtol=1e-5, atol=1e-6)
