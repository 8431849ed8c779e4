"""The number of muons is learned alone, then stays while generator and critic learn."""

import jax
import numpy as np
import pytest

from jaxphys.cr_muons.training import pretraining
from tests.cr_muons.gan_batches import first_state, make_batch, train_step_of
from tests.cr_muons.recipes import NEW as RECOMMENDED

SETTINGS = RECOMMENDED.replace(
    latent_dim_global=4,
    latent_dim_local=3,
    hidden_dim=8,
    fake_muon_budget=96,
    learning_rate_multiplicity=1e-2,
    lr_decay_steps=50,
)
STEPS = 60
KEY = jax.random.key(1)


def equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def pretrained():
    batch = make_batch()
    run = train_step_of(SETTINGS, "multiplicity", STEPS)
    first = state = first_state(SETTINGS)
    losses = []
    for _ in range(STEPS + 1):
        state, metrics = run(state, batch, KEY)
        state = state.replace(step=state.step + 1)
        losses.append(float(metrics["m_loss"][0] / metrics["m_loss"][1]))
    return batch, first, state, losses


def test_first_phase_learns_the_number_and_moves_nothing_else(pretrained):
    _, first, state, losses = pretrained
    assert losses[-1] < losses[0] - 0.1
    was, now = first.params["generator"], state.params["generator"]
    assert not equal(now["multiplicity_net"], was["multiplicity_net"])
    for name in ("global_net", "local_net"):
        assert equal(now[name], was[name])
    assert equal(state.params["critic"], first.params["critic"])
    assert equal(state.opt_state["critic"], first.opt_state["critic"])


def test_rate_of_the_first_phase_falls_to_nothing(pretrained):
    batch, _, state, _ = pretrained
    late = state.replace(step=state.step * 0 + STEPS)
    again, _ = train_step_of(SETTINGS, "multiplicity", STEPS)(late, batch, KEY)
    assert equal(again.params, late.params)


def test_averages_begin_at_the_weights_of_the_second_phase(pretrained):
    _, _, state, _ = pretrained
    assert not equal(state.extra["generator_ema"], state.params["generator"])
    begun = pretraining.begin_adversarial(state)
    assert equal(begun.extra["generator_ema"], state.params["generator"])


@pytest.mark.slow
def test_second_phase_is_a_step_of_the_others_from_its_own_beginning(pretrained):
    batch, _, state, _ = pretrained
    state = pretraining.begin_adversarial(state)
    new, metrics = train_step_of(SETTINGS, "train", STEPS + 1)(state, batch, KEY)
    assert int(new.step) == int(state.step)
    begun = state.replace(step=state.step * 0)
    plain, same = train_step_of(SETTINGS)(begun, batch, KEY)
    for name, (total, weight) in same.items():
        assert float(metrics[name][0]) == pytest.approx(float(total)), name
        assert float(metrics[name][1]) == pytest.approx(float(weight)), name
    generator = new.params["generator"]
    for name in ("global_net", "local_net"):
        assert equal(generator[name], plain.params["generator"][name])
    kept = state.params["generator"]["multiplicity_net"]
    assert equal(generator["multiplicity_net"], kept)
    assert equal(new.extra["generator_ema"]["multiplicity_net"], kept)
    assert equal(new.opt_state["multiplicity"], state.opt_state["multiplicity"])
    assert equal(new.params["critic"], plain.params["critic"])
