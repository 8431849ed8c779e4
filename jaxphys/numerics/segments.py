"""Sums, means and extremes over segments that may be empty or masked.

A segment is a set of rows with one number: the nodes of a graph, the edges at a node.
An empty segment gives a chosen value, never an infinity or a NaN, and masked rows are
replaced before anything is computed from them, so that no gradient passes through.
"""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Mask = Array | None


def _as_column(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape(vector.shape + (1,) * (ndim - 1))


def _kept(values: Array, mask: Mask, fill) -> jax.Array:
    values = jnp.asarray(values)
    if mask is None:
        return values
    fill = jnp.asarray(fill, values.dtype)
    return jnp.where(_as_column(jnp.asarray(mask) > 0, values.ndim), values, fill)


def segment_sum(
    values: Array, segments: Array, num_segments: int, mask: Mask = None
) -> jax.Array:
    """Returns the sums of the rows of each segment, [S, ...]; 0 where there is none.

    Args:
      values: [N, ...].
      segments: [N], the segment of each row, below `num_segments`.
      num_segments: S.
      mask: [N], above 0 for rows that count; None counts all.
    """
    return jax.ops.segment_sum(
        _kept(values, mask, 0), jnp.asarray(segments), num_segments
    )


def segment_count(
    segments: Array, num_segments: int, mask: Mask = None, dtype=jnp.float32
) -> jax.Array:
    """Returns the number of rows of each segment that count, [S]."""
    return segment_sum(jnp.ones(segments.shape, dtype), segments, num_segments, mask)


def segment_mean(
    values: Array,
    segments: Array,
    num_segments: int,
    mask: Mask = None,
    count: Array | None = None,
) -> jax.Array:
    """Returns the means of the rows of each segment, [S, ...]; 0 where there is none.

    Args:
      values: [N, ...], floating.
      segments: [N], the segment of each row.
      num_segments: S.
      mask: [N], above 0 for rows that count; None counts all.
      count: [S], the number of rows that count, where it is known already.
    """
    total = segment_sum(values, segments, num_segments, mask)
    if count is None:
        count = segment_count(segments, num_segments, mask, values.dtype)
    divisor = jnp.maximum(jnp.asarray(count), 1).astype(total.dtype)
    return total / _as_column(divisor, total.ndim)


def segment_max(
    values: Array,
    segments: Array,
    num_segments: int,
    mask: Mask = None,
    empty: float = 0.0,
) -> jax.Array:
    """Returns the largest row of each segment, [S, ...]; `empty` where there is none.

    The arguments are those of `segment_sum`. The gradient is spread over ties.
    """
    if jnp.issubdtype(values.dtype, jnp.floating):
        lowest = -jnp.inf
    else:
        lowest = jnp.iinfo(values.dtype).min
    kept = _kept(values, mask, lowest)
    found = jax.ops.segment_max(kept, jnp.asarray(segments), num_segments)
    count = segment_count(segments, num_segments, mask, jnp.int32)
    there = _as_column(count > 0, found.ndim)
    return jnp.where(there, found, jnp.asarray(empty, found.dtype))


def segment_min(
    values: Array,
    segments: Array,
    num_segments: int,
    mask: Mask = None,
    empty: float = 0.0,
) -> jax.Array:
    """Returns the smallest row of each segment, [S, ...]; `empty` where there is none.

    The arguments are those of `segment_max`; values are floating or signed.
    """
    return -segment_max(-values, segments, num_segments, mask, -empty)
