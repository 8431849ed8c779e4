"""Batch normalisation over the edges or the nodes of one graph.

A training pass normalises with the moments of its graph and hands them out instead of
changing the running statistics: the graphs of a step are evaluated side by side, and
their moments are folded in the order in which the graphs would have come one by one.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.nn.masked_batch_norm import moments

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
        self, x: jax.Array, train: bool, weight: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns scale and shift, [A] each; x * scale + shift is normalised.

        Args:
            x: [R, A].
            train: with the moments of these rows; else with the running statistics.
            weight: how often a row counts, [R]; 0 for padding.
        """
        size = self.features
        gamma = self.param("scale", nn.initializers.ones, (size,))
        beta = self.param("bias", nn.initializers.zeros, (size,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (size,))
        var = self.variable("batch_stats", "var", jnp.ones, (size,))
        if train:
            found = moments(x, weight)
            unbiased = found.count / jnp.maximum(found.count - 1, 1)
            self.sow(COLLECTION, "mean", jax.lax.stop_gradient(found.mean))
            self.sow(COLLECTION, "var", jax.lax.stop_gradient(found.var * unbiased))
            centre, variance = found.mean, found.var
        else:
            centre, variance = mean.value, var.value
        scale = gamma * jax.lax.rsqrt(variance + self.eps)
        return scale, beta - centre * scale


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
