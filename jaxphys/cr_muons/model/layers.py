"""Layers of both networks: linear, normalised, with PyTorch's initial weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.nn.initializers import (
    linear_bias,
    linear_kernel,
    xavier_normal,
    zero_bias,
)
from jaxphys.nn.rounded_matmul import matmul

EPSILON = 1e-5
SLOPE = 0.2


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns x, or 0.2 x where it is negative."""
    return jnp.where(x > 0, x, SLOPE * x)


def _row_sums(x: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Returns the (weighted) sums over the last axis, [N, 1].

    As a product with a vector: on a CPU several sums over rows of one array are fused
    into loops that take three times as long. Full precision, for cards whose products
    are rounded otherwise.
    """
    weight = jnp.ones(x.shape[-1], x.dtype) if weight is None else weight
    return jnp.matmul(x, weight[:, None], precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def normed_leaky_relu(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns the leaky ReLU of normalised rows, [N, K].

    Rows get mean 0 and variance 1, then scale and shift. The variance is the mean
    square of what is left after the mean is subtracted: with entries of -1e9, the
    vector of an event without muons, E[x^2] - E[x]^2 has no digit.

    Args:
        x: [N, K].
        scale: [K].
        shift: [K].
    """
    return _forward(x, scale, shift)[0]


def _forward(x, scale, shift):
    width = x.shape[-1]
    mean = _row_sums(x) / width
    centred = x - mean
    root = jax.lax.rsqrt(_row_sums(centred * centred) / width + EPSILON)
    return leaky_relu(_affine(centred * root, scale, shift)), (
        x,
        mean,
        root,
        scale,
        shift,
    )


def _affine(unit, scale, shift):
    return unit * scale[None] + shift[None]


def _backward(kept, gradient):
    x, mean, root, scale, shift = kept
    width = x.shape[-1]
    unit = (x - mean) * root
    positive = _affine(unit, scale, shift) > 0
    gradient = jnp.where(positive, gradient, SLOPE * gradient)
    product = gradient * unit
    along = _row_sums(product, scale) / width
    constant = _row_sums(gradient, scale) / width
    slope = root * (gradient * scale[None] - constant - unit * along)
    return slope, jnp.sum(product, axis=0), jnp.sum(gradient, axis=0)


normed_leaky_relu.defvjp(_forward, _backward)


def _along(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


class Dense(nn.Module):
    """A linear layer; its kernel is also at hand in pieces.

    Attributes:
        fan_in: width of the input.
        features: width of the output.
        init_weights: see `GanSettings`.
        dtype: that operands of products are rounded to; None keeps theirs.
    """

    fan_in: int
    features: int
    init_weights: str = "xavier"
    dtype: str | None = None

    def setup(self) -> None:
        xavier = self.init_weights == "xavier"
        kernel = xavier_normal(0.5) if xavier else linear_kernel()
        bias = zero_bias(self.fan_in) if xavier else linear_bias(self.fan_in)
        self.kernel = self.param("kernel", kernel, (self.fan_in, self.features))
        self.bias = self.param("bias", bias, (self.features,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., features] for x [..., fan_in]."""
        return matmul(x, self.kernel, self.dtype) + _along(self.bias, x.ndim)


class NormedDense(nn.Module):
    """A linear layer, a normalisation where wanted, and a leaky ReLU.

    Attributes:
        fan_in: width of the input.
        features: width of the output.
        normed: whether the output is normalised over its width.
        init_weights: see `GanSettings`.
        dtype: that operands of products are rounded to; None keeps theirs.
    """

    fan_in: int
    features: int
    normed: bool = True
    init_weights: str = "xavier"
    dtype: str | None = None

    def setup(self) -> None:
        self.dense = Dense(self.fan_in, self.features, self.init_weights, self.dtype)
        if self.normed:
            ones, zeros = nn.initializers.ones, nn.initializers.zeros
            self.scale = self.param("scale", ones, (self.features,))
            self.shift = self.param("shift", zeros, (self.features,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [N, features] for x [N, fan_in]."""
        y = self.dense(x)
        return (
            normed_leaky_relu(y, self.scale, self.shift)
            if self.normed
            else leaky_relu(y)
        )
