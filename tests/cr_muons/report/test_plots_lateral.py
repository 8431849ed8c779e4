"""The lateral figure shows the density around the axis and the mean distance."""

from typing import Any

import numpy as np
import pytest

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.report import plots_lateral
from tests.cr_muons.bundles import draw_bundles, no_muons


def drawn(picture) -> Any:
    """Returns the figure; that all of them render is tested with the report."""
    assert picture.figure is not None
    return picture.figure


def test_density_times_area_is_the_share_of_the_muons():
    truth = draw_bundles(2000)
    (top, *_) = drawn(plots_lateral.lateral(truth, truth)).axes
    stairs = top.patches[0].get_data()  # bundles of one muon
    area = np.pi * np.diff(stairs.edges**2)
    single = metrics.radius(truth.select(truth.num_muons == 1))
    inside = (single > stairs.edges[0]) & (single <= stairs.edges[-1])
    assert np.sum(stairs.values * area) == pytest.approx(np.mean(inside), abs=0.01)


def test_mean_distance_is_that_of_the_bundles():
    truth, model = draw_bundles(2000), draw_bundles(2000, seed=1, wider=1.5)
    figure = drawn(plots_lateral.lateral(truth, model))
    right, ratio = figure.axes[1], figure.axes[3]
    one = truth.num_muons == 1
    curve = right.get_lines()[0].get_ydata()
    assert curve[0] == pytest.approx(metrics.radius(truth.select(one)).mean())
    points = ratio.containers[0].lines[0].get_ydata()
    assert np.median(points) == pytest.approx(1.5, abs=0.15)


def test_lateral_profile_without_muons_is_a_sentence_or_truth_alone():
    truth = draw_bundles()
    assert "no muon" in plots_lateral.lateral(no_muons(truth), truth).reason
    drawn(plots_lateral.lateral(truth, no_muons(truth)))
