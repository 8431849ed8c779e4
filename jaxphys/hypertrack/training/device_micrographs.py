"""Micrographs for training, made on the device from the edges of the same step.

The host's search (`pivot_search`) goes through rounds, each of which needs the
decisions of the one before. A training step needs no complete set of tracks, only
micrographs like those that the search meets. So here every set begins at a hit of its
own, drawn at random, and the hits that earlier rounds would have taken away are
imitated by leaving out tracks at random. All shapes are static, no gradient passes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Proposal(NamedTuple):
    """How micrographs are drawn.

    Attributes:
      num_sets: S, sets of a graph.
      num_nodes: n, nodes of a micrograph; the likeliest ones are kept.
      row_length: edges of a hit that are looked at; further ones are not seen.
      num_pivots: p, hits of a set.
      edge_threshold: an edge is kept when its probability is above.
      diffuse_threshold: a walk ends where no edge has a larger probability.
      drop_tracks: part of the tracks that is left out, drawn for each graph between 0
        and this.
    """

    num_sets: int = 64
    num_nodes: int = 64
    row_length: int = 256
    num_pivots: int = 3
    edge_threshold: float = 0.55
    diffuse_threshold: float = 0.4
    drop_tracks: float = 0.3


def propose(
    graph: Mapping[str, jax.Array],
    prob: jax.Array,
    key: jax.Array,
    settings: Proposal | None = None,
) -> dict[str, jax.Array]:
    """Draws micrographs of one graph.

    Args:
      graph: edge_index [2, E] (symmetric, sorted by destination), edge_mask [E],
        node_mask [N] and track [N].
      prob: probabilities of the edges, the same both ways, [E].
      key: of the draws.
      settings: how they are drawn.

    Returns:
      rows [S, n] int32 (0 in padding), row_mask [S, n] bool, pivots [S, p] int32 and
      set_mask [S] bool: whether the walk of a set came to its end.
    """
    settings = Proposal() if settings is None else settings
    prob = jax.lax.stop_gradient(prob)
    key_seed, key_share, key_track = jax.random.split(key, 3)
    source, destination = graph["edge_index"]
    num_nodes = graph["node_mask"].shape[0]
    share = settings.drop_tracks * jax.random.uniform(key_share)
    lot = jax.random.uniform(key_track, (num_nodes,))
    track = graph["track"]
    left_out = jnp.where(track >= 0, lot[jnp.maximum(track, 0)] < share, False)
    active = (graph["node_mask"] > 0) & ~left_out
    kept = (graph["edge_mask"] > 0) & (prob > settings.edge_threshold)
    kept = kept & (source != destination)
    score = jnp.where(kept, prob, 0.0)
    begin = jnp.searchsorted(destination, jnp.arange(num_nodes + 1)).astype(jnp.int32)

    def rows_of(nodes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns neighbours and probabilities of nodes, [..., row_length]."""
        place = begin[nodes][..., None] + jnp.arange(settings.row_length).reshape(
            (1,) * nodes.ndim + (-1,)
        )
        inside = place < begin[nodes + 1][..., None]
        place = jnp.minimum(place, len(prob) - 1)
        near = source[place]
        return near, jnp.where(inside & active[near], score[place], 0.0)

    joined = jax.ops.segment_max(
        score * active[source], destination, num_nodes, indices_are_sorted=True
    )
    able = active & (joined > settings.diffuse_threshold)
    draw = jnp.where(able, jax.random.uniform(key_seed, (num_nodes,)), -1.0)
    count = min(settings.num_sets, num_nodes)
    chance, seeds = jax.lax.top_k(draw, count)
    good, path = chance >= 0, [seeds.astype(jnp.int32)]
    for _ in range(settings.num_pivots - 1):
        near, value = rows_of(path[-1])
        for earlier in path:
            value = jnp.where(near == earlier[:, None], 0.0, value)
        best = jnp.argmax(value, axis=1)
        good = good & (jnp.max(value, axis=1) > settings.diffuse_threshold)
        path.append(jnp.take_along_axis(near, best[:, None], 1)[:, 0])
    pivots = jnp.stack(path, axis=1)  # [S, p]
    near, value = rows_of(pivots)
    rows, mask = _likeliest(
        near.reshape(count, -1), value.reshape(count, -1), settings.num_nodes
    )
    return _filled(rows, mask & good[:, None], pivots, good, settings.num_sets)


def _likeliest(
    node: jax.Array, value: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the different nodes of largest value > 0, [S, size], and which are real.

    Args:
      node: candidates with repetitions, [S, m].
      value: [S, m].
      size: n.
    """
    order = jnp.lexsort((-value, node), axis=1)
    node = jnp.take_along_axis(node, order, 1)
    value = jnp.take_along_axis(value, order, 1)
    again = jnp.pad(node[:, 1:] == node[:, :-1], ((0, 0), (1, 0)))
    value = jnp.where(again, 0.0, value)
    taken = min(size, value.shape[1])
    value, place = jax.lax.top_k(value, taken)
    rows = jnp.take_along_axis(node, place, 1)
    mask = jnp.pad(value > 0, ((0, 0), (0, size - taken)))
    rows = jnp.pad(rows, ((0, 0), (0, size - taken)))
    return jnp.where(mask, rows, 0).astype(jnp.int32), mask


def _filled(
    rows: jax.Array, mask: jax.Array, pivots: jax.Array, good: jax.Array, num_sets: int
) -> dict[str, jax.Array]:
    more = num_sets - len(rows)

    def fill(x: jax.Array) -> jax.Array:
        return jnp.pad(x, ((0, more),) + ((0, 0),) * (x.ndim - 1))

    return {
        "rows": fill(jnp.where(mask, rows, 0)),
        "row_mask": fill(mask),
        "pivots": fill(jnp.where(good[:, None], pivots, 0)),
        "set_mask": fill(good),
    }
