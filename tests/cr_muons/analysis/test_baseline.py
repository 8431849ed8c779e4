import dataclasses

import numpy as np
import pytest
from scipy import stats

from jaxphys.cr_muons.analysis import baseline
from jaxphys.cr_muons.analysis.metrics import log_energy, radius
from jaxphys.cr_muons.physics.conditions import DEFAULT
from jaxphys.cr_muons.physics.events import make_events
from jaxphys.cr_muons.simulation import simulate

pytestmark = pytest.mark.slow  # compiles whole steps


@pytest.fixture(scope="module")
def fitted():
    return baseline.fit_baseline(simulate(DEFAULT, 3000, 1), steps=300)


def test_likelihood_is_that_of_scipy():
    random = np.random.default_rng(1)
    log_mean, log_k = random.normal(1, 1, 50), random.normal(2, 1, 50)
    number = random.poisson(np.exp(log_mean))
    found = baseline._count_loss(np.stack([log_mean, log_k], 1), 1.0 * number)
    k = np.exp(log_k)
    expected = -stats.nbinom.logpmf(number, k, k / (k + np.exp(log_mean)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_fit_finds_means_and_widths(fitted):
    truth = simulate(dataclasses.replace(DEFAULT, num_depths=1), 10_000, 2)
    model = fitted.sample(truth.primaries, 3)
    assert model.num_muons.mean() == pytest.approx(truth.num_muons.mean(), rel=0.2)
    assert np.mean(model.num_muons == 0) == pytest.approx(0.646, abs=0.03)
    assert np.mean(log_energy(model)) == pytest.approx(
        np.mean(log_energy(truth)), abs=0.15
    )
    log_r = [np.log10(np.maximum(radius(e), 1e-3)) for e in (truth, model)]
    assert np.std(log_r[1]) == pytest.approx(np.std(log_r[0]), abs=0.15)
    assert fitted.losses[-50:].sum(1).mean() < fitted.losses[:50].sum(1).mean()


def test_numbers_fluctuate_as_the_moments_say(fitted):
    row = np.array([[3e6, 0.5, 13.0402, 1500.0]], np.float32)
    mean, k = fitted.moments(row)
    number = fitted.sample(np.repeat(row, 20_000, 0), 4).num_muons
    np.testing.assert_allclose(number.mean(), mean[0], rtol=0.03)
    np.testing.assert_allclose(
        number.var() / number.mean(), 1 + mean[0] / k[0], rtol=0.1
    )


def test_same_seed_gives_the_same_events(fitted):
    rows = simulate(DEFAULT, 50, 5).primaries
    first, again, other = (fitted.sample(rows, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.muons, again.muons)
    assert not np.array_equal(first.num_muons, other.num_muons)


def test_data_without_muons_are_refused():
    empty = make_events(np.ones((5, 4)), np.zeros(5), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="5 events with 0 muons"):
        baseline.fit_baseline(empty)
