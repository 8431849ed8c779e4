import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.physics.conditions import DEFAULT
from jaxphys.cr_muons.physics.events import empty_events, make_events
from jaxphys.cr_muons.simulation import simulate


def _events(random, num_events=400, most=8, scale=1.0):
    number = random.integers(0, most, num_events)
    primaries = np.stack(
        [
            10 ** random.uniform(4, 7.5, num_events),
            random.uniform(0, 1.2, num_events),
            random.choice([0.94, 3.7, 13.0, 25.0, 52.0], num_events),
            random.uniform(1000, 2800, num_events),
        ],
        axis=1,
    )
    muons = random.normal(size=(number.sum(), 3)) * 10 * scale
    muons[:, 0] = 10 ** random.normal(2, 0.5, len(muons))
    return make_events(primaries, number, muons)


floats = st.floats(-5, 5, width=32)


@given(
    hnp.arrays(np.float64, st.integers(1, 20), elements=floats),
    hnp.arrays(np.float64, st.integers(1, 20), elements=floats),
)
@settings(max_examples=50, deadline=None)
def test_wasserstein_is_the_area_between_the_distribution_functions(first, second):
    points = np.sort(np.concatenate([first, second]))
    gaps = np.diff(points)
    difference = [np.mean(first <= p) - np.mean(second <= p) for p in points[:-1]]
    expected = np.sum(np.abs(difference) * gaps)
    np.testing.assert_allclose(metrics.wasserstein(first, second), expected, atol=1e-9)


def test_wasserstein_of_nothing_is_unknown():
    assert np.isnan(metrics.wasserstein(np.zeros(0), np.ones(3)))


def test_each_distance_sees_its_own_quantity():
    truth = _events(np.random.default_rng(1))
    energy, wide = truth.muons.copy(), truth.muons.copy()
    energy[:, 0] *= 10**0.1
    wide[:, 1:] *= 10**0.2
    for muons, expected in ((energy, (0, 0.1, 0)), (wide, (0, 0, 0.2))):
        model = make_events(truth.primaries, truth.num_muons, muons)
        found = metrics.summed_wasserstein(truth, model)
        values = [found[name] for name in ("w1_n", "w1_logE", "w1_logr")]
        # a few muons cross the limit of 0.1 m
        np.testing.assert_allclose(values, expected, atol=2e-3)
        np.testing.assert_allclose(found["w1_sum"], sum(values))
    more = truth.select(np.repeat(np.arange(len(truth)), 2))
    assert metrics.summed_wasserstein(truth, more)["w1_sum"] < 1e-12
    fewer = make_events(truth.primaries, truth.num_muons * 0, np.zeros((0, 3)))
    np.testing.assert_allclose(
        metrics.summed_wasserstein(truth, fewer)["w1_n"],
        np.log10(1 + truth.num_muons).mean(),
    )


def test_muons_close_to_the_axis_do_not_count_for_the_radius():
    truth = _events(np.random.default_rng(2))
    muons = truth.muons.copy()
    close = np.hypot(muons[:, 1], muons[:, 2]) < 5
    muons[close, 1:] *= 1e-3
    moved = make_events(truth.primaries, truth.num_muons, muons)
    kept = np.log10(metrics.radius(truth)[~close])
    assert close.sum() > 100
    expected = metrics.wasserstein(
        kept, np.log10(metrics.radius(truth)[metrics.radius(truth) > 0.1])
    )
    found = metrics.summed_wasserstein(truth, moved)["w1_logr"]
    np.testing.assert_allclose(found, expected)


def test_yields_are_those_of_a_loop_over_bins():
    random = np.random.default_rng(3)
    truth, model = _events(random, 20_000), _events(random, 20_000)
    found = metrics.yield_ratios(truth, model)
    bins = [metrics.condition_bins(e.primaries) for e in (truth, model)]
    compared = 0
    for index in np.ndindex(5, 5, 5):
        inside = [(b == index).all(1) for b in bins]
        muons = truth.num_muons[inside[0]]
        assert found.true_muons[index] == muons.sum()
        if muons.sum() < 200:
            assert np.isnan(found.ratio[index])
            continue
        expected = model.num_muons[inside[1]].mean() / muons.mean()
        np.testing.assert_allclose(found.ratio[index], expected)
        compared += 1
    assert compared == len(found.deviations) > 50


def test_bins_lie_between_the_edges():
    rows = [[10**4.9, 0, 1.9, 1399], [10**5.1, 0, 2.1, 1401], [10**6.6, 0, 41, 2601]]
    np.testing.assert_array_equal(
        metrics.condition_bins(np.array(rows)), [[0, 0, 0], [1, 1, 1], [4, 4, 4]]
    )


def test_features_are_those_of_a_loop_over_events():
    events = _events(np.random.default_rng(4), 60)
    found = metrics.event_features(events)
    rows = []
    for i in map(int, np.flatnonzero(events.num_muons)):
        energy, x, y = events.rows(i, i + 1).muons.astype(np.float64).T
        r = np.hypot(x, y)
        e0, zenith, mass, depth = events.primaries[i].astype(np.float64)
        rows.append(
            [
                np.log10(len(energy)),
                np.log10(energy).max(),
                np.log10(energy).mean(),
                np.log10(energy.sum()),
                np.log10(r).mean(),
                r.max(),
                np.log10(e0),
                np.cos(zenith),
                mass,
                depth,
            ]
        )
    np.testing.assert_allclose(found, rows, rtol=1e-10)
    assert found.shape[1] == len(metrics.FEATURES)


def test_a_classifier_sees_wide_bundles_and_nothing_else():
    truth, again = (simulate(DEFAULT, 1500, 5, s) for s in (1, 2))
    assert abs(metrics.classifier_auc(truth, again) - 0.5) < 0.05
    wide = again.muons.copy()
    wide[:, 1:] *= 1.5
    model = make_events(again.primaries, again.num_muons, wide)
    assert metrics.classifier_auc(truth, model) > 0.6


def test_correlation_is_that_of_the_far_muons():
    events = _events(np.random.default_rng(6))
    log_r = np.log10(metrics.radius(events))
    muons = events.muons.copy()
    muons[:, 0] = 10 ** (2 - 0.5 * log_r)
    tied = make_events(events.primaries, events.num_muons, muons)
    assert metrics.energy_radius_correlation(tied) == pytest.approx(-1, abs=1e-6)
    assert abs(metrics.energy_radius_correlation(events)) < 0.1


def test_isotropy_sees_a_preferred_direction():
    events = _events(np.random.default_rng(7), 3000)
    assert metrics.isotropy_p_value(events) > 1e-3
    muons = events.muons.copy()
    muons[:, 1] += 3
    aside = make_events(events.primaries, events.num_muons, muons)
    assert metrics.isotropy_p_value(aside) < 1e-6


def test_figures_of_no_muons_are_unknown():
    none = empty_events()
    assert np.isnan(metrics.energy_radius_correlation(none))
    assert np.isnan(metrics.isotropy_p_value(none))
    assert np.isnan(metrics.classifier_auc(none, none))
    assert metrics.event_features(none).shape == (0, 10)


def test_all_depths_of_a_primary_are_in_one_half():
    events = simulate(DEFAULT, 500, 8)
    half = metrics.half_of_showers(events.primaries, 0).reshape(500, 10)
    assert (half.all(1) | ~half.any(1)).all()
    assert 0.4 < half.mean() < 0.6
    assert not np.array_equal(
        half.ravel(), metrics.half_of_showers(events.primaries, 1)
    )
