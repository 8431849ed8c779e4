"""What is put together equals the functions it is made of, and matrix algebra."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis import koopman, markov, uncertainty
from jaxphys.gdynet.analysis.kinetics import (
    chapman_kolmogorov,
    kinetics,
    lumped,
    stochastic,
)
from tests.gdynet.chains import TRANSITION, one_hot, sample, soft


@pytest.fixture(scope="module")
def states():
    rng = np.random.default_rng(0)
    return [sample(rng, TRANSITION, 4000, 3) for _ in range(2)]


def test_hard_states_give_the_matrix_of_the_counts_and_its_populations(states):
    found = kinetics([one_hot(s) for s in states], 2, time_unit=0.5, n_bootstrap=10)
    counts = markov.transition_matrix(markov.count_matrix(states, 2, 3))
    np.testing.assert_allclose(found.operator, counts, atol=1e-12)
    np.testing.assert_allclose(found.transition, counts, atol=1e-12)
    np.testing.assert_allclose(found.hard_transition, counts, atol=1e-12)
    assert not found.constrained
    assert found.crispness == 1
    assert np.isclose(found.hard @ [0, 1, 2], np.mean(states))
    np.testing.assert_allclose(found.mean, found.hard)
    np.testing.assert_allclose(found.decay, -1.0 / np.log(np.diag(counts)))


def test_chain_is_described_by_its_own_rates_and_passage_times(states):
    lag, unit = 1, 0.5
    found = kinetics([one_hot(s) for s in states], lag, time_unit=unit, n_bootstrap=10)
    np.testing.assert_allclose(found.transition, TRANSITION, atol=0.01)
    exact = markov.rates(TRANSITION, lag * unit)
    np.testing.assert_allclose(found.rates, exact, atol=0.03)
    times = markov.mean_first_passage_times(TRANSITION, lag * unit)
    np.testing.assert_allclose(found.passage_times, times, rtol=0.12)
    stay = unit / (1 - np.diag(TRANSITION))
    np.testing.assert_allclose(found.lifetimes, stay, rtol=0.1)


def test_negative_entries_are_replaced_by_the_constrained_operator():
    """States in a row; of the first one a part is taken for the second."""
    line = np.array([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.1, 0.9]])
    mixed = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    p = one_hot(sample(np.random.default_rng(0), line, 20_000, 2)) @ mixed
    operator = koopman.koopman_operator(p, 1)
    expected = np.linalg.inv(mixed) @ line @ mixed
    np.testing.assert_allclose(operator, expected, atol=0.01)
    assert operator.min() < -0.01
    found, changed = stochastic(p, 1, operator, 1e-10)
    assert changed
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1)
    good = koopman.koopman_operator(one_hot(np.arange(100)[:, None] % 3), 1)
    same, changed = stochastic(p, 1, good, 1e-10)
    assert not changed
    np.testing.assert_allclose(same, good, atol=1e-12)


def test_lumped_probabilities_add_up(states):
    p = [soft(s) for s in states]
    found = lumped(p, np.array([1, 0, 1]))
    assert [f.shape for f in found] == [(4000, 3, 2)] * 2
    np.testing.assert_allclose(found[0][..., 0], p[0][..., 1])
    np.testing.assert_allclose(found[1][..., 1], p[1][..., 0] + p[1][..., 2])


def test_markov_test_goes_as_far_as_the_data():
    rng = np.random.default_rng(1)
    long = soft(sample(rng, TRANSITION, 3000, 2))
    found = chapman_kolmogorov(long, 2, 5, n_bootstrap=20)
    same = uncertainty.chapman_kolmogorov_test(long, 2, 5, n_bootstrap=20)
    np.testing.assert_array_equal(found.error, same.error)
    assert np.all(found.error[:, :, 2:] > 0)
    assert np.all(found.error[:, :, 0] == 0)  # the identity
    place = np.argmax(np.abs(found.predicted - found.estimated))
    assert np.isclose(found.deviation / found.error.ravel()[place], found.z_value)
    short = chapman_kolmogorov(long[:12], 4, 8)
    assert short.predicted.shape == (3, 3, 3)  # lags 0, 4 and 8 of 12 frames
    assert np.isnan(short.error).all()
    assert np.isnan(short.z_value)
    assert short.deviation == np.abs(short.predicted - short.estimated).max()


def test_constant_populations_have_no_autocorrelation():
    p = np.full((30, 2, 2), 0.5)
    assert np.isnan(kinetics(p, 2).autocorrelation).all()
    p = np.concatenate([p, one_hot(np.arange(30)[:, None] % 2, 2).repeat(2, 1)])
    found = kinetics([p, np.full((30, 2, 2), 0.5)], 2).autocorrelation
    alone = markov.autocorrelation(p[:, 0, 0], found.shape[1])
    np.testing.assert_allclose(found[0], alone)  # only that trajectory counts


def test_state_that_is_never_left_has_no_lifetime():
    found = kinetics(one_hot(np.zeros((40, 1), int), 2), 3)
    assert np.isnan(found.lifetimes).all()
    assert found.exits.tolist() == [0, 0]
    assert found.hard.tolist() == [1, 0]
