"""What is random in a critic or generator step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.training import latents
from tests.cr_muons.gan_batches import SMALL, cut, make_batch

KEY = jax.random.key(0)
HEAD = jnp.full((1, 24, 1), 0.5)


@pytest.mark.parametrize("mode", ["flat", "event"])
def test_pairs_join_muons_of_one_event(mode):
    settings = SMALL.replace(gp_mode=mode)
    batch = make_batch()
    plan = latents.draw_plan(KEY, HEAD, batch, settings)
    pairs, alpha = latents.draw_pairs(KEY, plan, batch, settings)
    real = np.asarray(pairs.event[0]) < pairs.row.shape[1]
    event = np.asarray(pairs.row[0])[np.asarray(pairs.event[0])[real]]
    for places, found in (
        (batch["muon_event"][0], pairs.real[0]),
        (plan.places.event[0], pairs.fake[0]),
    ):
        np.testing.assert_array_equal(np.asarray(places)[found[real]], event)
    assert alpha.shape == (1, 24)
    assert 0 <= float(alpha.min()) <= float(alpha.max()) < 1


def test_noise_of_an_event_does_not_depend_on_the_cut_into_parts():
    batch = make_batch()
    whole = latents.draw(KEY, HEAD, batch, SMALL)
    parts = latents.draw(KEY, HEAD.reshape(4, 6, 1), cut(batch, 4, 80), SMALL)
    np.testing.assert_array_equal(
        whole.noise.z_global[0], parts.noise.z_global.reshape(24, -1)
    )
    kept = np.asarray(whole.plan.places.event[0]) < 24
    found = np.asarray(parts.plan.places.event) < 6
    np.testing.assert_array_equal(
        whole.noise.z_local[0][kept], parts.noise.z_local[found]
    )


def test_generated_events_may_have_the_numbers_of_the_real_ones():
    batch = make_batch()
    settings = SMALL.replace(fake_counts="real", fake_muon_budget=80)
    plan = latents.draw_plan(KEY, HEAD, batch, settings)
    np.testing.assert_array_equal(plan.counts.number, batch["num_muons"])
    assert float(plan.total) == 24
    assert float(plan.overflow) == 0
