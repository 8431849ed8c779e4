from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from jaxphys.hidden_vertex.analysis.sculpting import mass_sculpting, rank_correlation


@pytest.fixture
def mjj():
    return np.random.default_rng(0).gamma(20.0, 150.0, 20_000)


@pytest.mark.parametrize("decimals", [0, 8])
def test_rank_correlation_is_that_of_scipy_with_ties_too(mjj, decimals):
    noise = np.random.default_rng(1).normal(size=mjj.size)
    score = np.round(mjj / 1000 + noise, decimals)
    expected: Any = spearmanr(score, mjj)
    found = rank_correlation(score, mjj)
    assert found == pytest.approx(expected.statistic, rel=1e-12)


def test_rank_correlation_leaves_out_what_is_not_finite():
    a, b = [1.0, 2, 3, np.nan, 9], [2.0, 4, 8, 0, np.inf]
    assert rank_correlation(a, b) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [1, 2]) is None


def test_a_blind_score_keeps_the_shape_within_its_errors(mjj):
    score = np.random.default_rng(2).normal(size=mjj.size)
    found = mass_sculpting(mjj, score)
    assert found is not None
    assert dict(found.kept) == {0.10: 2000, 0.05: 1000, 0.01: 200}
    assert len(found.before) == 20
    for cut in found.kept:
        ratio, error = found.ratio(cut)
        side = np.where(ratio < 1, error[1], error[0])
        pull = (ratio - 1) / side
        # mean of the squares of 20 pulls: 1 with a standard deviation of 0.32
        assert 0.3 < np.mean(pull**2) < 2.0


def test_a_score_that_is_the_mass_keeps_its_upper_end(mjj):
    found = mass_sculpting(mjj, mjj, fractions=(0.1,))
    assert found is not None
    threshold = np.sort(mjj)[-2000]
    ratio, _ = found.ratio(0.1)
    np.testing.assert_array_equal(ratio[found.edges[1:] < threshold], 0)
    np.testing.assert_allclose(ratio[found.edges[:-1] > threshold], 10)
    np.testing.assert_allclose(found.mean[0.1], np.sort(mjj)[-2000:].mean())
    np.testing.assert_allclose(found.mean[1.0], mjj.mean())


def test_errors_are_wilson_intervals():
    mjj = np.repeat([1.0, 2.0], 500)
    score = np.concatenate([np.arange(500), np.arange(500) - 400]).astype(float)
    found = mass_sculpting(mjj, score, fractions=(0.1,))
    assert found is not None
    ratio, error = found.ratio(0.1)
    # the highest 100 scores all lie at the lower mass: 100 of 500, and 0 of 500
    first, last = ratio[0], ratio[-1]
    np.testing.assert_allclose([first, last], [2.0, 0.0])
    middle, half = 100.5 / 501, np.sqrt(0.2 * 0.8 / 500 + 1 / 500**2 / 4) / (501 / 500)
    np.testing.assert_allclose(error[1, 0], (middle + half - 0.2) * 10)
    np.testing.assert_allclose(error[0, -1], 0, atol=1e-12)
    np.testing.assert_allclose(error[1, -1], 10 / 501)
    assert np.isnan(ratio[1:-1]).all()  # no event there


def test_equal_scores_pass_together():
    found = mass_sculpting(np.arange(100.0), np.zeros(100), fractions=(0.01,))
    assert found is not None
    assert found.kept[0.01] == 100


def test_masses_that_are_not_finite_are_left_out(mjj):
    broken = np.where(np.arange(mjj.size) % 2, mjj, np.nan)
    found = mass_sculpting(broken, mjj)
    assert found is not None
    assert found.total == mjj.size // 2


@pytest.mark.parametrize("mass", [[], np.ones(50), np.full(50, np.nan), range(9)])
def test_there_is_no_spectrum_of_too_few_or_equal_masses(mass):
    assert mass_sculpting(mass, np.zeros(len(mass))) is None
