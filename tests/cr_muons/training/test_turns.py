"""Passes over parts add up to the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.training import turns
from tests.cr_muons.gan_batches import SMALL, make_batch


def test_a_device_keeps_its_parts():
    array = jnp.arange(6)
    split = turns.split_passes(array, 3)
    # parts 0 to 2 lie on the first of two devices
    np.testing.assert_array_equal(split, [[0, 3], [1, 4], [2, 5]])


def test_the_sum_over_passes_is_the_sum():
    array = jnp.arange(12.0).reshape(3, 4)
    got = turns.sum_passes(lambda a: {"x": 2 * a}, array)
    np.testing.assert_allclose(got["x"], 2 * array.sum(axis=0))


def test_a_number_of_parts_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="--grad_accum_steps=2"):
        turns.split_passes(jnp.zeros((3, 2)), 2)


@pytest.mark.parametrize("mode", ["flat", "event"])
def test_pairs_join_muons_of_one_event(mode):
    settings = SMALL.replace(gp_mode=mode)
    batch = make_batch()
    turn = turns.turn_of(jax.random.key(0), None, 0)
    head = jnp.full((1, 24, 1), 0.5)
    plan = turns.plan(turn, head, batch, settings)
    pairs, alpha = turns.pairs_of(turn, plan, batch, settings)
    real = np.asarray(pairs.event[0]) < pairs.row.shape[1]
    event = np.asarray(pairs.row[0])[np.asarray(pairs.event[0])[real]]
    for places, found in (
        (batch["muon_event"][0], pairs.real[0]),
        (plan.places.event[0], pairs.fake[0]),
    ):
        np.testing.assert_array_equal(np.asarray(places)[found[real]], event)
    assert alpha.shape == (1, 24)
    assert 0 <= float(alpha.min()) <= float(alpha.max()) < 1


def test_given_numbers_take_the_place_of_drawn_ones():
    given = {"z_global": np.zeros((3, 1, 24, 4)), "z_local": np.ones((3, 1, 64, 3))}
    turn = turns.turn_of(jax.random.key(0), given, 2)
    plan = turns.plan(turn, jnp.full((1, 24, 1), 0.5), make_batch(), SMALL)
    noise = turns.noise_of(turn, parts.slots_of((1, 24)), plan.places, SMALL)
    assert noise.z_local.shape == (1, 64, 3)
    assert np.all(noise.z_local == 1)
