"""Generalised edge convolutions and their fusion: hits to latents.

A layer sends over the edge j -> i the message
MLP_edge[x_i, x_j - x_i, x_j * x_i, |x_j - x_i|, x_j . x_i, a_ij], takes the mean of the
messages that come in, and updates x_i by MLP_latent[x_i, m_i]. The first linear map of
MLP_edge is taken apart: what belongs to one end is multiplied per node, what is
symmetric per pair of nodes, and only the sum is formed per edge.

Reference: arXiv:2309.14113.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.edge_layout import Topology, take
from jaxphys.hypertrack.model.mlp_block import MLPBlock, Normed
from jaxphys.nn.initializers import xavier_normal, zero_bias
from jaxphys.nn.mlp import ACTIVATIONS
from jaxphys.nn.rounded_matmul import matmul
from jaxphys.numerics.segments import segment_max

AGGREGATIONS = ("mean", "sum", "max")


def pair_terms(low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the products [U, F] and the distances [U] of two sets of rows.

    The gradient of the distance of a row from itself is 0.
    """
    difference = high - low
    square = jnp.sum(difference * difference, 1)
    apart = square > 0
    distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
    return low * high, distance


@jax.custom_vjp
def terms_of_pairs(
    x: jax.Array, low: jax.Array, high: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns `pair_terms` of the rows of x [N, F]; the rows are not kept."""
    return pair_terms(take(x, low), take(x, high))


def _terms_forward(x: jax.Array, low: jax.Array, high: jax.Array) -> Any:
    product, distance = terms_of_pairs(x, low, high)
    return (product, distance), (x, low, high, distance)


def _terms_backward(saved: Any, gradient: Any) -> Any:
    x, low, high, distance = saved
    of_product, of_distance = gradient
    apart = distance > 0
    pull = jnp.where(apart, of_distance / jnp.where(apart, distance, 1), 0)[:, None]
    # low - high, not high - low: XLA would keep that array of the forward pass
    at_low, at_high = take(x, low), take(x, high)
    to_low = of_product * at_high + pull * (at_low - at_high)
    to_high = of_product * at_low - pull * (at_low - at_high)
    found = jnp.zeros_like(x).at[low].add(to_low, mode="promise_in_bounds")
    return found.at[high].add(to_high, mode="promise_in_bounds"), None, None


terms_of_pairs.defvjp(_terms_forward, _terms_backward)


class EdgeConv(nn.Module):
    """One layer.

    Attributes:
        in_features: F.
        features: width of the output.
        message_features: width of the messages.
        aggregation: one of `AGGREGATIONS`; a node without edges gets 0.
        use_residual: whether x is added where the widths agree.
        activation, eps, dtype: see `MLPBlock`.
    """

    in_features: int
    features: int
    message_features: int
    aggregation: str = "mean"
    use_residual: bool = True
    activation: str = "silu"
    eps: float = 1e-5
    dtype: Any = None

    def setup(self) -> None:
        """Makes both MLPs."""
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(
                f"aggr: expected one of {', '.join(AGGREGATIONS)}, "
                f"got {self.aggregation!r}"
            )
        width, message = self.in_features, self.message_features
        settings = {
            "activation": self.activation,
            "eps": self.eps,
            "kernel_init": xavier_normal(),
            "bias_init": zero_bias,
            "dtype": self.dtype,
        }
        self.edge = MLPBlock((3 * width + 3, message, message), **settings)
        self.node = MLPBlock(
            (width + message, self.features, self.features), **settings
        )

    def ends(
        self, kernel: jax.Array, x: jax.Array, relative_degree: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns what the destination and the source add to an edge, [N, M] each."""
        width = self.in_features
        own, other = kernel[:width], kernel[width : 2 * width]
        degree = relative_degree[:, None] * kernel[3 * width + 2][None]
        at_destination = matmul(x, own - other, self.dtype) - degree
        return at_destination, matmul(x, other, self.dtype) + degree

    def shared(
        self, kernel: jax.Array, x: jax.Array, low: jax.Array, high: jax.Array
    ) -> jax.Array:
        """Returns what both directions of pairs have in common, [U, M]."""
        width = self.in_features
        product, distance = terms_of_pairs(x, low, high)
        # the scalar product is the sum of the products: one more row for all of them
        factor = kernel[2 * width : 3 * width] + kernel[3 * width + 1][None]
        along = jnp.matmul(
            distance[:, None],
            kernel[3 * width][None],
            precision=jax.lax.Precision.HIGHEST,
        )
        return matmul(product, factor, self.dtype) + along

    def __call__(
        self, x: jax.Array, relative_degree: jax.Array, graph: Topology, train: bool
    ) -> jax.Array:
        """Returns the updated nodes, [N, features].

        Args:
            x: [N, F].
            relative_degree: [N], see `edge_layout.relative_degree`.
            graph: one event.
            train: see `GraphBatchNorm`.
        """

        def product(kernel: jax.Array) -> jax.Array:
            destination, source = self.ends(kernel, x, relative_degree)
            shared = self.shared(kernel, x, graph.low, graph.high)
            ends = graph.at_destination(destination) + graph.at_source(source)
            return ends + graph.of_pair(shared)

        messages: Any = self.edge(product, train, graph.edge_weight)
        return self.update(x, self.aggregate(messages, graph), graph, train)

    def aggregate(self, messages: Normed, graph: Topology) -> jax.Array:
        """Returns what arrives at the nodes, [N, M]."""
        if self.aggregation == "max":
            return segment_max(
                messages.value, graph.destination, graph.num_nodes, graph.edge_weight
            )
        total = graph.sum_at_destination(messages.rows)
        return self.normalise_sum(messages, total, graph.degree)

    def normalise_sum(
        self, messages: Normed, total: jax.Array, degree: jax.Array
    ) -> jax.Array:
        """Returns mean or sum of normalised messages.

        Args:
            messages: of which scale and shift are read.
            total: sums of the messages before the norm, [N, M].
            degree: how many they were, [N].
        """
        count = degree[:, None]
        if self.aggregation == "mean":
            total, count = total / jnp.maximum(count, 1), jnp.minimum(count, 1)
        return total * messages.scale[None] + count * messages.shift[None]

    def update(
        self, x: jax.Array, arrived: jax.Array, graph: Topology, train: bool
    ) -> jax.Array:
        """Returns the updated nodes, [N, features]."""
        joined = jnp.concatenate([x, arrived], 1)
        found: Any = self.node(joined, train, graph.node_weight)
        if self.use_residual and self.features == self.in_features:
            return found.value + x
        return found.value

    def messages(
        self,
        x: jax.Array,
        relative_degree: jax.Array,
        source: jax.Array,
        destination: jax.Array,
    ) -> Normed:
        """Returns the messages of some edges before their last norm, in evaluation.

        Args:
            x: [N, F].
            relative_degree: [N].
            source, destination: [e].
        """

        def product(kernel: jax.Array) -> jax.Array:
            at_destination, at_source = self.ends(kernel, x, relative_degree)
            ends = take(at_destination, destination) + take(at_source, source)
            return ends + self.shared(kernel, x, source, destination)

        found: Any = self.edge(product, False, jnp.ones(source.shape))
        return found


def check_activation(name: str) -> str:
    """Returns the name of a known activation or raises ValueError."""
    if name not in ACTIVATIONS:
        raise ValueError(f"act: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return name
