"""The scale of the loss after good steps and after an overflow."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.training import loss_scale
from jaxphys.training.task import TrainState


def make(value, scale=None):
    params = {"x": jnp.float32(value)}
    extra = {"loss_scale": loss_scale.initial() if scale is None else scale}
    return TrainState(jnp.int32(0), params, (), extra)


def test_an_overflow_keeps_the_state_and_halves_the_scale():
    found = loss_scale.keep_if_finite(make(1), make(2), jnp.float32(np.inf))
    assert found.params["x"] == 1
    assert loss_scale.factor(found.extra) == loss_scale.FIRST / 2


def test_the_scale_grows_after_enough_good_steps():
    before = {
        "factor": jnp.float32(8),
        "good_steps": jnp.int32(loss_scale.INTERVAL - 2),
    }
    keep = jax.jit(loss_scale.keep_if_finite)
    one = keep(make(1, before), make(2, before), jnp.float32(1))
    assert one.params["x"] == 2
    assert loss_scale.factor(one.extra) == 8
    two = keep(one, one, jnp.float32(1))
    assert loss_scale.factor(two.extra) == 16
    assert two.extra["loss_scale"]["good_steps"] == 0


def test_without_a_scale_nothing_is_scaled():
    state = TrainState(jnp.int32(0), {}, ())
    assert loss_scale.factor(state.extra) == 1
    assert loss_scale.keep_if_finite(state, state, jnp.float32(np.nan)) is state
