"""Products with rounded operands, and their gradients of both orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.nn.rounded_matmul import matmul
from tests.products import dtypes_of_products


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)


def loss(x, y, dtype=None):
    return jnp.sum(jnp.sin(matmul(x, y, dtype)))


def square_of_slope(x, y, dtype=None):
    return jnp.sum(jax.grad(loss)(x, y, dtype) ** 2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("function", [loss, square_of_slope])
@pytest.mark.parametrize(
    "shapes", [((8, 5), (5, 3)), ((2, 4, 5), (5, 3)), ((2, 3, 4, 5), (2, 3, 5, 6))]
)
def test_gradients_of_both_orders_are_close_and_in_float32(function, shapes, dtype):
    x, y = arrays(*shapes)
    exact = jax.grad(function, (0, 1))(x, y)
    rounded = jax.grad(function, (0, 1))(x, y, dtype)
    assert matmul(x, y, dtype).dtype == jnp.float32
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == jnp.float32
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, atol=0.04 * np.abs(a).max())


@pytest.mark.parametrize("function", [loss, square_of_slope])
def test_every_product_has_rounded_operands(function):
    slope = jax.grad(lambda x, y: function(x, y, jnp.bfloat16), (0, 1))
    found = dtypes_of_products(slope, *arrays((8, 5), (5, 3)))
    assert set(found) == {("bfloat16", "bfloat16")}


def test_the_operands_keep_their_types_as_gradients():
    x, y = arrays((8, 5), (5, 3))
    slopes = jax.grad(loss, (0, 1))(x.astype(jnp.bfloat16), y, jnp.bfloat16)
    assert [slope.dtype for slope in slopes] == [jnp.bfloat16, jnp.float32]


def test_sums_are_taken_in_float32():
    ones = jnp.ones((1, 1000))
    assert float(matmul(ones, ones.T, jnp.bfloat16)[0, 0]) == 1000


@pytest.mark.parametrize("dtype", [None, jnp.float32])
def test_without_rounding_it_is_the_product(dtype):
    x, y = arrays((2, 4, 5), (5, 3))
    np.testing.assert_array_equal(matmul(x, y, dtype), x @ y)
