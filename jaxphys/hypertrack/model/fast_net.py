"""A smaller graph net on quantities of tracks, with states on the edges.

Hits enter by direction and radius, edges by the slopes and curvatures that a track
through both ends would have. A layer updates the state of every edge from itself and
its ends, and takes the mean of the states that come in, weighted by a gate that the
state opens. Edges of a hit with itself are not aggregated.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.edge_layout import Graph, Topology, take, topology
from jaxphys.hypertrack.model.mlp_block import Linear
from jaxphys.hypertrack.model.set_transformer import FeedForward
from jaxphys.hypertrack.model.track_net import NetOutput
from jaxphys.nn.rounded_matmul import matmul

NODE_FEATURES, EDGE_FEATURES = 7, 10
# added to the sum of the gates, so that closed gates give 0
GATE_OFFSET = 0.1


def node_features(position: jax.Array) -> jax.Array:
    """Returns direction and place of hits, [N, 7] for [N, 3] in mm."""
    x, y, z = position.T
    r = jnp.hypot(x, y)
    divisor = jnp.maximum(r, 1)
    found = (x / 500, y / 500, z / 1000, r / 500, x / divisor, y / divisor)
    return jnp.stack([*found, jnp.arcsinh(z / divisor) / 2], 1)


def pair_features(low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what a track through two hits would look like, and which is inside.

    Args:
        low, high: positions of the ends in mm, [U, 3] each.

    Returns:
        features: [U, 10], the same for both directions.
        sign: [U], 1 where `low` is nearer to the beam than `high`, else -1.
    """
    low_r, high_r = (jnp.hypot(end[:, 0], end[:, 1]) for end in (low, high))
    ordered = low_r <= high_r
    first = jnp.where(ordered[:, None], low, high)
    second = jnp.where(ordered[:, None], high, low)
    (x1, y1, z1), (x2, y2, z2) = first.T, second.T
    r1, r2 = jnp.minimum(low_r, high_r), jnp.maximum(low_r, high_r)
    dr, dz = r2 - r1, z2 - z1
    cross, dot = x1 * y2 - y1 * x2, x1 * x2 + y1 * y2
    dphi = jnp.arctan2(cross, jnp.where(cross == 0, jnp.where(dot < 0, dot, 1), dot))
    sin = cross / jnp.maximum(r1 * r2, 1)
    chord = jnp.hypot(x2 - x1, y2 - y1)
    safe_dr = jnp.maximum(dr, 1)
    slope = dz / safe_dr
    deta = jnp.arcsinh(z2 / jnp.maximum(r2, 1)) - jnp.arcsinh(z1 / jnp.maximum(r1, 1))
    found = (
        dr / 100,
        5 * dphi,
        dz / 200,
        jnp.arcsinh(slope),
        jnp.arcsinh((z1 - r1 * slope) / 10),  # where it leaves the beam
        1000 * sin / jnp.maximum(chord, 1),  # of a circle through the beam
        deta,
        chord / 100,
        jnp.arcsinh(1000 * jnp.abs(dphi) / safe_dr),
        jnp.arcsinh(1000 * dphi / jnp.maximum(jnp.abs(dz), 1)),
    )
    return jnp.stack(found, 1), jnp.where(ordered, 1.0, -1.0)


def _layer_norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


class FastLayer(nn.Module):
    """One update of edges and nodes.

    Attributes:
        width: of both states.
        dtype: type of the operands of the products.
    """

    width: int
    dtype: Any = None

    def setup(self) -> None:
        """Makes the maps."""
        size = self.width
        self.joined = Linear(3 * size, size, dtype=self.dtype)
        self.edge = Linear(size, size, dtype=self.dtype)
        self.edge_norm = _layer_norm("edge_norm")
        self.gate = Linear(size, 1)
        self.node = FeedForward((2 * size, size, size), False, dtype=self.dtype)
        self.node_norm = _layer_norm("node_norm")

    def update_edges(
        self,
        states: jax.Array,
        x: jax.Array,
        source: jax.Array,
        destination: jax.Array,
        is_sorted: bool = False,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the states [e, width] and gates [e, 1] of edges.

        Args:
            states: [e, width].
            x: nodes, [N, width].
            source, destination: [e].
            is_sorted: whether `destination` ascends.
        """
        size = self.width

        def product(kernel: jax.Array) -> jax.Array:
            # the ends are multiplied per node: there are fewer of them
            own, to, start = jnp.split(kernel, 3)
            ends = take(matmul(x, to, self.dtype), destination, is_sorted)
            ends = ends + take(matmul(x, start, self.dtype), source)
            return matmul(states, own, self.dtype) + ends

        changed = self.edge(nn.silu(self.joined(product)))
        states = states + self.edge_norm(changed).reshape(-1, size)
        return states, nn.sigmoid(self.gate(states))

    def update_nodes(self, x: jax.Array, total: jax.Array) -> jax.Array:
        """Returns the nodes, [N, width].

        Args:
            x: [N, width].
            total: sums over incoming edges of gate * state and of the gate,
                [N, width + 1].
        """
        mean = total[:, :-1] / (total[:, -1:] + GATE_OFFSET)
        return x + self.node_norm(self.node(jnp.concatenate([x, mean], 1)))


class FastNet(nn.Module):
    """States on edges and nodes, gated means, layer norms.

    Attributes:
        nstack: number of layers.
        width: of the states.
        z_dim: width of the latents, a linear map of the last nodes.
        normalize_input: whether the set transformer sees coordinates scaled to about 1
            instead of mm; this net scales its own.
        dtype: type of the operands of large products.
        remat: see `TrackNet`.
    """

    nstack: int = 4
    width: int = 48
    z_dim: int = 61
    normalize_input: bool = True
    dtype: Any = None
    remat: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        size = self.width
        self.node_start = FeedForward((NODE_FEATURES, size, size), False)
        self.edge_start = Linear(EDGE_FEATURES + 1, size)
        self.edge_start_2 = Linear(size, size, dtype=self.dtype)
        self.layer = [FastLayer(size, self.dtype) for _ in range(self.nstack)]
        self.head = FeedForward((size, size, 1), False, dtype=self.dtype)
        self.latent = Linear(size, self.z_dim)

    def __call__(self, graph: Graph, train: bool = False) -> NetOutput:
        """Returns latents and logits of one event; see `TrackNet`."""
        del train  # layer norms have no running statistics
        edges = topology(graph)
        x = self.nodes(graph["position"])
        states = self._start(graph["position"], edges)
        counts = edges.edge_weight * (edges.source != edges.destination)

        def update(net, number, states, x):
            layer = net.layer[number]
            ends = (edges.source, edges.destination)
            states, gate = layer.update_edges(states, x, *ends, True)
            gate = gate * counts[:, None]
            opened = jnp.concatenate([gate * states, gate], 1)
            total = edges.sum_at_destination(opened)
            return states, layer.update_nodes(x, total)

        if self.remat:
            update = nn.remat(update, static_argnums=(1,))
        for number in range(self.nstack):
            states, x = update(self, number, states, x)
        return NetOutput(self.latents(x), self.logits(states))

    def nodes(self, position: jax.Array) -> jax.Array:
        """Returns the first states of the nodes, [N, width]."""
        return self.node_start(node_features(position))

    def _start(self, position: jax.Array, edges: Topology) -> jax.Array:
        low, high = take(position, edges.low), take(position, edges.high)
        features, sign = pair_features(low, high)
        # a pair is listed as low -> high; the other direction has the other sign
        forward = edges.of_pair(edges.low) == edges.source
        sign = jnp.where(forward, 1.0, -1.0) * edges.of_pair(sign)

        def product(kernel: jax.Array) -> jax.Array:
            shared = edges.of_pair(features @ kernel[:-1])
            return shared + sign[:, None] * kernel[-1:]

        return self.edge_start_2(nn.silu(self.edge_start(product)))

    def edges(
        self, position: jax.Array, source: jax.Array, destination: jax.Array
    ) -> jax.Array:
        """Returns the first states of some edges, [e, width]."""
        ends = take(position, source), take(position, destination)
        features, sign = pair_features(*ends)
        joined = jnp.concatenate([features, sign[:, None]], 1)
        return self.edge_start_2(nn.silu(self.edge_start(joined)))

    def update_edges(
        self,
        number: int,
        states: jax.Array,
        x: jax.Array,
        source: jax.Array,
        destination: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns states and gates of some edges after a layer."""
        return self.layer[number].update_edges(states, x, source, destination)

    def update_nodes(self, number: int, x: jax.Array, total: jax.Array) -> jax.Array:
        """Returns the nodes after a layer; see `FastLayer.update_nodes`."""
        return self.layer[number].update_nodes(x, total)

    def logits(self, states: jax.Array) -> jax.Array:
        """Returns the logits of edges, [e]."""
        return self.head(states)[:, 0]

    def latents(self, x: jax.Array) -> jax.Array:
        """Returns the latents of nodes, [N, z_dim]."""
        return self.latent(x)
