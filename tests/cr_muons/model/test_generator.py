"""Places of generated muons and the networks that fill them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.cr_muons.model.generator import (
    Generator,
    counts_of,
    initial_params,
    place,
    predicted_log_count,
)
from tests.cr_muons.gan_batches import SMALL


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_muons_lie_in_the_order_of_their_events(number):
    found = place(jnp.asarray(number, jnp.int32), 20)
    kept = np.cumsum(number) <= 20
    number = np.where(kept, number, 0)
    event = np.repeat(np.arange(6), number)
    within = np.concatenate([np.arange(n) for n in number]).astype(int)
    pad = 20 - len(event)
    np.testing.assert_array_equal(found.kept, kept)
    np.testing.assert_array_equal(found.number, number)
    np.testing.assert_array_equal(
        found.event, np.pad(event, (0, pad), constant_values=6)
    )
    np.testing.assert_array_equal(found.within, np.pad(within, (0, pad)))


def test_numbers_beyond_int32_do_not_come_back_small():
    found = place(jnp.full(4, 2_000_000_000, jnp.int32), 8)
    assert not np.any(found.kept)


def test_padding_has_no_muon():
    head = jnp.full((1, 3, 1), 0.7)
    counts = counts_of(head, jnp.asarray([[1.0, 0.0, 1.0]]), None, SMALL)
    assert counts.number.tolist() == [[4, 0, 4]]


def test_the_multiplicity_can_be_detached():
    def slope(settings):
        function = lambda h: jnp.sum(predicted_log_count(h, settings))  # noqa: E731
        return jax.grad(function)(jnp.ones((1, 2, 1)))

    assert np.all(slope(SMALL) == 1)
    assert np.all(slope(SMALL.replace(detach_multiplicity=True)) == 0)


def test_a_law_needs_a_key():
    law = SMALL.replace(multiplicity="negative_binomial")
    with pytest.raises(ValueError, match="key"):
        counts_of(jnp.zeros((1, 2, 2)), jnp.ones((1, 2)), None, law)


def test_the_split_first_layer_equals_one_of_joined_inputs():
    params = initial_params(jax.random.key(0), SMALL)
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    context, noise = draw(5, 8), draw(9, 3)
    event = jnp.asarray([0, 0, 1, 2, 2, 2, 4, 4, 4], jnp.int32)
    variables = {"params": params}
    got = Generator(SMALL).apply(variables, context, noise, event, method="local")
    net = params["local_net"]
    x = np.concatenate([np.asarray(context)[event], noise], axis=1)
    for i in range(3):
        kernel, bias = (np.asarray(net[f"dense_{i}"][n]) for n in ("kernel", "bias"))
        x = x @ kernel + bias
        x = np.where(x > 0, x, 0.2 * x) if i < 2 else x
    np.testing.assert_allclose(np.asarray(got), x, atol=2e-6)


def test_training_begins_with_two_muons_per_event():
    params = initial_params(jax.random.key(0), SMALL)
    assert float(params["multiplicity_net"]["dense_3"]["bias"][0]) == 0.5
