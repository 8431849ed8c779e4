"""Generated muons depend neither on the budget nor on the cut into parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.model import generator, parts
from tests.cr_muons.gan_batches import SMALL, cut, make_batch

TURNED = SMALL.replace(rotate_output=True)
PARAMS = generator.initial_params(jax.random.key(0), SMALL)


def fakes(batch, budget, settings=TURNED):
    head = parts.heads(PARAMS, batch["conditions"], settings)
    counts = generator.counts_of(head, batch["event_mask"], None, settings)
    places = parts.place_all(counts.number, budget)
    slots = parts.slots_of(batch["num_muons"].shape)
    noise = parts.draw_noise(jax.random.key(1), slots, places, settings)
    return parts.generate(PARAMS, batch["conditions"], counts, places, noise, settings)


def flat(found):
    """Returns features of all real places, all parts one after the other."""
    real = np.asarray(found.muons.event) < found.kept.shape[1]
    return np.asarray(found.muons.features)[real]


@pytest.mark.slow
def test_the_budget_does_not_change_a_muon():
    batch = make_batch()
    few, many = fakes(batch, 64), fakes(batch, 200)
    assert few.kept.all()
    np.testing.assert_allclose(flat(few), flat(many), atol=1e-6)


def test_the_cut_into_parts_does_not_change_a_muon():
    batch = make_batch()
    one, four = fakes(batch, 64), fakes(cut(batch, 4, 60), 20)
    np.testing.assert_allclose(flat(one), flat(four), atol=1e-6)


def test_events_beyond_the_budget_are_left_out_whole():
    found = fakes(make_batch(), 9)
    kept, number = np.asarray(found.kept[0]), np.asarray(found.muons.number[0])
    assert kept.sum() == 4  # two muons each
    assert number.sum() == 8


def test_turning_keeps_energy_and_radius():
    batch = make_batch()
    plain, turned = fakes(batch, 64, SMALL), fakes(batch, 64, TURNED)
    one, other = flat(plain), flat(turned)
    np.testing.assert_allclose(one[:, 0], other[:, 0], atol=1e-6)
    radius = [np.hypot(f[:, 1], f[:, 2]) for f in (one, other)]
    np.testing.assert_allclose(radius[0], radius[1], atol=1e-6)
    assert np.abs(one[:, 1] - other[:, 1]).max() > 1e-3


def test_a_quarter_turn():
    got = parts.rotated(jnp.asarray([[7.0, 1.0, 2.0]]), jnp.asarray([0.25]))
    np.testing.assert_allclose(got, [[7, -2, 1]], atol=1e-6)
