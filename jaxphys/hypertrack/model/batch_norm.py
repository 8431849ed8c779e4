"""Batch normalisation over the edges or the nodes of one graph.

A training pass normalises with the moments of its graph and hands them out instead of
changing the running statistics: the graphs of a step are evaluated side by side, and
their moments are folded in the order in which the graphs would have come one by one.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.nn.masked_batch_norm import Moments, moments

PyTree = Any
COLLECTION = "moments"


class GraphBatchNorm(nn.Module):
    """Finds what normalises the rows of a graph, with PyTorch's conventions.

    The running statistics `mean` and `var` lie in the collection batch_stats and are
    only read. A training pass sows mean and unbiased variance in the collection
    moments, one entry per call.

    Attributes:
        features: A.
        eps: added to the variance.
    """

    features: int
    eps: float = 1e-5

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        train: bool,
        weight: jax.Array,
        found: Moments | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns scale and shift, [A] each; x * scale + shift is normalised.

        Args:
            x: [R, A].
            train: with the moments of these rows; else with the running statistics.
            weight: how often a row counts, [R]; 0 for padding.
            found: the moments, where they are known.
        """
        size = self.features
        gamma = self.param("scale", nn.initializers.ones, (size,))
        beta = self.param("bias", nn.initializers.zeros, (size,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (size,))
        var = self.variable("batch_stats", "var", jnp.ones, (size,))
        if train:
            found = moments(x, weight) if found is None else found
            unbiased = found.count / jnp.maximum(found.count - 1, 1)
            self.sow(COLLECTION, "mean", jax.lax.stop_gradient(found.mean))
            self.sow(COLLECTION, "var", jax.lax.stop_gradient(found.var * unbiased))
            centre, variance = found.mean, found.var
        else:
            centre, variance = mean.value, var.value
        scale = gamma * jax.lax.rsqrt(variance + self.eps)
        return scale, beta - centre * scale


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def silu_with_moments(
    x: jax.Array, weight: jax.Array, again: bool
) -> tuple[jax.Array, Moments]:
    """Returns silu(x) and its moments, with few arrays kept for the backward pass.

    Args:
        x: [R, A].
        weight: see `moments`, [R]; no gradient goes there.
        again: whether x alone is kept, which is best for the result of a product of
            matrices; a sum that XLA would form again from its terms, and keep those,
            is not: the sigmoid and the rows are kept instead.
    """
    return _silu_forward(x, weight, again)[0]


def _silu_forward(x: jax.Array, weight: jax.Array, again: bool) -> Any:
    sigmoid = jax.nn.sigmoid(x)
    rows = x * sigmoid
    count = jnp.sum(weight)
    divisor = jnp.where(count > 0, count, 1)
    mean = _weighted_sum(weight, rows) / divisor
    variance = _weighted_sum(weight, (rows - mean[None]) ** 2) / divisor
    kept = (x,) if again else (sigmoid, rows)
    return (rows, Moments(mean, variance, count)), (kept, weight, mean, divisor)


def _weighted_sum(weight: jax.Array, x: jax.Array) -> jax.Array:
    # as a product, the weights are not repeated for every feature in memory
    return jnp.matmul(weight, x, precision=jax.lax.Precision.HIGHEST)


def _silu_backward(again: bool, saved: Any, gradient: Any) -> Any:
    kept, weight, mean, divisor = saved
    of_rows, of_moments = gradient
    if again:
        # by the tangent: the compiler would find the sigmoid of the forward pass
        # again and keep it
        sigmoid = 0.5 + 0.5 * jnp.tanh(0.5 * kept[0])
        rows = kept[0] * sigmoid
    else:
        sigmoid, rows = kept
    # the variance is stationary in the mean
    change = of_moments.mean[None] + 2 * of_moments.var[None] * (rows - mean[None])
    slope = sigmoid + rows * (1 - sigmoid)
    found = (of_rows + (weight / divisor)[:, None] * change) * slope
    return found, jnp.zeros_like(weight)


silu_with_moments.defvjp(_silu_forward, _silu_backward)


def fold_moments(
    batch_stats: PyTree, found: PyTree, weight: jax.Array, momentum: float = 0.1
) -> PyTree:
    """Returns the running statistics after the graphs of a step, in their order.

    One graph after the other would give (1 - m)^n old + sum over k of
    m (1 - m)^(n - 1 - k) moment_k; graphs of padding are left out.

    Args:
        batch_stats: tree of {mean [A], var [A]}.
        found: the same tree of tuples with one array [D, A] per call of the layer in
            one pass, as `GraphBatchNorm` sows them under vmap.
        weight: 1 for a graph, 0 for padding, [D].
        momentum: m, the weight of a new value.
    """

    def fold(old: jax.Array, calls: tuple[jax.Array, ...]) -> jax.Array:
        values = jnp.stack(calls, 1).reshape(-1, old.shape[-1])  # [D calls, A]
        there = jnp.repeat((weight > 0).astype(old.dtype), len(calls))
        later = jnp.sum(there) - jnp.cumsum(there)
        share = momentum * there * (1 - momentum) ** later
        kept = (1 - momentum) ** jnp.sum(there)
        # a sum, not a product of matrices, which a GPU may round to fewer digits
        return kept * old + jnp.sum(share[:, None] * values, 0)

    return jax.tree.map(fold, batch_stats, found)
