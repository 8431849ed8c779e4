"""Evaluation of a net in chunks of edges, in memory that the edges hardly fill.

In evaluation nothing but sums joins the edges, so any number of them passes through a
compiled function of one shape. `FastNet` has a state per edge: those of the first edges
are kept on the host in half precision, as far as a limit allows, and those of further
edges are computed again for every layer.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jaxphys.hypertrack.model.edge_layout import Topology
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.track_net import TrackNet, network_input

PyTree = Any
CHUNK = 1 << 18
# on a CPU an array that fits its caches is faster; small events are padded little
_CPU_CHUNKS = (1 << 13, 1 << 16)
NODE_STEP = 4096
STATE_BYTES = 3 * 10**9
STATE_TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def edge_outputs(
    net: TrackNet | FastNet,
    variables: Mapping[str, PyTree],
    position: np.ndarray,
    edge_index: np.ndarray,
    *,
    chunk: int = CHUNK,
    state_type: str = "bfloat16",
    state_bytes: int = STATE_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns latents [N, z_dim] and logits [E], float32, with running statistics.

    Args:
        net: with mean or sum as aggregation.
        variables: {"params", "batch_stats"} of the net.
        position: [N, 3] in mm.
        edge_index: [2, E].
        chunk: edges per call; nodes are padded to a multiple of 4096, so that few
            shapes are compiled.
        state_type: of the states that `FastNet` keeps, a key of `STATE_TYPES`.
        state_bytes: most memory for them; time grows where it does not hold all.

    Raises:
        ValueError: the aggregation is the maximum, or an unknown type.
    """
    if state_type not in STATE_TYPES:
        raise ValueError(
            f"state_type: expected one of {', '.join(STATE_TYPES)}, got {state_type!r}"
        )
    count = len(position)
    nodes = -(-(count + 1) // NODE_STEP) * NODE_STEP
    padded = np.zeros((nodes, 3), np.float32)
    padded[:count] = position
    if isinstance(net, FastNet):
        kind = STATE_TYPES[state_type]
        kept = state_bytes // (net.width * np.dtype(kind).itemsize) // chunk * chunk
        states = np.empty((min(kept, edge_index.shape[1]), net.width), kind)
        found = _fast_net(net, variables, padded, edge_index, chunk, states)
    elif net.aggr == "max":
        raise ValueError("aggr=max: expected mean or sum for evaluation in chunks")
    else:
        found = _track_net(net, variables, padded, edge_index, chunk)
    return np.asarray(found[0][:count]), found[1]


def chunk_for(num_edges: int) -> int:
    """Returns edges per call that suit an event: few sizes, each is compiled."""
    if jax.default_backend() != "cpu":
        return CHUNK
    return _CPU_CHUNKS[num_edges > 4 * _CPU_CHUNKS[0]]


def _chunks(edge_index: np.ndarray, chunk: int, nodes: int) -> Any:
    """Yields the slice of some edges and their ends, padded with the last node."""
    for start in range(0, edge_index.shape[1], chunk):
        part = slice(start, min(start + chunk, edge_index.shape[1]))
        ends = np.full((2, chunk), nodes - 1, np.int32)
        ends[:, : part.stop - start] = edge_index[:, part]
        yield part, ends


def _collect(total: jax.Array, values: jax.Array, destination: jax.Array) -> jax.Array:
    return total.at[destination].add(values, mode="promise_in_bounds")


@functools.partial(jax.jit, static_argnums=(0, 2), donate_argnums=3)
def _add_messages(net, variables, layer, total, x, degree, ends):
    """Returns the sums of messages [N, M] with those of a chunk added."""

    def rows(net: TrackNet) -> Any:
        return net.conv[layer].messages(x, degree, ends[0], ends[1]).rows

    return _collect(total, net.apply(variables, method=rows), ends[1])


@functools.partial(jax.jit, static_argnums=(0, 2))
def _update(net, variables, layer, total, x, degree, incoming):
    """Returns the nodes after a layer, [N, h_dim]."""

    def nodes(net: TrackNet) -> jax.Array:
        conv = net.conv[layer]
        # only scale and shift of the messages are read: no edge is needed
        none = jnp.zeros(0, jnp.int32)
        messages = conv.messages(x, degree, none, none)
        return conv.update(
            x, conv.normalise_sum(messages, total, incoming), _nodes_only(x), False
        )

    return net.apply(variables, method=nodes)


def _nodes_only(x: jax.Array) -> Topology:
    none, ones = jnp.zeros(0, jnp.int32), jnp.ones(x.shape[0])
    empty = jnp.zeros(0)
    return Topology(none, none, empty, none, none, None, empty, ones, ones)


@functools.partial(jax.jit, static_argnums=0)
def _fuse(net, variables, layers):
    def latents(net: TrackNet) -> jax.Array:
        return net.fuse(layers, _nodes_only(layers[0]))

    return net.apply(variables, method=latents)


@functools.partial(jax.jit, static_argnums=0)
def _logits(net, variables, latents, ends):
    def logits(net: TrackNet) -> jax.Array:
        return net.head.logits_of(latents, ends[0], ends[1])

    return net.apply(variables, method=logits)


def _track_net(net, variables, position, edge_index, chunk):
    nodes = len(position)
    leaving = np.bincount(edge_index[0], minlength=nodes).astype(np.float32)
    incoming = np.bincount(edge_index[1], minlength=nodes).astype(np.float32)
    used = int(edge_index[0].max(initial=-1)) + 1
    degree = leaving / (leaving[:used].mean() if used else 1)
    x, layers = network_input(jnp.asarray(position), net.normalize_input), []
    for layer in range(net.nstack):
        total = jnp.zeros((nodes, net.m_dim))
        for _, ends in _chunks(edge_index, chunk, nodes):
            total = _add_messages(net, variables, layer, total, x, degree, ends)
        # edges of padding have collected at the last node
        total = total.at[-1].set(0)
        x = _update(net, variables, layer, total, x, degree, incoming)
        layers.append(x)
    latents = _fuse(net, variables, layers)
    logits = np.empty(edge_index.shape[1], np.float32)
    for part, ends in _chunks(edge_index, chunk, nodes):
        found = _logits(net, variables, latents, ends)
        logits[part] = np.asarray(found)[: part.stop - part.start]
    return latents, logits


@functools.partial(jax.jit, static_argnums=0)
def _first_nodes(net, variables, position):
    return net.apply(variables, position, method=FastNet.nodes)


@functools.partial(jax.jit, static_argnums=(0, 2), donate_argnums=3)
def _add_states(net, variables, layer, total, states, x, ends):
    """Returns the sums with a chunk added and the new states of its edges."""
    states, gate = net.apply(
        variables,
        layer,
        states.astype(jnp.float32),
        x,
        ends[0],
        ends[1],
        method=FastNet.update_edges,
    )
    gate = gate * (ends[0] != ends[1])[:, None]
    opened = jnp.concatenate([gate * states, gate], 1)
    return _collect(total, opened, ends[1]), states


@functools.partial(jax.jit, static_argnums=(0, 2))
def _update_nodes(net, variables, layer, x, total):
    return net.apply(variables, layer, x, total, method=FastNet.update_nodes)


@functools.partial(jax.jit, static_argnums=0)
def _fast_logits(net, variables, states):
    return net.apply(variables, states, method=FastNet.logits)


@functools.partial(jax.jit, static_argnums=0)
def _fast_latents(net, variables, x):
    return net.apply(variables, x, method=FastNet.latents)


@functools.partial(jax.jit, static_argnums=0)
def _states_again(net, variables, layers, position, ends):
    """Returns the states of the edges of a chunk after some layers."""
    states = net.apply(variables, position, ends[0], ends[1], method=FastNet.edges)
    for number, x in enumerate(layers):
        states, _ = net.apply(
            variables, number, states, x, ends[0], ends[1], method=FastNet.update_edges
        )
    return states


def _fast_net(net, variables, position, edge_index, chunk, states):
    """Returns latents and logits; `states` holds those of the first edges."""
    nodes, count, kept = len(position), edge_index.shape[1], len(states)
    position = jnp.asarray(position)
    layers = [_first_nodes(net, variables, position)]
    logits = np.empty(count, np.float32)
    for layer in range(net.nstack):
        x, total = layers[-1], jnp.zeros((nodes, net.width + 1))
        for part, ends in _chunks(edge_index, chunk, nodes):
            is_kept, rows = part.stop <= kept, slice(0, part.stop - part.start)
            if is_kept and layer > 0:
                found = np.zeros((chunk, net.width), states.dtype)
                found[rows] = states[part]
            else:
                found = _states_again(net, variables, layers[:-1], position, ends)
            total, found = _add_states(net, variables, layer, total, found, x, ends)
            if layer == net.nstack - 1:
                logits[part] = np.asarray(_fast_logits(net, variables, found))[rows]
            elif is_kept:
                states[part] = np.asarray(found)[rows]
        layers.append(_update_nodes(net, variables, layer, x, total))
    return _fast_latents(net, variables, layers[-1]), logits
