"""Means and Fano factors of the figures are those of the events."""

from typing import Any

import numpy as np
import pytest

from jaxphys.cr_muons.report import plots_moments
from jaxphys.cr_muons.report.plots_moments import CountMoments
from tests.cr_muons.bundles import draw_bundles, no_muons


def drawn(picture) -> Any:
    """Returns the figure; that all of them render is tested with the report."""
    assert picture.figure is not None
    return picture.figure


@pytest.fixture(scope="module")
def replicas():
    draws = np.random.default_rng(0)
    primaries = draw_bundles(200).primaries
    mean = np.geomspace(2, 100, 200)
    return primaries, mean, draws.poisson(mean[:, None], (200, 400))


def test_ratio_of_means_knows_that_the_primaries_are_the_same():
    truth = draw_bundles(2000)
    figure = drawn(plots_moments.mean_number(truth, truth))
    for container in figure.axes[1].containers:
        np.testing.assert_allclose(container.lines[0].get_ydata(), 1)
        for bars in container.lines[2]:
            lengths = np.ptp(np.stack(bars.get_segments())[..., 1], axis=1)
            np.testing.assert_allclose(lengths, 0, atol=1e-12)


def test_mean_number_without_muons_is_a_sentence():
    truth = draw_bundles()
    assert "no muon" in plots_moments.mean_number(no_muons(truth), truth).reason
    drawn(plots_moments.mean_number(truth, no_muons(truth)))


def test_moments_of_replicas_and_of_a_known_mean(replicas):
    primaries, mean, counts = replicas
    found = CountMoments.of_replicas(primaries, counts)
    np.testing.assert_allclose(found.variance, counts.var(axis=1, ddof=1))
    assert np.mean(found.variance / found.mean) == pytest.approx(1, abs=0.02)
    single = CountMoments.of_expected(primaries, counts[:, 0], mean)
    np.testing.assert_allclose(single.variance, (counts[:, 0] - mean) ** 2)


def test_poisson_law_lies_at_one_and_a_function_at_zero(replicas):
    primaries, mean, counts = replicas
    truth = CountMoments.of_replicas(primaries, counts)
    rigid = np.repeat(np.round(mean)[:, None], 5, axis=1)
    samples = {"model": truth, "rigid": CountMoments.of_replicas(primaries, rigid)}
    right = drawn(plots_moments.fano(truth, samples)).axes[1]
    lines = {line.get_label(): line.get_ydata() for line in right.get_lines()}
    np.testing.assert_allclose(lines["truth"], 1, atol=0.05)
    np.testing.assert_array_equal(lines["rigid"], 0)
    assert right.get_ylim()[0] < 0  # a line at 0 can be seen


def test_fano_is_pooled_with_the_error_of_a_ratio_of_sums(replicas):
    primaries, _, counts = replicas
    truth = CountMoments.of_replicas(primaries, counts)
    right = drawn(plots_moments.fano(truth, {"model": truth})).axes[1]
    points = right.containers[0]
    y = points.lines[0].get_ydata()
    edges = np.geomspace(truth.mean.min(), truth.mean.max() * 1.001, 9)
    inside = truth.mean < edges[1]
    pooled = truth.variance[inside].sum() / truth.mean[inside].sum()
    assert y[0] == pytest.approx(pooled)


def test_fano_without_muons_is_a_sentence(replicas):
    zero = CountMoments.of_replicas(replicas[0], np.zeros((200, 4)))
    assert "No condition" in plots_moments.fano(zero, {}).reason


def test_fano_about_a_regression_leaves_thin_bins_out():
    edges = (1.0, 10.0, 20.0, 40.0)
    truth, model = np.array([1.0, np.nan, 3.0]), np.array([1.1, 2.0, 2.5])
    (ax,) = drawn(plots_moments.fano_about_regression(edges, truth, model)).axes
    assert ax.get_lines()[1].get_ydata().tolist() == [1.1, 2.5]
    none = np.full(3, np.nan)
    picture = plots_moments.fano_about_regression(edges, truth, none)
    assert picture.reason.startswith("Too few")
