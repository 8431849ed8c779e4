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

EPSILON = 1e-5
SLOPE = 0.2


def leaky_relu(x: jax.Array) -> jax.Array:
    """Returns x, or 0.2 x where it is negative."""
    return jnp.where(x > 0, x, SLOPE * x)


def normalise(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns x with mean 0 and variance 1 over the last axis, then scale and bias.

    The variance is the mean square of what is left after the mean is subtracted: with
    entries of -1e9, the vector of an event without muons, E[x^2] - E[x]^2 has no digit.
    """
    mean = jnp.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + EPSILON) * scale + bias


def _along(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


class Dense(nn.Module):
    """A linear layer; its kernel is also at hand in pieces.

    Attributes:
        fan_in: width of the input.
        features: width of the output.
        init_weights: see `GanSettings`.
    """

    fan_in: int
    features: int
    init_weights: str = "xavier"

    def setup(self) -> None:
        xavier = self.init_weights == "xavier"
        kernel = xavier_normal(0.5) if xavier else linear_kernel()
        bias = zero_bias(self.fan_in) if xavier else linear_bias(self.fan_in)
        self.kernel = self.param("kernel", kernel, (self.fan_in, self.features))
        self.bias = self.param("bias", bias, (self.features,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., features] for x [..., fan_in]."""
        return x @ self.kernel + _along(self.bias, x.ndim)


class NormedDense(nn.Module):
    """A linear layer, a normalisation where wanted, and a leaky ReLU.

    Attributes:
        fan_in: width of the input.
        features: width of the output.
        normed: whether the output is normalised over its width.
        init_weights: see `GanSettings`.
    """

    fan_in: int
    features: int
    normed: bool = True
    init_weights: str = "xavier"

    def setup(self) -> None:
        self.dense = Dense(self.fan_in, self.features, self.init_weights)
        if self.normed:
            ones, zeros = nn.initializers.ones, nn.initializers.zeros
            self.scale = self.param("scale", ones, (self.features,))
            self.shift = self.param("shift", zeros, (self.features,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., features] for x [..., fan_in]."""
        y = self.dense(x)
        if self.normed:
            y = normalise(y, _along(self.scale, y.ndim), _along(self.shift, y.ndim))
        return leaky_relu(y)
