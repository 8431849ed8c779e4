"""What is symmetric in a pair of hits is computed once for both directions.

A candidate graph is symmetric. `with_pairs` numbers its pairs on the host, so that the
nets evaluate half of the products, and the edge head all of its layers, per pair.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Graph = Mapping[str, jax.Array]


def with_pairs(graph: Mapping, num_pairs: int | None = None) -> dict:
    """Returns the graph with its pairs: pair_index [2, U] and edge_pair [E], int32.

    A pair a <= b stands for the edges a -> b and b -> a, or for the self edge a = b.

    Args:
        graph: edge_index [2, E], numpy, sorted by destination and then by source;
            edge_mask [E], optional, 0 for edges of padding, which lie at the end and
            join the last node to itself; position [N, 3]; reverse_edge [E] spares a
            search.
        num_pairs: U; None takes (E + N) // 2 + 1, enough for any graph of these
            shapes. What is not needed is padding.

    Raises:
        ValueError: an edge has no reverse edge, or U is too small.
    """
    edges = np.asarray(graph["edge_index"])
    source, destination = edges
    nodes = len(graph["position"])
    real = np.asarray(graph.get("edge_mask", np.ones(len(source)))) > 0
    first = (source <= destination) & real
    reverse = graph.get("reverse_edge")
    if reverse is None:
        reverse = _reverse_edges(source, destination, nodes)
    swapped = edges[:, reverse]
    if np.any(((swapped[0] != destination) | (swapped[1] != source)) & real):
        raise ValueError(
            "edge_index: expected every edge in both directions, once, sorted by "
            "destination and then by source"
        )
    number = np.cumsum(first, dtype=np.int32) - 1
    place = np.where(first, number, number[reverse])
    pad = int(number[-1]) + 1 if len(number) else 0
    needed = pad + bool(np.any(~real))
    count = (len(source) + nodes) // 2 + 1 if num_pairs is None else num_pairs
    if count < needed:
        raise ValueError(f"num_pairs: expected {needed} or more, got {count}")
    index = np.full((2, count), nodes - 1, np.int32)
    index[:, :pad] = edges[:, first]
    edge_pair = np.where(real, place, pad).astype(np.int32)
    return {**graph, "pair_index": index, "edge_pair": edge_pair}


def _reverse_edges(
    source: np.ndarray, destination: np.ndarray, nodes: int
) -> np.ndarray:
    """Returns the place of i -> j for every j -> i, or a wrong one where it lacks."""
    keys = destination.astype(np.int64) * nodes + source
    place = np.searchsorted(keys, source.astype(np.int64) * nodes + destination)
    return np.minimum(place, max(len(keys) - 1, 0))


class Topology(NamedTuple):
    """The graph of one event as the nets read it.

    Attributes:
        source, destination: of the edges, [E], sorted by destination.
        edge_weight: 1, or 0 for padding, [E].
        low, high: ends of the pairs, [U]; those of the edges where there are no pairs.
        edge_pair: [E], the pair of an edge; None where edges are their own pairs.
        pair_weight: number of real edges of a pair, [U].
        node_weight: 1, or 0 for padding, [N].
        degree: number of real edges that come in, [N].
    """

    source: jax.Array
    destination: jax.Array
    edge_weight: jax.Array
    low: jax.Array
    high: jax.Array
    edge_pair: jax.Array | None
    pair_weight: jax.Array
    node_weight: jax.Array
    degree: jax.Array

    @property
    def num_nodes(self) -> int:
        """N, padding included."""
        return self.node_weight.shape[0]

    def at_destination(self, x: jax.Array) -> jax.Array:
        """Returns the rows [E, A] of x [N, A] at the ends of the edges."""
        return take(x, self.destination, is_sorted=True)

    def at_source(self, x: jax.Array) -> jax.Array:
        """Returns the rows [E, A] of x [N, A] at the starts of the edges."""
        return take(x, self.source)

    def of_pair(self, x: jax.Array) -> jax.Array:
        """Returns for every edge the row of its pair, [E, ...] for x [U, ...]."""
        return x if self.edge_pair is None else take(x, self.edge_pair)

    def sum_at_destination(self, x: jax.Array) -> jax.Array:
        """Returns the sums over incoming edges, [N, A] for x [E, A].

        Edges of padding all end at the last node; their sum, which would grow from
        layer to layer, is replaced by 0.
        """
        total = jax.ops.segment_sum(
            x,
            self.destination,
            self.num_nodes,
            indices_are_sorted=True,
            mode="promise_in_bounds",
        )
        return jnp.where(self.node_weight[:, None] > 0, total, 0)


def take(x: jax.Array, index: jax.Array, is_sorted: bool = False) -> jax.Array:
    """Returns x[index] for an index that is known to be in bounds."""
    return (
        jnp.asarray(x)
        .at[index]
        .get(mode="promise_in_bounds", indices_are_sorted=is_sorted)
    )


def topology(graph: Graph) -> Topology:
    """Returns the topology of a graph.

    Args:
        graph: position [N, 3], edge_index [2, E]; optional node_mask [N], edge_mask
            [E], and pair_index [2, U] with edge_pair [E] from `with_pairs`.
    """
    source, destination = graph["edge_index"]
    nodes, dtype = graph["position"].shape[0], jnp.float32
    edge_weight = graph.get("edge_mask", jnp.ones(source.shape, dtype)).astype(dtype)
    node_weight = graph.get("node_mask", jnp.ones(nodes, dtype)).astype(dtype)
    edge_pair = graph.get("edge_pair")
    if edge_pair is None:
        low, high, pair_weight = source, destination, edge_weight
    else:
        low, high = graph["pair_index"]
        pair_weight = jax.ops.segment_sum(edge_weight, edge_pair, low.shape[0])
    degree = jax.ops.segment_sum(edge_weight, destination, nodes)
    return Topology(
        source,
        destination,
        edge_weight,
        low,
        high,
        edge_pair,
        pair_weight,
        node_weight,
        degree,
    )


def relative_degree(graph: Topology) -> jax.Array:
    """Returns the number of edges that leave a node over its mean, [N].

    The mean is over the nodes up to the last one from which an edge leaves; the
    attribute of an edge is the value at its source minus that at its destination.
    """
    degree = jax.ops.segment_sum(graph.edge_weight, graph.source, graph.num_nodes)
    last = jnp.max(jnp.where(graph.edge_weight > 0, graph.source, -1))
    mean = jnp.sum(degree) / jnp.maximum(last + 1, 1)
    return degree / jnp.where(mean > 0, mean, 1)
