"""The set transformer: which hits around three pivots belong to their track.

Rows and pivots pass one embedding; the rows attend to the pivots once and then to each
other. Reference: Lee et al., https://arxiv.org/abs/1810.00825.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.mlp_block import Linear
from jaxphys.nn.mlp import ACTIVATIONS
from jaxphys.nn.rounded_matmul import matmul

MASKED = -1e6


class FeedForward(nn.Module):
    """Linear maps with an activation after each of them, the last one perhaps without.

    Attributes:
        sizes: widths, that of the input first.
        last_act: whether an activation follows the last map.
        activation: a key of `ACTIVATIONS`.
        dtype: type of the operands of the products.
    """

    sizes: tuple[int, ...]
    last_act: bool = True
    activation: str = "silu"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., sizes[-1]]."""
        leading = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        last = len(self.sizes) - 2
        for number in range(last + 1):
            start, end = self.sizes[number : number + 2]
            x = Linear(start, end, dtype=self.dtype, name=f"linear_{number}")(x)
            if number < last or self.last_act:
                x = ACTIVATIONS[self.activation](x)
        return x.reshape(*leading, x.shape[-1])


class AttentionBlock(nn.Module):
    """Multi-head attention, a residual, a feed-forward layer, and two norms.

    The scores are divided by the root of the whole width, not of that of a head, and
    the residual is the query before its projection: so the original does.

    Attributes:
        features: width.
        heads: number of heads.
        activation: of the feed-forward layer.
        eps: of the layer norms.
        use_norm: whether there are norms.
        dtype: type of the operands of the products.
    """

    features: int
    heads: int = 4
    activation: str = "silu"
    eps: float = 1e-5
    use_norm: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        query: jax.Array,
        key: jax.Array,
        query_mask: jax.Array,
        key_mask: jax.Array,
    ) -> jax.Array:
        """Returns [B, n, features].

        Args:
            query: [B, n, features].
            key: also the values, [B, k, features].
            query_mask: True for real rows, [B, n].
            key_mask: [B, k].
        """
        width = self.features

        def project(name: str, x: jax.Array) -> jax.Array:
            layer = Linear(width, width, dtype=self.dtype, name=name)
            return layer(x.reshape(-1, width)).reshape(x.shape)

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:2], self.heads, width // self.heads)

        q, k, v = (
            split(project("query", query)),
            *(split(project(name, key)) for name in ("key", "value")),
        )
        scores = _similarity(q, k, self.dtype) / math.sqrt(width)
        there = query_mask[:, None, :, None] & key_mask[:, None, None, :]
        # not -inf: a row of padding, all of it masked, gets equal weights and no NaN
        weights = jax.nn.softmax(jnp.where(there, scores, MASKED), -1)
        found = _weighted(weights, v, self.dtype)
        x = query + project("output", found.reshape(query.shape))
        x = self._norm("norm_0", x)
        sizes = (width, width, width)
        forward = FeedForward(sizes, True, self.activation, self.dtype, name="mlp")
        return self._norm("norm_1", x + forward(x))

    def _norm(self, name: str, x: jax.Array) -> jax.Array:
        if not self.use_norm:
            return x
        return nn.LayerNorm(epsilon=self.eps, use_fast_variance=False, name=name)(x)


def _similarity(q: jax.Array, k: jax.Array, dtype: Any) -> jax.Array:
    """Returns [B, h, n, k] for queries [B, n, h, d] and keys [B, k, h, d]."""
    if dtype is None:
        return jnp.einsum("bnhd,bkhd->bhnk", q, k)
    return matmul(q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1), dtype)


def _weighted(weights: jax.Array, v: jax.Array, dtype: Any) -> jax.Array:
    """Returns [B, n, h, d], sums of values [B, k, h, d] with weights [B, h, n, k]."""
    if dtype is None:
        return jnp.einsum("bhnk,bkhd->bnhd", weights, v)
    found = matmul(weights, v.transpose(0, 2, 1, 3), dtype)
    return found.transpose(0, 2, 1, 3)


class SetTransformer(nn.Module):
    """Decides for every row of a micrograph whether it belongs to the pivots.

    Attributes:
        in_features: width of the rows, latents and coordinates.
        h_dim: width inside.
        nstack_dec: number of self attention blocks.
        num_heads: heads of every block.
        act: a key of `ACTIVATIONS`.
        ln: whether blocks have layer norms.
        ln_eps: of the layer norms.
        output_dim: number of logits per row; only 1 is used.
        dtype: type of the operands of the products.
    """

    in_features: int = 64
    h_dim: int = 64
    nstack_dec: int = 4
    num_heads: int = 4
    act: str = "silu"
    ln: bool = True
    ln_eps: float = 1e-5
    output_dim: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        rows: jax.Array,
        pivots: jax.Array,
        row_mask: jax.Array,
        pivot_mask: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the logits, [B, n].

        Args:
            rows: [B, n, in_features].
            pivots: [B, p, in_features].
            row_mask: True for real rows, [B, n].
            pivot_mask: True for real pivots, [B, p]; None for all.
        """
        all_pivots = jnp.ones(pivots.shape[:2], bool)
        real_pivots = all_pivots if pivot_mask is None else pivot_mask > 0
        row_mask = row_mask > 0
        width, dtype = self.h_dim, self.dtype
        sizes = (self.in_features, self.in_features, width)
        embed = FeedForward(sizes, False, self.act, dtype, name="embed")
        block = (width, self.num_heads, self.act, self.ln_eps, self.ln, dtype)
        cross = AttentionBlock(*block, name="cross")
        h = cross(embed(rows), embed(pivots), row_mask, real_pivots)
        for number in range(self.nstack_dec):
            h = AttentionBlock(*block, name=f"self_{number}")(h, h, row_mask, row_mask)
        sizes = (width, width // 2, width // 4, self.output_dim)
        return FeedForward(sizes, False, self.act, dtype, name="mask")(h)[..., 0]
