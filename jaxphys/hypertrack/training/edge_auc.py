"""Area under the ROC curve of the edges of a graph, on the device, without a sort."""

import jax
import jax.numpy as jnp

BINS, RANGE = 4096, 16.0


def binned_auc(
    logits: jax.Array, labels: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the areas for several weights, [k], by histograms of the logits.

    Logits that fall into one bin, 1/128 wide, count as equal: half a pair each. The
    area differs from the exact one by less than 1e-3, in practice by some 1e-5.

    Args:
        logits: [E].
        labels: 1 or 0, [E].
        weight: [E, k].

    Returns:
        The areas, NaN where there are no true or no false edges, and the numbers of
        pairs of a true and a false edge, each [k].
    """
    place = (jnp.clip(logits, -RANGE, RANGE) + RANGE) * (BINS / (2 * RANGE))
    place = jnp.clip(place.astype(jnp.int32), 0, BINS - 1)
    label = labels[:, None]
    both = jnp.concatenate([weight * label, weight * (1 - label)], 1)
    counts = jax.ops.segment_sum(both, place, BINS)
    true, false = jnp.split(counts, 2, 1)
    # shares, so that float32 holds the sums of a full event too
    num_true, num_false = jnp.sum(true, 0), jnp.sum(false, 0)
    true = true / jnp.maximum(num_true, 1)[None]
    false = false / jnp.maximum(num_false, 1)[None]
    below = jnp.cumsum(false, 0) - 0.5 * false
    pairs = num_true * num_false
    return jnp.where(pairs > 0, jnp.sum(true * below, 0), jnp.nan), pairs


def auc_of_edges(
    logits: jax.Array,
    labels: jax.Array,
    edge_index: jax.Array,
    edge_weight: jax.Array,
) -> dict[str, jax.Array]:
    """Returns auc of all edges and auc_without_self, NaN where it has no meaning."""
    apart = edge_weight * (edge_index[0] != edge_index[1])
    weight = jnp.stack([edge_weight, apart], 1)
    areas, _ = binned_auc(logits, labels, weight)
    return {"auc": areas[0], "auc_without_self": areas[1]}
