"""Latents of two hits to the logit that they belong to one track."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.edge_layout import Topology, take
from jaxphys.hypertrack.model.mlp_block import MLPBlock
from jaxphys.nn.rounded_matmul import matmul

EDGE_TYPES = ("symmetric-dot", "symmetrized", "asymmetric")


class EdgeHead(nn.Module):
    """A multilayer perceptron on pairs of latents.

    Attributes:
        in_features: width of the latents, A.
        edge_type: "symmetric-dot": MLP(z_i * z_j), once per pair; "symmetrized": mean
            of MLP[z_src, z_dst] and MLP[z_dst, z_src], which counts as two passes in
            the running statistics; "asymmetric": the first of them.
        activation, eps, dtype: see `MLPBlock`.
    """

    in_features: int
    edge_type: str = "symmetric-dot"
    activation: str = "silu"
    eps: float = 1e-5
    dtype: Any = None

    def setup(self) -> None:
        """Makes the MLP."""
        if self.edge_type not in EDGE_TYPES:
            raise ValueError(
                f"edge_type: expected one of {', '.join(EDGE_TYPES)}, "
                f"got {self.edge_type!r}"
            )
        width, hidden = self.in_features, self.in_features // 2
        first = width if self.edge_type == "symmetric-dot" else 2 * width
        self.mlp = MLPBlock(
            (first, hidden, hidden, 1),
            last_act=False,
            activation=self.activation,
            eps=self.eps,
            dtype=self.dtype,
        )

    def __call__(self, latents: jax.Array, graph: Topology, train: bool) -> jax.Array:
        """Returns the logits of the edges, [E].

        Args:
            latents: [N, A].
            graph: one event.
            train: see `GraphBatchNorm`.
        """
        if self.edge_type == "symmetric-dot":
            products = take(latents, graph.low) * take(latents, graph.high)
            logits: Any = self.mlp(products, train, graph.pair_weight)
            return graph.of_pair(logits[:, 0])
        return self._of_ends(
            latents, graph.source, graph.destination, train, graph.edge_weight
        )

    def _of_ends(
        self,
        latents: jax.Array,
        source: jax.Array,
        destination: jax.Array,
        train: bool,
        weight: jax.Array,
    ) -> jax.Array:
        width = self.in_features

        def ordered(one: jax.Array, other: jax.Array) -> jax.Array:
            def product(kernel: jax.Array) -> jax.Array:
                # per node first: there are fewer of them than edges
                front = matmul(latents, kernel[:width], self.dtype)
                back = matmul(latents, kernel[width:], self.dtype)
                return take(front, one) + take(back, other)

            found: Any = self.mlp(product, train, weight)
            return found[:, 0]

        logits = ordered(source, destination)
        if self.edge_type == "symmetrized":
            logits = 0.5 * (logits + ordered(destination, source))
        return logits

    def logits_of(
        self, latents: jax.Array, source: jax.Array, destination: jax.Array
    ) -> jax.Array:
        """Returns the logits of some edges in evaluation, [e].

        Args:
            latents: [N, A].
            source, destination: [e].
        """
        ones = jnp.ones(source.shape)
        if self.edge_type == "symmetric-dot":
            products = take(latents, source) * take(latents, destination)
            logits: Any = self.mlp(products, False, ones)
            return logits[:, 0]
        return self._of_ends(latents, source, destination, False, ones)
