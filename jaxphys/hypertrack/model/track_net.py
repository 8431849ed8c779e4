"""The graph net of HyperTrack: hits and candidate edges to latents and edge logits."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.edge_head import EdgeHead
from jaxphys.hypertrack.model.edge_layout import (
    Graph,
    Topology,
    relative_degree,
    topology,
)
from jaxphys.hypertrack.model.encoder import EdgeConv, check_activation
from jaxphys.hypertrack.model.mlp_block import MLPBlock

# mean and spread of the coordinates of hits in mm, for `normalize_input`
INPUT_MEAN = (1.06, -0.023, 1.62)
INPUT_SPREAD = (266.2, 267.6, 1064.5)


class NetOutput(NamedTuple):
    """What a net says about an event.

    Attributes:
        latents: Z of the hits, [N, z_dim].
        logits: of the edges, [E].
    """

    latents: jax.Array
    logits: jax.Array


def network_input(position: jax.Array, normalize_input: bool) -> jax.Array:
    """Returns the coordinates that the nets read, [N, 3]: mm, or scaled to about 1."""
    if not normalize_input:
        return position
    mean, spread = jnp.asarray(INPUT_MEAN), jnp.asarray(INPUT_SPREAD)
    return (position - mean[None]) / spread[None]


class TrackNet(nn.Module):
    """Edge convolutions, fusion of all of their outputs, and the edge head.

    Attributes:
        nstack: number of convolutions.
        h_dim: width of the nodes.
        m_dim: width of the messages.
        z_dim: width of the latents.
        edge_type: see `EdgeHead`.
        aggr: see `EdgeConv`.
        use_residual: see `EdgeConv`; never in the first layer.
        act: a key of `ACTIVATIONS`.
        bn_eps: added to the variances.
        normalize_input: see `network_input`.
        dtype: type of the operands of large products; the first layer, which sees
            squares of mm, stays in float32.
        remat: whether a layer is evaluated again in the backward pass; it bounds the
            memory of a step on a large graph.
    """

    nstack: int = 5
    h_dim: int = 64
    m_dim: int = 64
    z_dim: int = 61
    edge_type: str = "symmetric-dot"
    aggr: str = "mean"
    use_residual: bool = True
    act: str = "silu"
    bn_eps: float = 1e-5
    normalize_input: bool = False
    dtype: Any = None
    remat: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        check_activation(self.act)
        shared = {"activation": self.act, "eps": self.bn_eps}
        layer = nn.remat(EdgeConv, static_argnums=(4,)) if self.remat else EdgeConv
        self.conv = [
            layer(
                3 if number == 0 else self.h_dim,
                self.h_dim,
                self.m_dim,
                self.aggr,
                self.use_residual and number > 0,
                dtype=None if number == 0 else self.dtype,
                **shared,
            )
            for number in range(self.nstack)
        ]
        sizes = (self.nstack * self.h_dim, self.h_dim, self.z_dim)
        self.fusion = MLPBlock(sizes, dtype=self.dtype, **shared)
        self.head = EdgeHead(self.z_dim, self.edge_type, dtype=self.dtype, **shared)

    def __call__(self, graph: Graph, train: bool = False) -> NetOutput:
        """Returns latents and logits of one event.

        Args:
            graph: see `edge_layout.topology`; edges sorted by destination.
            train: normalise with the moments of this graph; else with running ones.
        """
        edges = topology(graph)
        latents = self.fuse(self.layers(graph, train), edges, train)
        return NetOutput(latents, self.head(latents, edges, train))

    def layers(self, graph: Graph, train: bool = False) -> list[jax.Array]:
        """Returns the nodes after every convolution, [N, h_dim] each."""
        edges = topology(graph)
        degree = relative_degree(edges)
        x = network_input(graph["position"], self.normalize_input)
        found = []
        for layer in self.conv:
            x = layer(x, degree, edges, train)
            found.append(x)
        return found

    def fuse(
        self, layers: list[jax.Array], graph: Topology, train: bool = False
    ) -> jax.Array:
        """Returns the latents, [N, z_dim]."""
        joined = jnp.concatenate(layers, 1)
        found: Any = self.fusion(joined, train, graph.node_weight)
        return found.value
