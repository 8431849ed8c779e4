import numpy as np
import pytest

from jaxphys.cr_muons.analysis import closure_checks
from jaxphys.cr_muons.analysis.closure_checks import (
    bundle_flux,
    compare_with_corsika,
    compare_with_muongun,
    primary_flux,
    sampled_slope,
    slope_of,
)
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.simulation import simulate_conditions
from tests.cr_muons.conditions import conditions_of


def _simulation(primaries, seed):
    random = np.random.default_rng([7, seed])
    parts = simulate_conditions(conditions_of(primaries), random)
    return Events.concatenate(list(parts))


def test_radii_and_numbers_agree_with_corsika_showers(data_dir):
    bands, scatter = compare_with_corsika(data_dir("cr_muons") / "corsika_surface.npz")
    assert [b.showers for b in bands] == [188, 135, 83, 44]
    for band in bands:
        real, simulated = band.muons
        np.testing.assert_allclose(simulated, real, rtol=0.06)
        np.testing.assert_allclose(band.simulated_radius_m, band.radius_m, rtol=0.15)
        np.testing.assert_allclose(*band.energy, rtol=0.07)
    assert 0.85 < scatter < 1.2


def test_slopes_agree_with_the_muongun_parametrisation(data_dir):
    rows = compare_with_muongun(data_dir("cr_muons") / "muongun_reference.csv")
    assert len(rows) == 9
    for row in rows:
        np.testing.assert_allclose(row["truth"], row["reference"], atol=0.08)
        np.testing.assert_allclose(
            row["ratio_2_1"], row["reference_ratio_2_1"], rtol=0.13
        )
        assert 2.9 < row["truth"] < 3.4


def test_sampled_slopes_are_those_of_the_exact_flux():
    exact = bundle_flux(0.8, 2000.0)
    number = np.arange(5, 21)
    expected = slope_of(exact[number - 1], number)
    found, error = sampled_slope(_simulation, 0.8, 2000.0)
    assert 0 < error < 0.1
    assert abs(found - expected) < 4 * error


def test_a_model_without_muons_has_no_slope():
    def silent(primaries, seed):
        del seed
        return _simulation(primaries[:, [0, 1, 2, 3]] * [1e-9, 1, 1, 1], 0)

    assert np.isnan(sampled_slope(silent, 1.0, 2000.0, 500)).all()


def test_the_flux_bends_at_the_knee_of_each_charge():
    for number, charge in ((1, 1), (56, 26)):
        knee = closure_checks._KNEE * 1000 * charge
        low = primary_flux(number, np.array([0.01, 0.02]) * knee)
        high = primary_flux(number, np.array([100.0, 200.0]) * knee)
        below, above = (-np.log2(pair[1] / pair[0]) for pair in (low, high))
        np.testing.assert_allclose(above - below, 2.1, atol=0.02)


def test_slope_of_a_power_law_is_its_index():
    number = np.arange(5, 21)
    assert slope_of(number**-3.2, number) == pytest.approx(3.2)
