"""Figures of all muons show the numbers of the samples, or say that there are none."""

from typing import Any

import numpy as np
import pytest

from jaxphys.cr_muons.analysis import spectra
from jaxphys.cr_muons.report import plots
from jaxphys.report import figures
from tests.cr_muons.bundles import draw_bundles, no_muons


@pytest.fixture(scope="module")
def truth():
    return draw_bundles()


@pytest.fixture(scope="module")
def model():
    return draw_bundles(seed=1, factor=1.1, wider=1.2)


def drawn(picture) -> Any:
    """Returns the figure; that all of them render is tested with the report."""
    assert picture.figure is not None
    return picture.figure


def test_distributions_show_every_sample_and_the_ratio_to_the_truth(truth, model):
    picture = plots.distributions(truth, model, {"other": draw_bundles(seed=2)})
    figure = drawn(picture)
    assert len(figure.axes) == 6
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["truth", "model", "other"]
    bottom = figure.axes[4]
    middle, values = bottom.containers[0].lines[0].get_data()
    edges = plots.decade_edges(*(np.log10(e.muons[:, 0]) for e in (truth, model)))
    counts = [np.histogram(np.log10(e.muons[:, 0]), edges)[0] for e in (truth, model)]
    at = int(np.argmax(counts[0]))
    place = np.argmin(np.abs(np.log10(middle) - (edges[at] + edges[at + 1]) / 2))
    assert values[place] == pytest.approx(counts[1][at] / counts[0][at])


def test_point_of_a_single_number_lies_at_this_number():
    edges = spectra.count_edges(100)
    found = spectra.count_spectrum(np.arange(101), edges)
    np.testing.assert_allclose(plots.drawn_middles(found, True)[:9], np.arange(9) + 1)


def test_ticks_of_the_number_axis_name_the_number_itself(truth, model):
    ax = drawn(plots.distributions(truth, model)).axes[3]
    texts = {t.get_text(): x for t, x in zip(ax.get_xticklabels(), ax.get_xticks())}  # noqa: B905
    assert texts["0"] == 1
    assert texts["10"] == 11


def test_sample_without_muons_has_a_sentence_or_an_empty_curve(truth):
    none = no_muons(truth)
    assert "no muon" in plots.distributions(none, truth).reason
    assert "no muon" in plots.joint(truth, none).reason
    drawn(plots.distributions(truth, none))


def test_model_without_entries_where_the_truth_has_many_is_shown_at_zero():
    edges = np.arange(4.0)
    truth = spectra.Spectrum(edges, np.array([10.0, 10.0, 1.0]), np.array([1, 1, 1.0]))
    model = spectra.Spectrum(edges, np.array([5.0, 0.0, 0.0]), np.array([1, 0, 0.0]))
    value, _ = plots.known_ratio(model, truth)
    np.testing.assert_array_equal(value, [0.5, 0, np.nan])


def test_joint_shows_truth_model_and_ratio(truth, model):
    picture = plots.joint(truth, model)
    titles = [ax.get_title() for ax in drawn(picture).axes]
    assert titles[:3] == ["truth", "model", "model / truth"]


def test_broken_model_does_not_squeeze_the_truth():
    truth = np.linspace(0, 4, 10_000)
    edges = plots.decade_edges(truth, np.array([1e3, 2e3, -4.0]))
    assert edges[0] >= -2.1
    assert edges[-1] <= 6.1
    plain = plots.decade_edges(truth, truth)
    assert plain[-1] >= 4.0


def test_ratio_limits_are_the_narrowest_that_show_what_is_known():
    ones, small = np.ones(20), np.full(20, 0.01)
    assert plots.ratio_limits(ones, small, small) == (0.9, 1.1)
    assert plots.ratio_limits(1.2 * ones, small, small) == (0.75, 1.25)
    assert plots.ratio_limits(5 * ones, small, small) == (0.0, 2.0)
    # nothing is known well
    assert plots.ratio_limits(ones, ones, small) == (0.0, 2.0)
    assert plots.ratio_limits(np.full(3, np.nan), small[:3], small[:3]) == (0.0, 2.0)


def test_points_outside_of_a_panel_become_triangles_at_its_edge():
    with figures.style():
        _, axes = figures.canvas(1, 1)
        ax = axes[0, 0]
        x, value = np.array([1.0, 2, 3, 4]), np.array([1.0, 5.0, -3.0, np.nan])
        plots.draw_points(ax, x, value, 0.1 * np.ones(4), (0.5, 1.5), color="red")
    marks = {line.get_marker(): line.get_xydata() for line in ax.get_lines()}
    np.testing.assert_allclose(marks["^"], [[2, 1.46]])
    np.testing.assert_allclose(marks["v"], [[3, 0.54]])
    np.testing.assert_allclose(marks["o"], [[1, 1]])
