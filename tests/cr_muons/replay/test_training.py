"""Recorded training steps are reproduced."""

import pathlib

import jax
import pytest

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.replay.training import CASES, recorded_step
from jaxphys.cr_muons.training import latents
from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay
from tests.cr_muons.gan_batches import (
    SMALL,
    first_state,
    largest_difference,
    make_batch,
    train_step_of,
)

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/cr_muons"
FILES = sorted(p for p in FOLDER.glob("*.npz") if p.stem.split("__")[0] in CASES)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["joint", "split"])
def test_the_step_is_the_recorded_one_with_the_random_numbers_of_its_key(recipe):
    settings = SMALL.replace(critic_steps=3, train_recipe=recipe)
    state, batch, key = first_state(settings), make_batch(), jax.random.key(2)
    head = parts.heads(state.params["generator"], batch["conditions"], settings)
    draws = []
    for number in range(3 + (recipe == "joint")):
        own = jax.random.fold_in(key, number)
        drawn = latents.draw(own, head, batch, settings)
        pairs, alpha = latents.draw_pairs(own, drawn.plan, batch, settings)
        draws.append({**drawn.noise._asdict(), "pairs": pairs, "alpha": alpha})
    new, metrics = train_step_of(settings)(state, batch, key)
    same, found, _ = recorded_step(settings)(state, batch, draws)
    assert largest_difference(same.params, new.params) < 1e-5
    assert largest_difference(same.opt_state, new.opt_state) < 1e-5
    for name in ("c_loss", "g_loss", "m_loss", "w_gap"):
        total, weight = metrics[name]
        assert float(found[name]) == pytest.approx(float(total / weight), rel=1e-4)
