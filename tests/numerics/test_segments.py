"""Segments may be empty, masked or in any order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.numerics import segments as s

COUNT = 5  # segment 3 is empty, the only row of segment 4 is masked
INDEX = np.array([2, 0, 0, 1, 2, 2, 4])
MASK = np.array([1, 1, 0, 1, 1, 0, 0])
VALUES = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
CASES = {
    "sum": (s.segment_sum, lambda rows: rows.sum(axis=0), 0.0),
    "mean": (s.segment_mean, lambda rows: rows.mean(axis=0), 0.0),
    "max": (s.segment_max, lambda rows: rows.max(axis=0), 0.0),
    "min": (s.segment_min, lambda rows: rows.min(axis=0), 0.0),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_segments_equal_a_loop_over_them(name, masked):
    function, oracle, empty = CASES[name]
    mask = MASK if masked else np.ones_like(MASK)
    found = function(jnp.asarray(VALUES), INDEX, COUNT, jnp.asarray(mask))
    assert found.shape == (COUNT, 3)
    for segment in range(COUNT):
        rows = VALUES[(segment == INDEX) & (mask > 0)]
        expected = oracle(rows.astype(np.float64)) if len(rows) else empty
        np.testing.assert_allclose(found[segment], expected, rtol=1e-6, atol=1e-7)


def test_no_mask_counts_all():
    values = jnp.asarray(VALUES)
    for function, _, _ in CASES.values():
        one = function(values, INDEX, COUNT)
        other = function(values, INDEX, COUNT, jnp.ones(len(INDEX)))
        np.testing.assert_array_equal(one, other)


def test_count_known_already_gives_the_same_mean():
    count = s.segment_count(INDEX, COUNT, jnp.asarray(MASK))
    np.testing.assert_array_equal(count, [1, 1, 2, 0, 0])
    mask = jnp.asarray(MASK)
    one = s.segment_mean(jnp.asarray(VALUES), INDEX, COUNT, mask)
    other = s.segment_mean(jnp.asarray(VALUES), INDEX, COUNT, mask, count)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_masked_nan_reaches_neither_value_nor_gradient(name):
    function = CASES[name][0]
    values = jnp.where(MASK[:, None] > 0, VALUES, jnp.nan)

    def total(x):
        return jnp.sum(function(x, INDEX, COUNT, jnp.asarray(MASK)))

    value, gradient = jax.value_and_grad(total)(values)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[MASK == 0] == 0)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_a_finite_difference(name):
    function = CASES[name][0]
    weight = np.random.default_rng(1).normal(size=(COUNT, 3))
    with jax.enable_x64(True):
        x = jnp.asarray(VALUES, jnp.float64)
        total = lambda x: jnp.sum(weight * function(x, INDEX, COUNT))  # noqa: E731
        gradient = jax.grad(total)(x)
        for row, column in np.ndindex(x.shape):
            move = jnp.zeros_like(x).at[row, column].set(1e-6)
            slope = (total(x + move) - total(x - move)) / 2e-6
            np.testing.assert_allclose(gradient[row, column], slope, atol=1e-7)


def test_integers_and_other_fills():
    index = jnp.asarray([1, 1, 4])
    found = s.segment_max(jnp.asarray([3, 5, 7]), index, COUNT, empty=-1)
    np.testing.assert_array_equal(found, [-1, 5, -1, -1, 7])
    smallest = s.segment_min(jnp.asarray([3.0, 5, 7]), index, COUNT, empty=9)
    np.testing.assert_array_equal(smallest, [9, 3, 9, 9, 7])


def test_no_rows_at_all():
    nothing = jnp.zeros((0, 2))
    for function, _, _ in CASES.values():
        found = function(nothing, jnp.zeros(0, jnp.int32), 3)
        np.testing.assert_array_equal(found, np.zeros((3, 2)))
