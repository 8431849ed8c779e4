"""A training step: what must not matter does not, and what must change does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.training import step
from tests.cr_muons.gan_batches import (
    SMALL,
    cut,
    first_state,
    largest_difference,
    make_batch,
    train_step_of,
)
from tests.cr_muons.recipes import NEW as RECOMMENDED

KEY = jax.random.key(5)
NEW = RECOMMENDED.replace(
    latent_dim_global=4,
    latent_dim_local=3,
    hidden_dim=8,
    fake_muon_budget=96,
    gp_max_pairs=0,
)


def take(settings, batch, steps=1, state=None):
    """Returns the state after some steps and the metrics of the last."""
    state = first_state(settings) if state is None else state
    run = train_step_of(settings)
    found = {}
    for number in range(steps):
        state, metrics = run(state, batch, jax.random.fold_in(KEY, number))
        state = state.replace(step=state.step + 1)
        found = {name: float(s / w) for name, (s, w) in metrics.items()}
    return state, found


@pytest.mark.slow
@pytest.mark.parametrize("settings", [NEW, SMALL.replace(gp_max_pairs=0)])
def test_padding_does_not_matter(settings):
    batch = make_batch()
    padded = cut(batch, 1, 150)
    state, found = take(settings, batch, 2)
    other, same = take(settings, padded, 2)
    assert largest_difference(other.params, state.params) < 1e-5
    assert found["c_loss"] == pytest.approx(same["c_loss"], rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [NEW, SMALL.replace(gp_max_pairs=0)])
def test_the_cut_into_parts_does_not_matter(settings):
    batch = make_batch()
    _, found = take(settings, batch, 2)
    _, same = take(settings, cut(batch, 4, 80), 2)
    for name, value in found.items():
        assert same[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_only_real_events_count():
    batch = make_batch()
    mask = np.ones((1, 24), np.float32)
    mask[:, 20:] = 0
    first = int(batch["num_muons"][0, :20].sum())
    number = np.array(batch["num_muons"])
    number[:, 20:] = 0
    event = np.array(batch["muon_event"])
    event[:, first:] = 24
    padded = {**batch, "num_muons": number, "muon_event": event, "event_mask": mask}
    changed = {**padded, "conditions": np.array(batch["conditions"])}
    changed["conditions"][:, 20:] = 3.0
    settings = NEW.replace(score_head="ema_tanh", gp_mode="flat")
    state, _ = take(settings, jax.tree.map(jnp.asarray, padded))
    other, _ = take(settings, jax.tree.map(jnp.asarray, changed))
    assert largest_difference(other.params, state.params) < 1e-6


@pytest.mark.slow
def test_the_adaptive_number_of_updates_is_the_fixed_one():
    fixed = SMALL.replace(critic_steps=2)
    adapted = SMALL.replace(critic_steps=3, adaptive_critic=True)
    state = first_state(adapted)
    extra = {**state.extra, "critic_steps": jnp.int32(2)}
    one, _ = take(adapted, make_batch(), state=state.replace(extra=extra))
    other, _ = take(fixed, make_batch())
    assert largest_difference(one.params, other.params) < 1e-6


@pytest.mark.slow
def test_training_lowers_the_loss_of_the_multiplicity():
    settings = NEW.replace(learning_rate_multiplicity=0.01, gp_max_pairs=64)
    batch = make_batch(mean=3.0)
    _, first = take(settings, batch)
    state, last = take(settings, batch, 40)
    assert last["m_loss"] < first["m_loss"] - 0.05
    assert all(np.isfinite(value) for value in last.values())
    assert step.sampling_params(state) is state.extra["generator_ema"]


def test_a_state_is_what_its_settings_ask_for():
    state = first_state(SMALL)
    assert set(state.params) == {"generator", "critic"}
    assert "generator_ema" not in state.extra
    assert step.sampling_params(state) is state.params["generator"]
    assert int(state.extra["critic_steps"]) == 1
    weights = {
        name: sum(p.size for p in jax.tree.leaves(step.initial_params(KEY, s)[name]))
        for name, s in (
            ("generator", SMALL.replace(latent_dim_global=32)),
            ("critic", SMALL),
        )
    }
    assert weights["critic"] == 34_945


def test_a_padded_batch_is_generated_in_an_evaluation():
    conditions = np.random.default_rng(0).normal(size=(2, 40, 4)).astype(np.float32)
    batch = {
        "conditions": jnp.asarray(conditions),
        "features": jnp.zeros((2, 25, 3)),
        "event_mask": jnp.ones((2, 40)).at[1, 30:].set(0),
    }
    objective = step.Objective(SMALL)
    evaluate = jax.jit(
        lambda state, batch: step.eval_step(
            state, batch, KEY, "train", objective=objective
        )
    )
    found = evaluate(first_state(SMALL), batch)
    assert found["fake_features"].shape[::2] == (2, 3)
    assert np.all(found["fake_count"][1, 30:] == 0)
    for part in range(2):
        count = np.bincount(found["fake_event"][part], minlength=41)[:40]
        np.testing.assert_array_equal(count, found["fake_count"][part])
    assert int(found["lost"]) == 0
