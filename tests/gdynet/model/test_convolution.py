"""Features of distances, and attention over the neighbours that exist."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.gdynet.model.convolution import (
    CGConv,
    Edges,
    centres,
    expand,
    expand_first,
    neighbour_softmax,
)

RNG = np.random.default_rng(0)


def test_expansion_has_its_last_centre_at_the_cutoff_and_decays_beyond():
    mu, factor = centres(50, 6.0)
    found = expand(jnp.array([0.0, 6.0, 6 + 6 / 49, 60.0]), mu, factor)
    np.testing.assert_allclose(found[0, 0], 1)
    np.testing.assert_allclose(found[1, -1], 1)
    np.testing.assert_allclose(found[2, -1], np.exp(-0.5), rtol=1e-4)
    np.testing.assert_array_equal(found[3], 0)


def test_expansion_of_xie_has_no_half():
    mu, factor = centres(gaussian="txie")
    assert len(mu) == 36
    assert mu[-1] == 7
    found = expand(jnp.array([0.3]), mu, factor)
    np.testing.assert_allclose(found[0, :2], np.exp(-np.array([9, 1]) / 4), rtol=1e-5)


def test_both_layouts_of_the_features_are_equal():
    distances = jnp.asarray(RNG.uniform(0, 7, (2, 3, 4)), jnp.float32)
    mu, factor = centres(10, 6.0)
    one, other = (f(distances, mu, factor) for f in (expand, expand_first))
    np.testing.assert_allclose(one.reshape(-1, 10).T, other, rtol=1e-6)


def test_attention_is_over_existing_neighbours():
    gate = jnp.asarray(RNG.normal(size=(2, 3, 4)), jnp.float32)
    mask = jnp.array([True, True, False, False])[None, None]
    found = neighbour_softmax(gate, jnp.broadcast_to(mask, gate.shape))
    expected = jax.nn.softmax(gate[..., :2], axis=-1)
    np.testing.assert_allclose(found[..., :2], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[..., 2:], 0)
    np.testing.assert_array_equal(neighbour_softmax(gate, jnp.zeros_like(mask)), 0)


def test_gradients_of_a_layer_are_those_of_finite_differences():
    with jax.enable_x64(True):
        shape, mu = (2, 3, 4), centres(5, 4.0)
        distances = jnp.asarray(RNG.uniform(1, 4, shape))
        edges = Edges(
            jnp.asarray(RNG.integers(0, 3, shape)),
            expand(distances, *mu),
            expand_first(distances, *mu),
        )
        h, layer = jnp.asarray(RNG.normal(size=(2, 3, 6))), CGConv(5)
        drawn = layer.init(jax.random.key(0), h, edges, False)
        wide = jax.tree.map(lambda a: a.astype(jnp.float64), drawn)

        @jax.jit
        def value(params, h):
            tree = {**wide, "params": params}
            found, _ = layer.apply(tree, h, edges, True, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(found))

        grads = jax.grad(value, (0, 1))(wide["params"], h)
        way = jax.tree.map(
            lambda a: jnp.asarray(RNG.normal(size=a.shape)), (wide["params"], h)
        )
        step = 1e-6
        moved = [
            jax.tree.map(lambda a, b, s=s: a + s * b, (wide["params"], h), way)
            for s in (step, -step)
        ]
        expected = (value(*moved[0]) - value(*moved[1])) / (2 * step)
        found = sum(
            jnp.sum(a * b)
            for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(way), strict=True)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6)
