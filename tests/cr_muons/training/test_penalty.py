"""Pairs of muons and the penalty on the slope between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.training import penalty

REAL = np.array([3, 0, 5, 2, 40], np.int32)
FAKE = np.array([2, 4, 5, 0, 33], np.int32)
K = np.minimum(REAL, FAKE)


def bits(shape, seed=0):
    return jax.random.bits(jax.random.key(seed), shape, jnp.uint32)


def test_all_pairs_are_taken_in_order():
    found = penalty.flat_pairs(None, jnp.asarray(REAL), jnp.asarray(FAKE), 48, 0, 0.0)
    event = np.repeat(np.arange(5), K)
    used = len(event)
    within = np.concatenate([np.arange(k) for k in K])
    np.testing.assert_array_equal(found.event[:used], event)
    np.testing.assert_array_equal(found.event[used:], 5)
    starts = [np.cumsum(n) - n for n in (REAL, FAKE)]
    np.testing.assert_array_equal(found.real[:used], starts[0][event] + within)
    np.testing.assert_array_equal(found.fake[:used], starts[1][event] + within)
    np.testing.assert_array_equal(found.number, K)


@pytest.mark.parametrize(("most", "fraction", "size"), [(12, 0.0, 12), (0, 0.25, 10)])
def test_a_subset_is_random_without_repetition(most, fraction, size):
    def chosen(seed):
        found = penalty.flat_pairs(
            bits((48,), seed), jnp.asarray(REAL), jnp.asarray(FAKE), 48, most, fraction
        )
        real = np.asarray(found.event) < 5
        assert real.sum() == size == int(found.number.sum())
        return set(np.asarray(found.real)[real].tolist())

    first = chosen(0)
    assert len(first) == size
    assert first != chosen(1)


def test_whole_events_are_paired_and_every_real_muon_once():
    found = penalty.event_pairs(
        bits((5, 3)), jnp.asarray(REAL), jnp.asarray(FAKE), 48, 0
    )
    row, event = np.asarray(found.row), np.asarray(found.event)
    real = event < len(row)
    assert real.sum() == K.sum()
    number = np.zeros(5, int)
    number[row] = found.number
    np.testing.assert_array_equal(number, K)
    places = np.asarray(found.real)[real]
    assert len(set(places.tolist())) == K.sum()
    ends = np.cumsum(REAL)
    np.testing.assert_array_equal(
        np.searchsorted(ends, places, side="right"), row[event[real]]
    )
    ends = np.cumsum(FAKE)
    fakes = np.asarray(found.fake)[real]
    np.testing.assert_array_equal(
        np.searchsorted(ends, fakes, side="right"), row[event[real]]
    )


def test_the_budget_takes_whole_events_only():
    found = penalty.event_pairs(
        bits((5, 3)), jnp.asarray(REAL), jnp.asarray(FAKE), 48, 8
    )
    number, row = np.asarray(found.number), np.asarray(found.row)
    taken = number > 0
    assert number.sum() <= 8
    np.testing.assert_array_equal(number[taken], np.minimum(K, 8)[row[taken]])


def test_the_root_has_slope_0_at_0():
    x = jnp.zeros(3)
    root = lambda x: penalty.guarded_root(jnp.sum(x * x))  # noqa: E731
    assert np.all(jax.grad(root)(x) == 0)
    assert np.all(np.isfinite(jax.hessian(root)(x)))
    assert float(root(jnp.asarray([3.0, 4.0, 0.0]))) == pytest.approx(5)


def test_penalties_of_known_slopes():
    pairs = penalty.flat_pairs(None, jnp.asarray(REAL), jnp.asarray(FAKE), 48, 0, 0.0)
    pairs = jax.tree.map(lambda a: a[None], pairs)
    slope = jnp.zeros((1, 48, 3)).at[..., 0].set(3.0)
    total, number, norm = penalty.flat_penalty(slope, pairs)
    assert (float(total), float(number)) == (4.0 * K.sum(), K.sum())
    assert float(norm[0, 0]) == 3
    total, number, _ = penalty.event_penalty(slope, pairs, "l2")
    there = K > 0
    expected = np.sum((3 * np.sqrt(K[there]) - 1) ** 2)
    assert float(number) == there.sum()
    assert float(total) == pytest.approx(expected, rel=1e-5)
    total, _, _ = penalty.event_penalty(slope, pairs, "rms")
    assert float(total) == pytest.approx(4.0 * there.sum(), rel=1e-5)


def test_steep_slopes_are_bounded_in_flat_mode():
    pairs = penalty.flat_pairs(None, jnp.asarray(REAL), jnp.asarray(FAKE), 48, 0, 0.0)
    pairs = jax.tree.map(lambda a: a[None], pairs)
    slope = jnp.full((1, 48, 3), jnp.inf).at[:, 0].set(jnp.nan)
    total, number, _ = penalty.flat_penalty(slope, pairs)
    assert float(total) == pytest.approx(81.0 * (float(number) - 1) + 1)
