import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from jaxphys.cr_muons.physics.conditions import (
    DEFAULT,
    DEPTH_GRID_M,
    NUCLEUS_MASS,
    PUBLISHED_LIKE,
    SimulationSettings,
    draw_conditions,
)
from tests.cr_muons.conditions import conditions_of


@pytest.mark.parametrize(
    ("name", "settings", "showers", "seed"),
    [
        ("g1_train_example", DEFAULT, 6000, 11),
        ("g1_published_like_example", PUBLISHED_LIKE, 20000, 12),
    ],
)
def test_conditions_are_those_of_the_supplied_files(
    data_dir, name, settings, showers, seed
):
    table = pq.read_table(data_dir("cr_muons") / f"{name}.parquet")
    flat = table["primary"].combine_chunks().values.to_numpy()
    found = draw_conditions(settings, showers, seed).primaries
    np.testing.assert_array_equal(found, flat.reshape(-1, 4))


def test_energies_follow_the_power_law():
    drawn = draw_conditions(dataclasses.replace(DEFAULT, num_depths=1), 20_000, 3)
    low, high, power = 1e4, 10**7.5, -0.5
    share = (drawn.energy**power - low**power) / (high**power - low**power)
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_the_power_law_with_index_one_is_flat_in_the_logarithm():
    drawn = draw_conditions(SimulationSettings(num_depths=1, gamma=1.0), 20_000, 3)
    share = (np.log10(drawn.energy) - 4) / 3.5
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_directions_are_those_of_a_plane_under_an_isotropic_flux():
    drawn = draw_conditions(dataclasses.replace(DEFAULT, num_depths=1), 20_000, 4)
    share = (drawn.cos_zenith**2 - 0.09) / 0.91
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_nuclei_come_in_their_fractions_with_their_masses():
    drawn = draw_conditions(dataclasses.replace(DEFAULT, num_depths=1), 40_000, 5)
    for number, fraction in DEFAULT.composition:
        inside = drawn.mass_number == number
        assert abs(inside.mean() - fraction) < 0.01
        assert (drawn.mass[inside] == NUCLEUS_MASS[number]).all()


def test_depths_of_a_shower_are_distinct_sorted_and_evenly_taken():
    depths = draw_conditions(DEFAULT, 10_000, 6).depths_m
    assert (np.diff(depths, axis=1) > 0).all()
    values, number = np.unique(depths, return_counts=True)
    np.testing.assert_array_equal(values, DEPTH_GRID_M)
    assert stats.chisquare(number).pvalue > 1e-3


def test_rows_of_primaries_name_the_condition():
    drawn = draw_conditions(dataclasses.replace(DEFAULT, num_depths=1), 500, 7)
    again = conditions_of(drawn.primaries)
    np.testing.assert_array_equal(again.mass_number, drawn.mass_number)
    np.testing.assert_allclose(again.cos_zenith, drawn.cos_zenith, rtol=1e-6)
    np.testing.assert_array_equal(again.primaries, drawn.primaries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_depths": 0}, "num_depths: expected 1 to 100"),
        ({"log10_energy": (5.0, 4.0)}, "low < high"),
        ({"min_cos_zenith": 1.0}, "min_cos_zenith"),
        ({"composition": ((1, 0.5),)}, "sum to 1"),
        ({"composition": ((3, 1.0),)}, "mass numbers of"),
        ({"yield_scale": 0.0}, "yield_scale"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SimulationSettings(**change)


def test_no_showers_are_refused():
    with pytest.raises(ValueError, match="num_showers: expected at least 1"):
        draw_conditions(DEFAULT, 0, 1)
