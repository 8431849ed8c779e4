import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import integrate, stats

from jaxphys.cr_muons import simulation
from jaxphys.cr_muons.physics.conditions import (
    DEFAULT,
    PUBLISHED_LIKE,
    Conditions,
    draw_conditions,
)
from jaxphys.cr_muons.physics.energy_loss import overburden, surface_energy_needed
from jaxphys.cr_muons.simulation import (
    draw_surface_muons,
    effective_cos_zenith,
    expected_muons,
    simulate,
    simulate_chunks,
    threshold,
)


def _same(mass_number, mass, energy, cosine, depth, count):
    one = np.ones(count)
    return Conditions(
        (mass_number * one).astype(int),
        mass * one,
        energy * one,
        cosine * one,
        depth * one[:, None],
    )


@pytest.mark.parametrize(
    ("name", "settings", "showers", "seed"),
    [
        ("g1_train_example", DEFAULT, 6000, 11),
        ("g1_published_like_example", PUBLISHED_LIKE, 20000, 12),
    ],
)
def test_muons_are_those_of_the_supplied_files(data_dir, name, settings, showers, seed):
    table = pq.read_table(data_dir("cr_muons") / f"{name}.parquet")
    lists = table["muons"].combine_chunks()
    events = simulate(settings, showers, seed)
    number = np.diff(lists.offsets.to_numpy())
    np.testing.assert_array_equal(events.num_muons, number)
    expected = lists.values.values.to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(events.muons, expected, rtol=1e-6)


def test_default_events_have_the_documented_mean_and_empty_fraction():
    events = simulate(dataclasses.replace(DEFAULT, num_depths=1), 100_000, 100, 1)
    np.testing.assert_allclose(events.num_muons.mean(), 3.58, atol=0.01)
    np.testing.assert_allclose((events.num_muons == 0).mean(), 0.646, atol=0.001)


def test_published_like_events_are_mostly_empty():
    events = simulate(PUBLISHED_LIKE, 20_000, 1)
    assert 0.93 < (events.num_muons == 0).mean() < 0.95
    assert 0.3 < events.num_muons.mean() < 0.55


@pytest.mark.parametrize("fluctuation", [0.0, 1.0])
def test_variance_over_mean_is_that_of_a_negative_binomial(fluctuation):
    settings = dataclasses.replace(DEFAULT, fluctuation=fluctuation)
    conditions = _same(14, 13.04, 3e6, 0.8, 1500.0, 40_000)
    least = threshold(conditions)
    mean, k = expected_muons(conditions, least, settings)
    number = draw_surface_muons(
        conditions, least, np.random.default_rng(1), settings
    ).num_muons
    np.testing.assert_allclose(number.mean(), mean[0], rtol=0.01)
    expected = 1 + mean[0] / k[0]
    assert (expected == 1) == (fluctuation == 0)
    np.testing.assert_allclose(number.var() / number.mean(), expected, rtol=0.03)


def test_the_mean_is_the_documented_formula():
    conditions = _same(56, 52.09, 1e7, 0.6, 2000.0, 1)
    least = 1500.0
    star = effective_cos_zenith(0.6)
    x = 56 * least / 1e7
    e = 14.5 / (least * star) * x**-0.757 * (1 - x) ** 5.25
    mu = 56 * 1.2045 * e * (1 + e / 15.585) ** 0.1772
    mu *= (1 + 0.105) / (1 + 105 / (least * star))
    mean, k = expected_muons(conditions, np.array([least]))
    np.testing.assert_allclose(mean, mu, rtol=1e-12)
    np.testing.assert_allclose(k, 11.85 * 56**0.573, rtol=1e-12)


def test_a_nucleon_below_threshold_makes_no_muons():
    conditions = _same(56, 52.09, 1e4, 0.4, 2500.0, 50)
    least = threshold(conditions)
    assert (56 * least > 1e4).all()
    made = draw_surface_muons(conditions, least, np.random.default_rng(2))
    assert made.num_muons.sum() == len(made.energy) == 0


def test_energies_follow_the_spectrum():
    highest, least, decay = 3e5 / 4, 800.0, 105 / effective_cos_zenith(0.5)

    def log_spectrum(energy):
        shape = energy**-1.757 * (1 - energy / highest) ** 5.25
        return np.log(shape / (1 + decay / energy))

    conditions = _same(4, 3.727, 3e5, 0.5, 1.0, 60_000)
    made = draw_surface_muons(
        conditions, np.full(60_000, least), np.random.default_rng(3)
    )
    share = np.exp(log_spectrum(made.energy) - log_spectrum(least))
    assert len(share) > 5000
    assert made.energy.min() >= least
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_mean_height_and_transverse_momentum_give_the_radius():
    conditions = _same(1, 0.938, 1e6, 1.0, 1.0, 40_000)
    random = np.random.default_rng(4)
    made = draw_surface_muons(conditions, np.full(40_000, 1000.0), random)
    x = made.energy / 1e6
    near = np.abs(np.log(x / 0.002)) < 0.2
    scale = np.clip(-5 - 24 * np.log10(0.002), 15, 150)

    def weighted_height(depth):
        height = 6400 * np.log(1030 / np.clip(depth, 5, 1000))
        return height * depth / scale**2 * np.exp(-depth / scale)

    height = integrate.quad(weighted_height, 0, 40 * scale, limit=200)[0]
    found = np.mean(made.radius_m[near] * made.energy[near])
    np.testing.assert_allclose(found, height * 0.42, rtol=0.04)
    assert stats.kstest(made.angle / (2 * np.pi), "uniform").pvalue > 1e-3


def test_the_direction_of_the_curved_atmosphere_agrees_where_it_is_flat():
    np.testing.assert_allclose(effective_cos_zenith(1.0), 1.0, rtol=1e-12)
    np.testing.assert_allclose(effective_cos_zenith(0.6), 0.6, rtol=0.02)
    assert effective_cos_zenith(0.05) > 0.1


def test_threshold_is_that_of_the_shallowest_depth_but_never_below_30_gev():
    conditions = _same(1, 0.938, 1e5, 0.5, 1500.0, 1)
    needed = surface_energy_needed(overburden(1500.0, 0.5))
    np.testing.assert_allclose(threshold(conditions), needed)
    shallow = dataclasses.replace(conditions, depths_m=np.array([[1.0]]))
    np.testing.assert_array_equal(threshold(shallow), 30.0)


def test_parts_are_the_whole(monkeypatch):
    monkeypatch.setattr(simulation, "_CARRIED", 700)
    monkeypatch.setattr(simulation, "_DRAWN", 2000)
    parts = list(simulate_chunks(DEFAULT, 5000, 8))
    assert len(parts) == 3 + 3 + 2
    monkeypatch.setattr(simulation, "_CARRIED", 10_000)
    whole = simulate(DEFAULT, 5000, 8)
    found = np.concatenate([p.muons for p in parts])
    np.testing.assert_array_equal(found, whole.muons)
    np.testing.assert_array_equal(
        np.concatenate([p.showers for p in parts]), whole.showers
    )
    assert len(np.unique(whole.showers, axis=0)) == 5000


def test_another_shower_seed_keeps_the_conditions():
    first, again, other = (simulate(DEFAULT, 300, 9, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.primaries, other.primaries)
    np.testing.assert_array_equal(first.muons, again.muons)
    assert not np.array_equal(first.num_muons, other.num_muons)


def test_muons_of_a_shower_keep_their_place_at_all_depths():
    conditions = draw_conditions(dataclasses.replace(DEFAULT, num_depths=3), 400, 10)
    random = np.random.default_rng(5)
    (events,) = simulation.simulate_conditions(conditions, random)
    places = [set(map(tuple, events.rows(i, i + 1).muons[:, 1:])) for i in range(1200)]
    assert all(places[i + 1] <= places[i] for i in range(1199) if (i + 1) % 3)
    assert sum(map(len, places)) > 500
