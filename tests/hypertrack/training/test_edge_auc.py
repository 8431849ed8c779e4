"""The binned area against the rank statistic."""

import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.training.edge_auc import auc_of_edges, binned_auc


def exact(logits, labels):
    true, false = logits[labels > 0], logits[labels == 0]
    more = (true[:, None] > false[None]).mean()
    return more + 0.5 * (true[:, None] == false[None]).mean()


def test_binned_area_is_close_to_the_exact_one():
    rng = np.random.default_rng(0)
    labels = (rng.random(3000) < 0.2).astype(np.float32)
    for shift in (0.0, 1.0, 5.0):
        logits = np.float32(rng.normal(size=3000) + shift * labels)
        (area,), _ = binned_auc(
            jnp.asarray(logits), jnp.asarray(labels), jnp.ones((3000, 1))
        )
        assert abs(area - exact(logits, labels)) < 2e-4


def test_equal_logits_count_half_and_one_class_gives_no_area():
    ones = jnp.ones((4, 1))
    labels = jnp.asarray([1.0, 0.0, 1.0, 0.0])
    assert binned_auc(jnp.zeros(4), labels, ones)[0][0] == 0.5
    assert np.isnan(binned_auc(jnp.zeros(4), jnp.zeros(4), ones)[0][0])


def test_self_edges_and_padding_are_left_out():
    edges = jnp.asarray([[0, 1, 2, 3, 0], [1, 0, 2, 3, 2]])
    logits = jnp.asarray([2.0, -1.0, 5.0, 9.0, 1.0])
    labels = jnp.asarray([1.0, 0.0, 1.0, 0.0, 0.0])
    weight = jnp.asarray([1.0, 1.0, 1.0, 0.0, 1.0])
    found = auc_of_edges(logits, labels, edges, weight)
    assert found["auc"] == 1
    assert found["auc_without_self"] == 1
    wrong = auc_of_edges(logits.at[2].set(-9.0), labels, edges, weight)
    assert wrong["auc"] == 0.5
    assert wrong["auc_without_self"] == 1
