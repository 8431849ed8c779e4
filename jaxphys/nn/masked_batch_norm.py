"""Batch normalisation as PyTorch does it, over the real rows of a padded batch.

Three things differ from flax's layer: rows may have weights; the running variance is
the unbiased one, n / (n - 1); momentum is the weight of the new value. The statistics
are plain sums over all rows, so a batch that is split over devices has those of the
whole batch.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Moments(NamedTuple):
    """Mean and variance of the features of a batch.

    Attributes:
        mean: [A].
        var: biased, [A].
        count: sum of the weights of the rows, a scalar.
    """

    mean: jax.Array
    var: jax.Array
    count: jax.Array


def moments(x: jax.Array, weight: jax.Array | None = None) -> Moments:
    """Returns the moments over all axes but the last.

    Args:
        x: [..., A].
        weight: of the rows, of the rank of a row's index; axes of length 1 are
            repeated. Rows of weight 0 count nothing; they have to be finite.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    rows = math.prod(x.shape[:-1])
    if weight is None:
        weight = jnp.ones((1,) * (x.ndim - 1), x.dtype)
    weight = weight.astype(x.dtype)
    count = jnp.sum(weight) * (rows / weight.size)
    divisor = jnp.where(count > 0, count, 1)
    mean = _weighted_sum(x, weight) / divisor
    # the variance is stationary in the mean: no gradient goes that way
    squares = _weighted_squares(x, jax.lax.stop_gradient(mean), weight)
    return Moments(mean, squares / divisor, count)


@jax.checkpoint
def _weighted_squares(x: jax.Array, mean: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the sum of (x - mean)^2, [A]; the differences are not kept."""
    return _weighted_sum((x - _along(mean, x)) ** 2, weight)


def _weighted_sum(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the sum over all axes but the last, [A].

    Axes along which the weight is the same are summed first: on a CPU a weight that is
    multiplied in at every element would cost a copy of x.
    """
    equal = tuple(axis for axis, size in enumerate(weight.shape) if size == 1)
    inner = jnp.sum(x, equal, keepdims=True)
    return jnp.sum(weight[..., None] * inner, tuple(range(x.ndim - 1)))


def _along(vector: jax.Array, x: jax.Array) -> jax.Array:
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


class MaskedBatchNorm(nn.Module):
    """Batch normalisation with PyTorch's conventions and optional row weights.

    Running statistics are the variables `mean` and `var` of the collection
    batch_stats.

    Attributes:
        momentum: weight of the new value in the running statistics.
        eps: added to the variance.
    """

    momentum: float = 0.1
    eps: float = 1e-5

    def __call__(
        self, x: jax.Array, train: bool, weight: jax.Array | None = None
    ) -> jax.Array:
        """Returns the normalised features, [..., A]; see `scale_and_shift`."""
        scale, shift = self.scale_and_shift(x, train, weight)
        return (x * _along(scale, x) + _along(shift, x)).astype(x.dtype)

    @nn.compact
    def scale_and_shift(
        self,
        x: jax.Array,
        train: bool,
        weight: jax.Array | None = None,
        left_out: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns what normalises x by x * scale + shift, [A] each.

        Args:
            x: [..., A].
            train: with the statistics of this batch, which also enter the running
                ones; else with the running statistics.
            weight: of the rows, see `moments`; only read when training.
            left_out: a constant [A] that was not added to `x` because normalisation
                removes it; the running mean holds it.

        Raises:
            ValueError: training on a single row.
        """
        size = x.shape[-1]
        gamma = self.param("scale", nn.initializers.ones, (size,))
        beta = self.param("bias", nn.initializers.zeros, (size,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (size,))
        var = self.variable("batch_stats", "var", jnp.ones, (size,))
        constant = jnp.zeros_like(beta) if left_out is None else left_out
        if train:
            if math.prod(x.shape[:-1]) < 2:
                raise ValueError(
                    "batch normalisation: expected two rows or more to train on, got "
                    f"x of shape {x.shape}"
                )
            found = moments(x, weight)
            if not self.is_initializing():
                self._remember(mean, found.mean + constant)
                unbiased = found.count / jnp.maximum(found.count - 1, 1)
                self._remember(var, found.var * unbiased)
            centre, variance = found.mean, found.var
        else:
            centre, variance = mean.value - constant, var.value
        scale = gamma * jax.lax.rsqrt(variance + self.eps)
        return scale, beta - centre * scale

    def _remember(self, variable: nn.Variable, value: jax.Array) -> None:
        old = variable.value
        new = jax.lax.stop_gradient(value).astype(old.dtype)
        variable.value = (1 - self.momentum) * old + self.momentum * new
