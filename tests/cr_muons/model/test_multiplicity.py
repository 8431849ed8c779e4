"""Numbers of muons: rounding, the negative binomial law, its draws."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxphys.cr_muons.model import multiplicity
from jaxphys.cr_muons.model.settings import GanSettings


def test_predictions_are_rounded_half_to_even_and_bounded():
    number = np.array([-3.0, 0.0, 0.49, 1.5, 2.5, 2.51, 1e6])
    log_count = np.log10(np.maximum(number, -0.9) + 1)
    got = multiplicity.rounded_counts(jnp.asarray(log_count, jnp.float32), 100)
    assert got.tolist()[:3] == [0, 0, 0]
    assert got.tolist()[5:] == [3, 100]
    assert got.tolist()[3] in (1, 2)  # 10^l in float32 lies on either side
    wild = jnp.asarray([np.nan, np.inf, -np.inf, 1e30], jnp.float32)
    assert multiplicity.rounded_counts(wild, 100).tolist() == [0, 0, 0, 100]


def test_likelihood_is_that_of_the_negative_binomial_law():
    mean, shape = np.array([0.01, 0.5, 20.0, 900.0]), np.array([0.3, 12.0, 80.0, 120.0])
    number = np.array([0, 3, 17, 1000])
    head = np.stack([np.log(mean), np.log(shape)], axis=1).astype(np.float32)
    got = multiplicity.negative_log_likelihood(jnp.asarray(head), jnp.asarray(number))
    reference = -stats.nbinom.logpmf(number, shape, shape / (shape + mean))
    np.testing.assert_allclose(got, reference, rtol=2e-4, atol=2e-4)


def test_likelihood_has_a_finite_slope_everywhere():
    head = jnp.asarray([[-50.0, -50.0], [50.0, 50.0], [0.0, 50.0], [np.nan, 0.0]])
    number = jnp.asarray([0, 5, 1000, 3])
    slope = jax.grad(lambda h: jnp.sum(multiplicity.negative_log_likelihood(h, number)))
    assert np.all(np.isfinite(slope(head)))


def test_draws_have_mean_and_variance_of_the_law():
    mean, shape, count = 7.0, 3.0, 40_000
    head = jnp.broadcast_to(jnp.log(jnp.array([mean, shape])), (4, count // 4, 2))
    number = np.asarray(multiplicity.draw_counts(jax.random.key(0), head, 4096))
    assert number.shape == (4, count // 4)
    assert number.mean() == pytest.approx(mean, rel=0.03)
    assert number.var() == pytest.approx(mean + mean**2 / shape, rel=0.06)
    law = cast(Any, stats.nbinom(shape, shape / (shape + mean)))
    assert np.mean(number == 0) == pytest.approx(law.pmf(0), abs=0.005)


def test_draws_do_not_depend_on_the_cut_into_parts():
    head = jnp.asarray(np.random.default_rng(0).normal(size=(1, 12, 2)), jnp.float32)
    key = jax.random.key(3)
    one = multiplicity.draw_counts(key, head, 50)
    four = multiplicity.draw_counts(key, head.reshape(4, 3, 2), 50)
    np.testing.assert_array_equal(one.reshape(-1), four.reshape(-1))


def test_loss_of_a_prediction_is_the_square_of_its_logarithm():
    got = multiplicity.loss(jnp.asarray([[1.0]]), jnp.asarray([99]), GanSettings())
    assert float(got[0]) == pytest.approx(1.0)
