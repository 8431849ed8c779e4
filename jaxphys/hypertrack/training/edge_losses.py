"""Losses on the logits of the edges of one graph, in one pass over the edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

BCE_TYPES = ("Focal", "BCE", "BCE+Hinge")
SMALLEST = 1e-7


class EdgeBCE(NamedTuple):
    """Settings of the loss per edge.

    Attributes:
        type: one of `BCE_TYPES`.
        gamma: exponent of Focal.
        delta: share of the hinge loss.
        edge_balance: whether a true edge counts as often as there are false ones for
            every true one.
        remove_self_edges: whether edges of a hit with itself are left out.
    """

    type: str = "Focal"
    gamma: float = 1.0
    delta: float = 0.05
    edge_balance: bool = True
    remove_self_edges: bool = False


class EdgeContrastive(NamedTuple):
    """Settings of the loss per track.

    Attributes:
        tau: temperature.
        min_prob: edges up to this probability are left out.
        sub_sample: number of tracks that are looked at, the first ones.
        weights: whether tracks count by the weights of their hits; else all alike.
    """

    tau: float = 0.3
    min_prob: float = 1e-3
    sub_sample: int = 300
    weights: bool = True


def focus(entropy: jax.Array, gamma: float) -> jax.Array:
    """Returns (1 - p)^gamma for p = exp(-entropy), with a finite gradient at p = 1."""
    if gamma == 0:
        return jnp.ones_like(entropy)
    missing = -jnp.expm1(-entropy)
    if gamma == 1:
        return missing
    return (jnp.maximum(missing, SMALLEST) if gamma < 1 else missing) ** gamma


def hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns max(0, 1 - logit) for true and max(0, 1 + logit) for false rows."""
    return jax.nn.relu(1 - logits * (2 * labels - 1))


def _ratio(total: jax.Array, count: jax.Array) -> jax.Array:
    """Returns total / count, and 0 where the count is 0."""
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)


def edge_bce(
    logits: jax.Array,
    labels: jax.Array,
    edge_index: jax.Array,
    edge_weight: jax.Array,
    settings: EdgeBCE,
) -> jax.Array:
    """Returns the loss per edge of a graph, a scalar.

    A graph without a true edge has the loss 0 where classes are balanced.

    Args:
        logits: [E].
        labels: 1 for edges within a track, else 0, [E].
        edge_index: [2, E].
        edge_weight: 1, or 0 for padding, [E].
        settings: of the loss.

    Raises:
        ValueError: the type is unknown.
    """
    if settings.type not in BCE_TYPES:
        raise ValueError(
            f"edge_BCE type: expected one of {', '.join(BCE_TYPES)}, "
            f"got {settings.type!r}"
        )
    there = edge_weight
    if settings.remove_self_edges:
        there = there * (edge_index[0] != edge_index[1])
    weight, known = there, jnp.ones(())
    if settings.edge_balance:
        num_true = jnp.sum(there * labels)
        balance = _ratio(jnp.sum(there) - num_true, num_true)
        weight, known = there * jnp.where(labels > 0, balance, 1), num_true > 0
    entropy = optax.sigmoid_binary_cross_entropy(logits, labels)
    total = jnp.sum(weight)
    if settings.type == "Focal":
        terms = weight * focus(entropy, settings.gamma) * entropy
        return jnp.where(known, _ratio(jnp.sum(terms), total), 0)
    loss = _ratio(jnp.sum(weight * entropy), jnp.sum(there))
    if settings.type == "BCE+Hinge":
        share = settings.delta
        margin = _ratio(jnp.sum(weight * hinge(logits, labels)), total)
        loss = (1 - share) * loss + share * margin
    return jnp.where(known, loss, 0)


def edge_contrastive(
    logits: jax.Array,
    edge_index: jax.Array,
    edge_weight: jax.Array,
    track: jax.Array,
    hit_weight: jax.Array,
    settings: EdgeContrastive,
) -> jax.Array:
    """Returns the contrastive loss of the tracks of a graph, a scalar.

    Every edge within a track is compared with all edges that leave the track: one sum
    over edges for all tracks, so the time does not depend on their number.

    Args:
        logits: [E].
        edge_index: [2, E].
        edge_weight: 1, or 0 for padding, [E].
        track: of the hits, -1 for noise and padding, [N]; numbers below N.
        hit_weight: of the hits, [N].
        settings: of the loss.
    """
    nodes = track.shape[0]
    track = jnp.where(track < 0, nodes, track)  # one more segment, which is dropped
    first, second = track[edge_index[0]], track[edge_index[1]]
    kept = (edge_weight > 0) & (jax.nn.sigmoid(logits) > settings.min_prob)
    score = jnp.tanh(logits) / settings.tau
    largest = 1 / settings.tau

    def per_track(values: jax.Array, segments: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, segments, nodes + 1)

    leaving = jnp.where(kept & (first != second), jnp.exp(score - largest), 0)
    against = per_track(leaving, first) + per_track(leaving, second)
    some = against > 0
    log_against = jnp.log(jnp.where(some, against, 1)) + largest
    inside = kept & (first == second) & (first < min(settings.sub_sample, nodes))
    inside &= edge_index[0] != edge_index[1]
    terms = jnp.where(some[first], jax.nn.softplus(log_against[first] - score), 0)
    count = per_track(inside.astype(logits.dtype), first)
    mean = _ratio(per_track(jnp.where(inside, terms, 0), first), count)
    used = (count > 0).astype(logits.dtype)
    hits = per_track(jnp.ones_like(hit_weight), track)
    weight = per_track(hit_weight, track) * used if settings.weights else used
    multiplicity = _ratio(jnp.sum(used * hits), jnp.sum(used))
    return _ratio(_ratio(jnp.sum(weight * mean), jnp.sum(weight)), multiplicity)
