"""Random numbers follow their law and depend on event and muon only."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxphys.cr_muons.model import draws

KEY = jax.random.key(0)


def test_words_depend_on_the_slot_and_the_muon_only():
    slot = jnp.asarray([5, 5, 9, 0], jnp.int32)
    within = jnp.asarray([0, 1, 0, 0], jnp.int32)
    bits = np.asarray(draws.muon_bits(KEY, slot, within, 3))
    moved = np.asarray(draws.muon_bits(KEY, slot[::-1], within[::-1], 3))
    np.testing.assert_array_equal(bits, moved[::-1])
    assert len(np.unique(bits)) == bits.size


def test_normal_numbers_are_normal():
    rows = jnp.arange(20_000, dtype=jnp.int32)
    bits = draws.muon_bits(KEY, rows // 7, rows % 7, 5)
    x = np.asarray(draws.normal_of(bits))
    assert np.all(np.isfinite(x))
    assert stats.kstest(x.reshape(-1), "norm").pvalue > 1e-3
    correlation = np.corrcoef(x.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.03


def test_the_ends_of_the_uniform_are_finite_normals():
    bits = jnp.asarray([0, 0xFFFFFFFF], jnp.uint32)
    u = np.asarray(draws.uniform_of(bits))
    assert u[0] == 0
    assert u[1] < 1
    x = np.asarray(draws.normal_of(bits))
    assert x[0] == -x[1]
    assert 5 < x[1] < 6


def test_noise_of_events_does_not_depend_on_the_cut_into_parts():
    slots = jnp.arange(12, dtype=jnp.int32).reshape(4, 3)
    for draw in (
        lambda s: draws.event_normal(KEY, s, 3),
        lambda s: draws.event_uniform(KEY, s),
    ):
        four = np.asarray(draw(slots)).reshape(12, -1)
        np.testing.assert_array_equal(
            draw(slots.reshape(1, 12))[0].reshape(12, -1), four
        )
        np.testing.assert_array_equal(draw(slots[2:3])[0].reshape(3, -1), four[6:9])
        assert len(np.unique(four)) == four.size


def test_noise_of_events_is_normal():
    x = np.asarray(draws.event_normal(KEY, jnp.arange(20_000)[None], 4))[0]
    assert stats.kstest(x.reshape(-1), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(x.T) - np.eye(4)).max() < 0.03
