"""The critic is held back or let loose by the gap of the scores."""

import jax.numpy as jnp
import pytest

from jaxphys.cr_muons.training import adaptive
from tests.cr_muons.gan_batches import SMALL

ADAPTIVE = SMALL.replace(adaptive_critic=True, critic_steps=3, lambda_gp=10.0)


def run(gaps, settings):
    state = adaptive.initial(settings)
    for gap in gaps:
        state = adaptive.after_batch(state, jnp.float32(gap), settings)
    return int(state["critic_steps"]), float(state["lambda_gp"])


def test_a_low_gap_takes_critic_steps_and_adds_penalty_up_to_its_bound():
    settings = ADAPTIVE.replace(lambda_gp_max=20.0)
    assert run([-6.0], settings) == (2, 15.0)
    assert run([-6.0] * 5, settings) == (1, 20.0)
    assert run([-6.0], ADAPTIVE) == (2, 10.0)  # without a bound: the present weight


def test_a_high_gap_takes_penalty_in_both_directions_only():
    assert run([11.0], ADAPTIVE) == (3, pytest.approx(9.0))
    assert run([11.0] * 100, ADAPTIVE)[1] == 1.0
    assert run([11.0], ADAPTIVE.replace(adaptive_mode="one_sided")) == (3, 10.0)


def test_nothing_changes_unless_it_is_asked_for():
    assert run([-6.0] * 3, SMALL.replace(critic_steps=3)) == (3, 10.0)


def test_decisions_are_made_at_the_interval():
    settings = ADAPTIVE.replace(adaptive_interval=4)
    assert run([-6.0] * 3, settings)[0] == 3
    assert run([-6.0] * 4, settings)[0] == 2


def test_old_gaps_leave_the_window():
    settings = ADAPTIVE.replace(adaptive_interval=adaptive.WINDOW)
    high = [100.0] * adaptive.WINDOW
    assert run([-6.0] * adaptive.WINDOW + high, settings)[1] == pytest.approx(9.0)


def test_the_upper_bound_of_critic_steps_holds_from_the_start():
    settings = ADAPTIVE.replace(critic_steps=5, critic_steps_max=2)
    assert run([], settings)[0] == 2
