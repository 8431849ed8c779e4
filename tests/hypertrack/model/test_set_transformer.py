"""The set transformer: order, padding, size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.model.set_transformer import SetTransformer
from tests.hypertrack.net_graphs import TRANSFORMER

ROWS, PIVOTS = (
    jax.random.normal(jax.random.key(k), (2, n, 10)) for k, n in ((0, 7), (1, 3))
)
MASK = jnp.arange(7)[None] < jnp.array([[7], [5]])
PARAMS = jax.jit(TRANSFORMER.init)(jax.random.key(2), ROWS, PIVOTS, MASK)


def run(rows, pivots, mask, pivot_mask=None) -> Any:
    return jax.jit(TRANSFORMER.apply)(PARAMS, rows, pivots, mask, pivot_mask)


def test_rows_and_pivots_may_come_in_any_order():
    order, turned = jnp.array([3, 0, 6, 1, 5, 2, 4]), jnp.array([2, 0, 1])
    expected = run(ROWS, PIVOTS, MASK)[:, order]
    got = run(ROWS[:, order], PIVOTS[:, turned], MASK[:, order])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_padding_of_rows_pivots_and_sets_changes_nothing():
    expected = run(ROWS, PIVOTS, MASK)
    rows = jnp.pad(ROWS, ((0, 1), (0, 4), (0, 0)), constant_values=9)
    pivots = jnp.pad(PIVOTS, ((0, 1), (0, 2), (0, 0)), constant_values=9)
    mask = jnp.pad(MASK, ((0, 1), (0, 4)))
    got = run(rows, pivots, mask, jnp.pad(jnp.ones((2, 3), bool), ((0, 1), (0, 2))))
    assert np.all(np.isfinite(got))
    np.testing.assert_allclose(
        np.where(MASK, got[:2, :7], 0), np.where(MASK, expected, 0), atol=1e-5
    )


def test_the_default_has_the_size_of_the_original():
    rows, mask = jnp.zeros((1, 4, 64)), jnp.ones((1, 4), bool)
    found = jax.eval_shape(SetTransformer().init, jax.random.key(0), rows, rows, mask)
    assert sum(leaf.size for leaf in jax.tree.leaves(found)) == 137025
