"""Graph convolution on directed weighted graphs and, faster, on k-NN graphs.

Both ends of an edge are normalised by the degree that the node has as a receiver, and
the bias is added after the aggregation, as in PyTorch Geometric's GCNConv.
`jraph.GraphConvolution` differs: it takes the out-degree of the senders.

Reference: Kipf and Welling, https://arxiv.org/abs/1609.02907, equation 2.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from jaxphys.numerics.segments import segment_max, segment_sum


class Edges(NamedTuple):
    """Any directed graph; duplicate edges count as often as they occur.

    Attributes:
      senders: [E], node that a message comes from.
      receivers: [E], node that it goes to.
      weight: [E], or None for 1 everywhere.

    Self loops are replaced by one per node, of weight 1 or of the weight of the last
    one that is listed. So self loops of a padding node are what edges are padded with.
    """

    senders: jax.Array
    receivers: jax.Array
    weight: jax.Array | None = None


class Neighbours(NamedTuple):
    """A k-NN graph, in which all nodes that are connected have the same degree.

    Attributes:
      index: [N, k], the senders of each node; the node itself where there is none.
    """

    index: jax.Array


Graph = Edges | Neighbours


def normalisation(
    edges: Edges, num_nodes: int, dtype: Any = jnp.float32
) -> tuple[jax.Array, jax.Array]:
    """Returns the factors of the edges [E] and of the loop that every node has [N].

    The factor is weight / sqrt(degree of the sender * degree of the receiver), 0 where
    a degree is 0 and for the self loops that were listed.

    Args:
      edges: of the graph.
      num_nodes: N.
      dtype: of the factors; that of the weights where there are some.
    """
    senders, receivers = edges.senders, edges.receivers
    is_loop = senders == receivers
    loop = jnp.ones(num_nodes, dtype)
    weight = jnp.ones(senders.shape, dtype)
    if edges.weight is not None and len(senders):
        weight = edges.weight.astype(dtype)
        place = jnp.where(is_loop, jnp.arange(senders.shape[0]), -1)
        last = segment_max(place, receivers, num_nodes, empty=-1)
        loop = jnp.where(last >= 0, weight[jnp.maximum(last, 0)], loop)
    weight = jnp.where(is_loop, jnp.zeros_like(weight), weight)
    degree = segment_sum(weight, receivers, num_nodes) + loop
    none = degree == 0
    # guarded inside too: the gradient of the root at 0 would be NaN
    root = jnp.where(none, 0, 1 / jnp.sqrt(jnp.where(none, 1, degree)))
    return weight * root[senders] * root[receivers], loop * root * root


def aggregate_edges(x: jax.Array, edges: Edges) -> jax.Array:
    """Returns the normalised sum of the neighbours of every node and itself, [N, D]."""
    factor, loop = normalisation(edges, x.shape[0], x.dtype)
    messages = x[edges.senders] * factor[:, None]  # [E, D]
    return segment_sum(messages, edges.receivers, x.shape[0]) + x * loop[:, None]


@jax.custom_vjp
def aggregate_neighbours(x: jax.Array, index: jax.Array) -> jax.Array:
    """Returns the mean over the neighbours of every node and itself, [N, D].

    It equals `aggregate_edges` where connected nodes have one degree: no degrees to
    collect and no scatter.

    Args:
      x: [N, D].
      index: [N, k], see `Neighbours`; any integer type.
    """
    if not index.size:
        return x
    return jax.lax.platform_dependent(x, index, cpu=_mean_once, default=_mean)


def _mean(x: jax.Array, index: jax.Array) -> jax.Array:
    own, divisor = _own_and_divisor(x, index)
    total = x * own
    for place in range(index.shape[1]):
        total = total + x[index[:, place]]
    return total / divisor


def _mean_once(x: jax.Array, index: jax.Array) -> jax.Array:
    # The CPU compiler repeats a sum wherever it is read (in the layer after and in the
    # gradient of its ReLU), and then stores each neighbour's rows. It does not look
    # into a branch, although this one is always taken: no index is negative.
    there = index[0, 0].astype(jnp.int32) >= 0
    return jax.lax.cond(there, _mean, lambda x, index: x, x, index)


def _own_and_divisor(x: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the factor of the node itself and the size of the mean, each [N, 1]."""
    own = jnp.arange(x.shape[0], dtype=jnp.int32)[:, None]
    missing = jnp.sum(index.astype(jnp.int32) == own, axis=1, keepdims=True)
    # each missing neighbour brings the node itself once too often
    return (1 - missing).astype(x.dtype), (index.shape[1] + 1 - missing).astype(x.dtype)


def _forward(x: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    return aggregate_neighbours(x, index), index


def _backward(index: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None]:
    # one sum that all neighbours add to: derived from the gathers, each of them would
    # have an own one
    own, divisor = _own_and_divisor(gradient, index)
    share = gradient / divisor
    total = share * own
    for place in range(index.shape[1]):
        total = total.at[index[:, place]].add(share)
    return total, None


aggregate_neighbours.defvjp(_forward, _backward)


def aggregate(x: jax.Array, graph: Graph) -> jax.Array:
    """Returns what a graph convolution multiplies with its kernel, [N, D]."""
    if isinstance(graph, Neighbours):
        return aggregate_neighbours(x, graph.index)
    return aggregate_edges(x, graph)


class GraphConvolution(nn.Module):
    """Aggregates over the neighbours and multiplies: A x W + b.

    Parameters are kernel [in, features], glorot uniform, and bias [features], zeros.

    Attributes:
      features: number of outputs.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, graph: Graph | None) -> jax.Array:
        """Returns [N, features] for x [N, in].

        Args:
          x: of the nodes.
          graph: None where x has been aggregated already.
        """
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if graph is None:
            y = x @ kernel
        elif x.shape[-1] <= self.features:  # aggregate what is narrower
            y = aggregate(x, graph) @ kernel
        else:
            y = aggregate(x @ kernel, graph)
        return y + bias[None]
