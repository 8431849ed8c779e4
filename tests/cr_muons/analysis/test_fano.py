import dataclasses

import numpy as np
import pytest

from jaxphys.cr_muons.analysis.fano import (
    Replicas,
    fano_ratios,
    regression_fano,
    repeat_primaries,
    replicas_of,
)
from jaxphys.cr_muons.physics.conditions import DEFAULT
from jaxphys.cr_muons.physics.events import make_events
from jaxphys.cr_muons.simulation import simulate


def _numbers(random, mean, k, replicas=400):
    mean = np.asarray(mean)[:, None] * np.ones(replicas)
    drawn = mean if np.isinf(k) else random.gamma(k, mean / k)
    return Replicas(np.zeros((len(mean), 4)), random.poisson(drawn))


def test_factors_are_variance_over_mean():
    replicas = Replicas(np.zeros((2, 4)), np.array([[1, 2, 3, 6], [0, 0, 0, 0]]))
    np.testing.assert_allclose(
        replicas.fano, [float(np.var([1, 2, 3, 6], ddof=1)) / 3, 0]
    )


def test_poisson_numbers_fall_short_of_a_negative_binomial():
    random = np.random.default_rng(1)
    mean = np.linspace(2, 60, 100)
    truth, again = (_numbers(random, mean, 20) for _ in range(2))
    same = fano_ratios(truth, again)
    assert same["fano_pooled"] == pytest.approx(1, abs=0.05)
    assert same["fano_median"] == pytest.approx(1, abs=0.08)
    poisson = fano_ratios(truth, _numbers(random, mean, np.inf))
    expected = len(mean) / np.sum(1 + mean / 20)
    assert poisson["fano_pooled"] == pytest.approx(expected, abs=0.05)


def test_one_number_per_condition_has_no_fluctuation():
    random = np.random.default_rng(2)
    truth = _numbers(random, np.linspace(2, 60, 20), 20)
    fixed = Replicas(truth.primaries, np.full((20, 400), 7))
    assert fano_ratios(truth, fixed) == {"fano_pooled": 0, "fano_median": 0}


def test_the_median_is_over_conditions_with_many_muons():
    random = np.random.default_rng(3)
    truth = _numbers(random, [2.0, 3.0], 20)
    assert np.isnan(fano_ratios(truth, truth)["fano_median"])


def test_replicas_follow_their_condition():
    primaries = np.arange(12, dtype=np.float32).reshape(3, 4)
    repeated = repeat_primaries(primaries, 5)
    events = make_events(repeated, np.zeros(15), np.zeros((0, 3)))
    replicas = replicas_of(events, 5)
    np.testing.assert_array_equal(replicas.primaries, primaries)
    assert replicas.num_muons.shape == (3, 5)
    with pytest.raises(ValueError, match="a multiple of 4 events, got 15"):
        replicas_of(events, 4)


def test_other_numbers_of_conditions_are_refused():
    random = np.random.default_rng(4)
    truth, model = (_numbers(random, np.ones(n), 20) for n in (3, 4))
    with pytest.raises(ValueError, match="expected 3 conditions, got 4"):
        fano_ratios(truth, model)


def test_a_regression_of_the_mean_tells_poisson_from_true_fluctuations():
    settings = dataclasses.replace(DEFAULT, num_depths=1)
    truth, same = (simulate(settings, 30_000, 5, s) for s in (1, 2))
    poisson = simulate(dataclasses.replace(settings, fluctuation=0.0), 30_000, 5, 3)
    same = regression_fano(truth, same).ratios()
    assert same["fano_pooled"] == pytest.approx(1, abs=0.25)
    found = regression_fano(truth, poisson).ratios()
    assert found["fano_median"] < 0.75
    assert found["fano_median"] < same["fano_median"]


def test_a_regression_without_muons_is_unknown():
    events = make_events(np.ones((10, 4)), np.zeros(10), np.zeros((0, 3)))
    found = regression_fano(events, events).ratios()
    assert np.isnan(found["fano_pooled"])
    assert np.isnan(found["fano_median"])


def test_further_events_give_the_mean_and_all_true_events_the_factors():
    settings = dataclasses.replace(DEFAULT, num_depths=1)
    truth, other = (simulate(settings, 4000, seed) for seed in (5, 6))
    half, whole = regression_fano(truth, truth), regression_fano(truth, truth, other)
    assert whole.events.sum() > 1.7 * half.events.sum()
    assert whole.ratios()["fano_pooled"] == pytest.approx(1)
