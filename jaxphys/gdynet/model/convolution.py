"""The layers of a lobe: distances to features, attention over the neighbours.

Edges are dense, [B, N, M] for B frames of N atoms with M neighbours each, from atom i
(the receiver) to its m-th neighbour j (the sender). The linear maps of [h_i, h_j, e_ij]
are split: products with h_i and h_j are taken per atom, gathered, and added to the
product with the features e_ij of the distance.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from jaxphys.nn.masked_batch_norm import MaskedBatchNorm
from jaxphys.nn.rounded_matmul import matmul

GAUSSIANS = ("original", "txie")
# Xie's expansion: a centre every 0.2 up to 7 angstrom, exp(-(d - mu)^2 / 0.04)
_TXIE_STEP, _TXIE_STOP = 0.2, 7.0


class Edges(NamedTuple):
    """What the layers need to know of the edges of B frames, or of one for all.

    Attributes:
        neighbours: index of the neighbour, [B or 1, N, M].
        features: of the distance, [B or 1, N, M, K].
        features_t: the same, [K, B N M]: a CPU multiplies by it twice as fast as by
            the transposed product of `features`.
        weight: of an edge in statistics, [B, 1, 1] or [B, N, M]; None is 1.
        mask: whether a neighbour exists, [B or 1, N, M]; None where all do.
    """

    neighbours: jax.Array
    features: jax.Array
    features_t: jax.Array
    weight: jax.Array | None = None
    mask: jax.Array | None = None


def centres(
    num_gaussians: int = 50, cutoff: float = 6.0, gaussian: str = "original"
) -> tuple[np.ndarray, float]:
    """Returns the centres [K] in angstrom (float64) and the factor c of exp(-c d^2).

    Args:
        num_gaussians: K, at least 2; Xie's expansion has 36.
        cutoff: last centre, in angstrom; there is no cut-off function.
        gaussian: `original` or `txie`, Xie's, which ignores the other two.

    Raises:
        ValueError: an unknown name, or too few Gaussians.
    """
    if gaussian not in GAUSSIANS:
        raise ValueError(f"gaussian: expected one of {GAUSSIANS}, got {gaussian!r}")
    if gaussian == "txie":
        count = round(_TXIE_STOP / _TXIE_STEP) + 1
        mu = np.linspace(0, _TXIE_STOP, count)
        return mu, 1 / _TXIE_STEP**2
    if num_gaussians < 2:
        raise ValueError(f"num_gaussians: expected 2 or more, got {num_gaussians}")
    mu = np.linspace(0, cutoff, num_gaussians)
    return mu, 0.5 / float(mu[1] - mu[0]) ** 2


def expand(distances: jax.Array, mu: np.ndarray, factor: float) -> jax.Array:
    """Returns exp(-factor (d - mu)^2), [..., K], of distances [...] in angstrom."""
    shape = (1,) * distances.ndim + mu.shape
    apart = distances[..., None] - jnp.asarray(mu, distances.dtype).reshape(shape)
    return jnp.exp(-factor * apart**2)


def expand_first(distances: jax.Array, mu: np.ndarray, factor: float) -> jax.Array:
    """Returns the features as [K, E], in order of the edges."""
    flat = distances.reshape(1, -1)
    return jnp.exp(-factor * (flat - jnp.asarray(mu, flat.dtype)[:, None]) ** 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _edge_product(features, features_t, kernel, dtype):
    """Returns features @ kernel, [..., out]; there is no gradient to the features."""
    del features_t
    return matmul(features, kernel, dtype)


def _edge_product_forward(features, features_t, kernel, dtype):
    return matmul(features, kernel, dtype), (features_t, kernel)


def _edge_product_backward(dtype, residual, cotangent):
    features_t, kernel = residual
    rows = cotangent.reshape(-1, cotangent.shape[-1])
    return None, None, matmul(features_t, rows, dtype).astype(kernel.dtype)


_edge_product.defvjp(_edge_product_forward, _edge_product_backward)


def _gather(values: jax.Array, neighbours: jax.Array) -> jax.Array:
    """Returns values [B, N, A] of the neighbours [B or 1, N, M], [B, N, M, A]."""
    neighbours = jnp.broadcast_to(neighbours, (values.shape[0], *neighbours.shape[1:]))
    # the indices were checked when the data was read
    take = lambda v, i: v.at[i].get(mode="promise_in_bounds")  # noqa: E731
    return jax.vmap(take)(values, neighbours)


def neighbour_softmax(gate: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Returns the softmax over the last axis, over existing neighbours only."""
    if mask is None:
        return jax.nn.softmax(gate, axis=-1)
    found = jax.nn.softmax(gate, axis=-1, where=mask)
    return jnp.where(mask, found, 0)  # an atom without neighbours gets nothing


@jax.checkpoint
def _attended(
    alpha: jax.Array, z: jax.Array, scale: jax.Array, shift: jax.Array
) -> jax.Array:
    """Returns the sum over neighbours of alpha relu(scale z + shift), [B, N, A].

    The backward pass computes the messages again, which costs less than another array
    of that size. A sum in place of the product would write alpha times them, too.
    """
    messages = nn.relu(z * scale[None, None, None] + shift[None, None, None])
    return jnp.einsum("bnm,bnma->bna", alpha, messages.astype(alpha.dtype))


class CGConv(nn.Module):
    """One crystal-graph convolution with attention over the neighbours.

    Attributes:
        num_features: K, of a distance.
        null_gradients: see `GDyNet`.
        bn_momentum: weight of the new value in running statistics.
        bn_eps: added to variances.
        dtype: of the products; None takes that of the parameters.
    """

    num_features: int
    null_gradients: str = "zero"
    bn_momentum: float = 0.1
    bn_eps: float = 1e-5
    dtype: Any = None

    @nn.compact
    def __call__(
        self, h: jax.Array, edges: Edges, train: bool, weight: jax.Array | None = None
    ) -> jax.Array:
        """Returns the updated atoms.

        Args:
            h: atoms, [B, N, A].
            edges: of the frames.
            train: normalise with the statistics of this batch.
            weight: of the atoms in statistics, [B, 1]; None is 1.
        """
        width = h.shape[-1]
        core, core_bias = self._weights("lin_core", width, width)
        filters, filter_bias = self._weights("lin_filter", width, 1)
        keep = self.null_gradients == "keep"
        z = self._of_atoms(h, core[:width])  # [B, N, A], of the receiver
        if keep:
            z = z + core_bias[None, None, :]
        senders = self._of_atoms(h, core[width : 2 * width])
        z = _gather(senders, edges.neighbours) + z[:, :, None, :]  # [B, N, M, A]
        z = z + self._of_edges(edges, core[2 * width :])
        left_out = None if keep else core_bias
        scale, shift = self._norm("bn1").scale_and_shift(
            z, train, edges.weight, left_out
        )

        # what depends on the receiver alone drops out of the softmax
        gate = self._of_atoms(h, filters[width : 2 * width])
        gate = _gather(gate, edges.neighbours)[..., 0]  # [B, N, M]
        gate = gate + self._of_edges(edges, filters[2 * width :])[..., 0]
        if keep:
            own = self._of_atoms(h, filters[:width])
            gate = gate + own + filter_bias[None, None, :]
        alpha = neighbour_softmax(gate, edges.mask)
        if edges.mask is None:
            alpha = alpha / alpha.shape[-1]
        else:
            count = jnp.sum(edges.mask, axis=-1, keepdims=True, dtype=alpha.dtype)
            alpha = alpha / jnp.maximum(count, 1)
        a = _attended(alpha, z, scale, shift)  # [B, N, A]
        return nn.relu(self._norm("bn2")(a, train, weight) + h)

    def _norm(self, name: str) -> MaskedBatchNorm:
        return MaskedBatchNorm(self.bn_momentum, self.bn_eps, name=name)

    def _weights(self, name: str, width: int, out: int) -> tuple[jax.Array, jax.Array]:
        layer = _Linear(2 * width + self.num_features, out, name=name)
        return layer()

    def _of_atoms(self, h: jax.Array, kernel: jax.Array) -> jax.Array:
        return matmul(h, kernel, self.dtype)

    def _of_edges(self, edges: Edges, kernel: jax.Array) -> jax.Array:
        return _edge_product(edges.features, edges.features_t, kernel, self.dtype)


class _Linear(nn.Module):
    """Kernel and bias of a linear map whose parts are applied apart."""

    inputs: int
    out: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        shape = (self.inputs, self.out)
        kernel = self.param("kernel", initializers.glorot_uniform(), shape)
        return kernel, self.param("bias", initializers.zeros, (self.out,))
