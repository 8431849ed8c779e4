"""Looks at the running mean, at once or when a step is over."""

import jax.numpy as jnp
import pytest

from jaxphys.cr_muons.training.critic_step import looks_of

RAW, WEIGHT = jnp.asarray([[2.0, -4.0]]), jnp.ones((1, 2))


def test_a_look_changes_the_mean_at_once():
    looks = looks_of(jnp.float32(1)).seen(RAW, WEIGHT, kept=False)
    assert float(looks.ema) == pytest.approx(0.99 + 0.03)
    assert float(looks.weight) == 0


def test_kept_looks_change_the_mean_once():
    looks = looks_of(jnp.float32(1))
    for factor in (1, 3):
        looks = looks.seen(factor * RAW, WEIGHT, kept=True)
        assert float(looks.ema) == 1
    folded = looks.folded()
    assert float(folded.ema) == pytest.approx(0.99 + 0.01 * 6)
    assert float(folded.weight) == 0


def test_looks_of_passes_add_up():
    start = looks_of(jnp.float32(1))
    one, other = (start.seen(f * RAW, WEIGHT, kept=True) for f in (1, 3))
    assert float(one.plus(other).folded().ema) == pytest.approx(0.99 + 0.06)


def test_without_a_look_nothing_changes():
    assert float(looks_of(jnp.float32(0.7)).folded().ema) == pytest.approx(0.7)
