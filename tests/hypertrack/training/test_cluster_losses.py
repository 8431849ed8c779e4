"""Losses of masks: targets, acceptance, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.training.cluster_losses import (
    MaskLoss,
    Micrographs,
    cluster_losses,
    decide,
    majority,
)


def make(pivots, sets=3, rows=7, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.arange(rows)[None] < np.array([[7], [6], [7]])[:sets]
    found = Micrographs(
        jnp.asarray(mask),
        jnp.asarray(np.where(mask, rng.integers(-1, 3, (sets, rows)), -1)),
        jnp.asarray(pivots),
        jnp.full((sets, rows), 0.01),
        jnp.asarray([True] * sets),
        jnp.asarray(100),
    )
    return found, jnp.asarray(rng.normal(1, 2, (sets, rows)), jnp.float32)


def test_most_frequent_label_and_smallest_of_several():
    labels = jnp.asarray([[5, 2, 5, 2], [4, 4, 1, 1], [3, 0, 0, 9]])
    mask = jnp.asarray([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(majority(labels, mask), [2, 4, -1])


def test_sets_of_noise_and_small_sets_have_no_loss():
    sets, logits = make([[1, 1, 0], [-1, -1, 2], [2, 2, 2]])
    logits = logits.at[2].set(-5.0)  # nothing is chosen
    found = cluster_losses(logits, sets, MaskLoss(min_cluster_size=1))
    np.testing.assert_array_equal(found.counts, [1, 0, 0])
    np.testing.assert_allclose(found.bce, found.bce_each[0])
    np.testing.assert_allclose(found.set_loss, 1 + found.set_loss_each[0])


def test_without_clusters_losses_are_zero_with_finite_gradients():
    sets, logits = make([[1, 1, 0]] * 3)
    settings = MaskLoss(min_cluster_size=100)

    def loss(logits):
        found = cluster_losses(logits, sets, settings)
        return found.bce + found.set_loss

    value, gradient = jax.value_and_grad(loss)(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("set_loss", ["intersect", "dice", "jaccard"])
def test_padding_rows_and_sets_changes_nothing(set_loss):
    sets, logits = make([[1, 1, 0], [0, 2, 2], [2, 1, 2]])
    settings = MaskLoss(set_loss=set_loss, min_cluster_size=1)
    plain = cluster_losses(logits, sets, settings)
    wide = ((0, 1), (0, 3))
    padded = Micrographs(
        jnp.pad(sets.row_mask, wide),
        jnp.pad(sets.labels, wide, constant_values=1),
        jnp.pad(sets.pivot_labels, ((0, 1), (0, 0)), constant_values=1),
        jnp.pad(sets.hit_weight, wide, constant_values=3),
        jnp.pad(sets.set_mask, (0, 1)),
        sets.num_hits,
    )
    more = jnp.pad(logits, wide, constant_values=4)
    got = cluster_losses(more, padded, settings)
    np.testing.assert_allclose(got.bce, plain.bce, rtol=1e-6)
    np.testing.assert_allclose(got.set_loss, plain.set_loss, rtol=1e-6)


def test_the_soft_threshold_learns():
    logits, mask = jnp.asarray([[0.0, 2.0]]), jnp.ones((1, 2), bool)
    soft = MaskLoss(threshold_algo="soft", tau=0.1)
    gradient = jax.grad(lambda t: decide(logits, mask, t, soft)[0].sum())(0.6)
    assert gradient < 0
    fixed = MaskLoss(fixed_threshold=0.6)
    assert decide(logits, mask, 0.0, fixed)[1].tolist() == [[False, True]]


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="meta_target: expected one of"):
        MaskLoss(meta_target="minor").check()
