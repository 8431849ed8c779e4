"""Losses on the masks that the set transformer puts on micrographs.

A micrograph is a set of hits around three pivots. Its target is the track that most of
the pivots belong to. Hard decisions (which hits are chosen, which sets are accepted)
carry no gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxphys.hypertrack.training.edge_losses import BCE_TYPES, focus, hinge

SET_LOSSES = ("intersect", "dice", "jaccard")
META_TARGETS = ("pivotmajor", "major")
THRESHOLDS = ("fixed", "soft")
NO_LABEL = jnp.iinfo(jnp.int32).max


class MaskLoss(NamedTuple):
    """How masks are decided and scored.

    Attributes:
        bce_type: one of `BCE_TYPES`.
        gamma: exponent of Focal.
        delta: share of the hinge loss.
        bce_weights: whether hits count by their weights; else all alike.
        set_loss: one of `SET_LOSSES`.
        set_weights: the same for "intersect".
        smooth: added to both sides of the fraction of "dice" and "jaccard".
        meta_target: "pivotmajor": most frequent label of the pivots; "major": of the
            hits that are chosen.
        threshold_algo: "fixed", or "soft" with a threshold that is learned.
        fixed_threshold: probability above which a hit is chosen.
        tau: width of the soft threshold.
        min_cluster_size: sets with fewer chosen hits are not accepted.
    """

    bce_type: str = "Focal"
    gamma: float = 1.0
    delta: float = 0.05
    bce_weights: bool = False
    set_loss: str = "intersect"
    set_weights: bool = False
    smooth: float = 1.0
    meta_target: str = "pivotmajor"
    threshold_algo: str = "fixed"
    fixed_threshold: float = 0.5
    tau: float = 1e-3
    min_cluster_size: int = 4

    def check(self) -> "MaskLoss":
        """Returns the settings, or raises ValueError naming the one that is unknown."""
        allowed = {
            "bce_type": BCE_TYPES,
            "set_loss": SET_LOSSES,
            "meta_target": META_TARGETS,
            "threshold_algo": THRESHOLDS,
        }
        for name, values in allowed.items():
            if (got := getattr(self, name)) not in values:
                raise ValueError(
                    f"{name}: expected one of {', '.join(values)}, got {got!r}"
                )
        return self


class Micrographs(NamedTuple):
    """Truth about the sets of one graph.

    Attributes:
        row_mask: True for real rows, [S, n].
        labels: tracks of the rows, -1 for noise, [S, n].
        pivot_labels: tracks of the pivots, [S, p].
        hit_weight: of the rows, over their sum in the event, [S, n].
        set_mask: True for real sets, [S].
        num_hits: hits of the event, a scalar.
    """

    row_mask: jax.Array
    labels: jax.Array
    pivot_labels: jax.Array
    hit_weight: jax.Array
    set_mask: jax.Array
    num_hits: jax.Array


class ClusterLosses(NamedTuple):
    """Losses of the sets of one graph.

    Attributes:
        bce: mean over the sets that count, a scalar.
        set_loss: mean, or for "intersect" 1 plus the sum, over these sets; 0 without.
        bce_each: of every set, [S].
        set_loss_each: of every set, [S].
        counts: 1 for a set that is accepted and has a target, else 0, [S].
        accepted: 1 for a set that is accepted, else 0, [S].
    """

    bce: jax.Array
    set_loss: jax.Array
    bce_each: jax.Array
    set_loss_each: jax.Array
    counts: jax.Array
    accepted: jax.Array


def majority(labels: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the most frequent label of each row, the smallest of several, [S].

    Args:
        labels: [S, n], int32.
        mask: True for entries that count, [S, n].
    """
    same = (labels[:, :, None] == labels[:, None, :]) & mask[:, None, :]
    count = jnp.where(mask, jnp.sum(same, 2), 0)
    most = jnp.max(count, 1, keepdims=True)
    found = jnp.min(jnp.where(mask & (count == most), labels, NO_LABEL), 1)
    return jnp.where(jnp.any(mask, 1), found, -1)


def decide(
    logits: jax.Array,
    row_mask: jax.Array,
    threshold: jax.Array | float,
    settings: MaskLoss,
) -> tuple[jax.Array, jax.Array]:
    """Returns probabilities [S, n] and which rows are chosen [S, n].

    Args:
        logits: [S, n].
        row_mask: True for real rows, [S, n].
        threshold: that is learned; only read where `threshold_algo` is "soft".
        settings: of the decision.
    """
    prob = jax.nn.sigmoid(logits)
    if settings.threshold_algo == "soft":
        prob = prob * jax.nn.sigmoid((prob - threshold) / settings.tau)
        return prob, (prob > threshold) & row_mask
    return prob, (prob > settings.fixed_threshold) & row_mask


def _bce(
    logits: jax.Array, target: jax.Array, sets: Micrographs, settings: MaskLoss
) -> jax.Array:
    mask = sets.row_mask.astype(logits.dtype)
    weight = mask * sets.hit_weight if settings.bce_weights else mask
    total = jnp.sum(weight, 1, keepdims=True)
    weight = weight / jnp.where(total > 0, total, 1)
    entropy = optax.sigmoid_binary_cross_entropy(logits, target)
    if settings.bce_type == "Focal":
        entropy = focus(entropy, settings.gamma) * entropy
    elif settings.bce_type == "BCE+Hinge":
        share = settings.delta
        entropy = (1 - share) * entropy + share * hinge(logits, target)
    return jnp.sum(weight * entropy, 1)


def _set_loss(
    logits: jax.Array,
    prob: jax.Array,
    chosen: jax.Array,
    target: jax.Array,
    sets: Micrographs,
    settings: MaskLoss,
) -> jax.Array:
    if settings.set_loss == "intersect":
        weight = 1 / jnp.maximum(sets.num_hits, 1).astype(prob.dtype)
        each = sets.hit_weight if settings.set_weights else weight
        return jnp.sum(each * prob * jnp.where(chosen, 1 - 2 * target, 0), 1)
    mask = sets.row_mask.astype(prob.dtype)
    prob = jax.nn.sigmoid(logits) * mask
    common, smooth = jnp.sum(prob * target, 1), settings.smooth
    both = jnp.sum(prob, 1) + jnp.sum(target, 1)
    if settings.set_loss == "dice":
        return 1 - (2 * common + smooth) / (both + smooth)
    return 1 - (common + smooth) / (both - common + smooth)


def cluster_losses(
    logits: jax.Array,
    sets: Micrographs,
    settings: MaskLoss,
    threshold: jax.Array | float = 0.5,
) -> ClusterLosses:
    """Returns the losses of the micrographs of one graph.

    Args:
        logits: of the rows, [S, n].
        sets: what is true.
        settings: see `MaskLoss`.
        threshold: see `decide`.
    """
    settings.check()
    prob, chosen = decide(logits, sets.row_mask, threshold, settings)
    if settings.meta_target == "major":
        goal = majority(sets.labels, chosen)
    else:
        real = jnp.ones(sets.pivot_labels.shape, bool)
        goal = majority(sets.pivot_labels, real)
    target = (sets.labels == goal[:, None]) & sets.row_mask & (goal >= 0)[:, None]
    target = target.astype(logits.dtype)
    bce = _bce(logits, target, sets, settings)
    set_loss = _set_loss(logits, prob, chosen, target, sets, settings)
    enough = jnp.sum(chosen, 1) >= settings.min_cluster_size
    accepted = sets.set_mask & enough
    counts = (accepted & (goal >= 0)).astype(logits.dtype)
    number = jnp.sum(counts)
    divisor = jnp.maximum(number, 1)
    total = jnp.sum(counts * set_loss)
    if settings.set_loss == "intersect":
        total = jnp.where(number > 0, total + 1, 0)
    else:
        total = total / divisor
    return ClusterLosses(
        jnp.sum(counts * bce) / divisor,
        total,
        bce,
        set_loss,
        counts,
        accepted.astype(logits.dtype),
    )
