"""Bands cover all events once; correlations are those of the events with muons."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from jaxphys.cr_muons.report import plots_bins
from tests.cr_muons.bundles import draw_bundles, no_muons

rank_correlation: Any = spearmanr


@pytest.fixture(scope="module")
def truth():
    return draw_bundles()


@pytest.fixture(scope="module")
def model():
    return draw_bundles(seed=1)


def drawn(picture) -> Any:
    """Returns the figure; that all of them render is tested with the report."""
    assert picture.figure is not None
    return picture.figure


def test_bands_hold_every_event_once(truth):
    for bands in plots_bins.bands_of(truth.primaries).values():
        chosen = np.stack([band.chosen for band in bands])
        np.testing.assert_array_equal(chosen.sum(axis=0), 1)


def test_masses_are_named_by_their_nucleus(truth):
    names = [band.text for band in plots_bins.mass_bands(truth.primaries)]
    assert names == ["p", "He", "Fe"]
    assert plots_bins.name_of_nucleus(200.0) == "A = 215"


def test_many_masses_become_three_ranges(truth):
    primaries = truth.primaries.copy()
    primaries[:, 2] = np.geomspace(1, 60, len(primaries))
    bands = plots_bins.mass_bands(primaries)
    assert len(bands) == 3
    assert bands[0].text.endswith("GeV")


def test_condition_that_never_changes_is_one_band(truth):
    primaries = truth.primaries.copy()
    primaries[:, 3] = 1948.0
    (band,) = plots_bins.bands_of(primaries)["depth"]
    assert band.text == "1.95 km"
    assert band.chosen.all()


@pytest.mark.parametrize("quantity", plots_bins.QUANTITIES)
def test_spectra_in_bands_are_drawn_for_each_part_of_the_condition(
    truth, model, quantity
):
    picture = plots_bins.in_bins(truth, model, quantity)
    figure = drawn(picture)
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert titles == ["primary energy", "primary", "zenith angle", "depth"]
    if quantity == "num_muons":
        value = figure.axes[0].patches[0].get_data().values[0]
        low = plots_bins.bands_of(truth.primaries)["primary energy"][0].chosen
        assert value == pytest.approx(np.mean(truth.num_muons[low] == 0))


def test_bands_of_a_truth_without_muons_are_a_sentence(truth):
    picture = plots_bins.in_bins(no_muons(truth), truth, "energy")
    assert "no muon" in picture.reason
    assert "ten events" in plots_bins.correlations(truth, no_muons(truth)).reason


def test_correlations_are_those_of_the_ranks(truth, model):
    figure = drawn(plots_bins.correlations(truth, model))
    some = truth.num_muons > 0
    wanted, _ = rank_correlation(truth.num_muons[some], truth.primaries[some, 0])
    left, right = (ax.images[0].get_array() for ax in figure.axes[:2])
    assert left[0, 5] == pytest.approx(wanted)
    there = model.num_muons > 0
    other, _ = rank_correlation(model.num_muons[there], model.primaries[there, 0])
    assert right[0, 5] == pytest.approx(100 * (other - wanted))


def test_correlation_with_a_constant_is_left_blank(truth, model):
    for events in (truth, model):
        assert len(events)
    constant = truth.select(truth.primaries[:, 2] < 2)
    figure = drawn(plots_bins.correlations(constant, constant))
    assert np.isnan(figure.axes[0].images[0].get_array().filled(np.nan)[0, 7])
