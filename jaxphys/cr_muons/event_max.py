"""The largest row of every event, differentiable twice."""

import functools

import jax
import jax.numpy as jnp


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
