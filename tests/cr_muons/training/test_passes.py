"""Passes over parts add up to the whole."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.training import passes


def test_a_device_keeps_its_parts():
    array = jnp.arange(6)
    split = passes.split_passes(array, 3)
    # parts 0 to 2 lie on the first of two devices
    np.testing.assert_array_equal(split, [[0, 3], [1, 4], [2, 5]])


def test_the_sum_over_passes_is_the_sum():
    array = jnp.arange(12.0).reshape(3, 4)
    got = passes.sum_passes(lambda a: {"x": 2 * a}, array)
    np.testing.assert_allclose(got["x"], 2 * array.sum(axis=0))


def test_a_number_of_parts_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="--grad_accum_steps=2"):
        passes.split_passes(jnp.zeros((3, 2)), 2)
