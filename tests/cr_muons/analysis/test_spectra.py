"""Spectra count every muon once, with errors that know of the bundles."""

import numpy as np
import pytest

from jaxphys.cr_muons.analysis import metrics, spectra
from jaxphys.cr_muons.physics.events import make_events
from tests.cr_muons.samples import draw_events


@pytest.mark.parametrize("most", [0, 1, 7, 8, 9, 10, 37, 5000, 100_000])
@pytest.mark.parametrize(("single", "growth"), [(8, 1.3), (2, 1.8)])
def test_count_edges_hold_every_number_once(most, single, growth):
    edges = spectra.count_edges(most, single, growth)
    assert edges[0] == -0.5
    assert edges[-2] <= most + 0.5 <= edges[-1] + 1
    assert edges[-1] > most
    np.testing.assert_array_equal(edges % 1, 0.5)
    widths = np.diff(edges)
    assert np.all(widths[: min(single, most) + 1] == 1)
    assert np.all(widths > 0)


def test_probabilities_of_all_numbers_sum_to_one():
    events = draw_events(200)
    edges = spectra.count_edges(int(events.num_muons.max()))
    found = spectra.count_spectrum(events.num_muons, edges)
    assert np.sum(found.value * np.diff(edges)) == pytest.approx(1)
    empty = np.mean(events.num_muons == 0)
    assert found.value[0] == pytest.approx(empty)
    assert found.error[0] == pytest.approx(np.sqrt(empty * (1 - empty) / 200))


def test_spectrum_of_muons_is_per_event_with_the_spread_between_events():
    events = draw_events(300, seed=3)
    edges = np.linspace(0, 6, 7)
    values = metrics.log_energy(events)
    found = spectra.muon_spectrum(events, values, edges)
    table = np.stack(
        [
            np.histogram(values[a:b], edges)[0]
            for a, b in zip(events.offsets[:-1], events.offsets[1:], strict=True)
        ]
    )
    np.testing.assert_allclose(found.value, table.mean(axis=0))
    np.testing.assert_allclose(found.error, table.std(axis=0) / np.sqrt(300))


def test_muons_of_one_event_count_as_one_draw():
    """A thousand muons of one bundle are no thousand independent muons."""
    one = make_events(np.ones((100, 4)), [1000] + [0] * 99, np.full((1000, 3), 10.0))
    found = spectra.muon_spectrum(one, np.zeros(1000), np.array([-1.0, 1.0]))
    assert spectra.relative_error(found)[0] == pytest.approx(1, rel=0.01)


def test_ratio_is_missing_where_the_truth_has_nothing():
    edges = np.arange(5.0)
    truth = spectra.Spectrum(edges, np.array([2.0, 0, 1, 0]), np.full(4, 0.1))
    model = spectra.Spectrum(edges, np.array([1.0, 1, 0, 0]), np.full(4, 0.2))
    value, error = spectra.ratio(model, truth)
    np.testing.assert_array_equal(value, [0.5, np.nan, 0, np.nan])
    np.testing.assert_allclose(error, [0.1, np.nan, 0.2, np.nan])
    assert model.scaled(2).value[0] == 2


def test_close_muons_have_no_logarithm_of_the_radius():
    muons = [[1.0, 0.0, 0.0], [1.0, 3.0, 4.0], [1.0, 0.05, 0.0]]
    events = make_events(np.ones((1, 4)), [3], muons)
    np.testing.assert_allclose(spectra.log_radius(events), [-10, np.log10(5), -10])
