"""The largest row of every event, differentiable twice."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def event_max(
    values: jax.Array, event: jax.Array, num_events: int, empty: float
) -> jax.Array:
    """Returns the largest row of each event, [B, K]; `empty` where there is none.

    The gradient goes to the largest entries, in equal shares where several are equal,
    in the first and in the second derivative: PyTorch's rule.

    Args:
        values: [M, K].
        event: [M], from 0 to B; rows of event B are padding.
        num_events: B.
        empty: below all values.
    """
    return _largest(values, event, num_events, empty)[:-1]


def _largest(values, event, num_events, empty):
    start = jnp.full((num_events + 1, values.shape[1]), empty, values.dtype)
    return start.at[event].max(values, mode="promise_in_bounds")  # [B + 1, K]


def _forward(values, event, num_events, empty):
    top = _largest(values, event, num_events, empty)
    return top[:-1], (values, event, top)


def _backward(num_events, empty, kept, gradient):
    del empty
    values, event, top = kept
    winner = values == top[event]  # [M, K]
    ties = jnp.zeros((num_events + 1, values.shape[1]), gradient.dtype)
    ties = ties.at[event].add(winner.astype(ties.dtype), mode="promise_in_bounds")
    share = gradient / jnp.maximum(ties[:-1], 1)
    share = jnp.concatenate([share, jnp.zeros_like(share[:1])])  # [B + 1, K]
    return jnp.where(winner, share[event], 0), None


event_max.defvjp(_forward, _backward)


def event_max_of(
    network: Callable[[PyTree, jax.Array], jax.Array],
    params: PyTree,
    rows: jax.Array,
    event: jax.Array,
    num_events: int,
    empty: float,
    block: int,
) -> jax.Array:
    """Returns the largest row of each event of what a network makes of rows, [B, K].

    The value and the gradients of `event_max(network(params, rows), ...)`, without an
    array of all outputs: block after block, whose layers stay in the cache of a CPU.
    What a block is made of is computed again for its gradient, which takes less time
    than to write and to read it.

    Args:
        network: params and rows [L, I] -> outputs [L, K], row by row.
        params: of the network.
        rows: [M, I].
        event: [M] int32, ascending, from 0 to B; rows of event B are padding.
        num_events: B.
        empty: below all outputs.
        block: L.
    """
    blocks = -(-rows.shape[0] // block)
    more = blocks * block - rows.shape[0]
    rows = jnp.pad(rows, ((0, more), (0, 0))).reshape(blocks, block, -1)
    event = jnp.pad(event, (0, more), constant_values=num_events)
    event = event.reshape(blocks, block)
    found: Any = _of_blocks(network, num_events, empty, params, rows, event)
    return found[0][:-1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _of_blocks(network, num_events, empty, params, rows, event):
    """Returns the largest entries and how many are as large, [B + 1, K] each."""
    one: Any = jax.eval_shape(network, params, rows[0])
    shape = (num_events + 1, one.shape[1])

    def add(found, block):
        top, ties = found
        rows, event = block
        values = network(params, rows)
        # the only event that may have rows in blocks before this one
        first = event[0]
        before, old = top[first], ties[first]
        top = top.at[event].max(values, mode="promise_in_bounds")
        ties = ties.at[first].set(jnp.where(top[first] == before, old, 0))
        winner = (values == top[event]).astype(one.dtype)
        return (top, ties.at[event].add(winner, mode="promise_in_bounds")), None

    start = jnp.full(shape, empty, one.dtype), jnp.zeros(shape, one.dtype)
    return jax.lax.scan(add, start, (rows, event))[0]


def _forward_of_blocks(network, num_events, empty, params, rows, event):
    found: Any = _of_blocks(network, num_events, empty, params, rows, event)
    return found, (params, rows, event, *found)


def _backward_of_blocks(network, num_events, empty, kept, gradients):
    del num_events, empty
    params, rows, event, top, ties = kept
    gradient, _ = gradients
    share = gradient / jnp.maximum(ties, 1)

    def add(total, block):
        rows, event = block
        values, back = jax.vjp(network, params, rows)
        mine = jnp.where(values == top[event], share[event], 0)
        of_params, of_rows = back(mine)
        return jax.tree.map(jnp.add, total, of_params), of_rows

    zeros = jax.tree.map(jnp.zeros_like, params)
    of_params, of_rows = jax.lax.scan(add, zeros, (rows, event))
    return of_params, of_rows, None


_of_blocks.defvjp(_forward_of_blocks, _backward_of_blocks)
