"""Scores of events against those of the training events."""

import numpy as np
import pytest

from jaxphys.hidden_vertex.training import event_scores as sc


def test_graph_score_reduces_each_graph():
    error, index = np.array([1.0, 3.0, 2.0], np.float32), np.array([0, 0, 2])
    np.testing.assert_array_equal(sc.graph_score(error, index, 4), [2, 0, 2, 0])
    np.testing.assert_array_equal(sc.graph_score(error, index, 4, "max"), [3, 0, 2, 0])
    with pytest.raises(ValueError, match="median"):
        sc.graph_score(error, index, 4, "median")


def test_latent_distance_equals_its_definition():
    rng = np.random.default_rng(0)
    code = rng.normal(size=(200, 2, 3)) * [1, 2, 5] + 7
    found = sc.LatentStatistics.of(code).distance(code[:20])
    expected = np.zeros(20)
    for jet in range(2):
        covariance = np.cov(code[:, jet].T) + 1e-6 * np.eye(3)
        off = code[:20, jet] - code[:, jet].mean(axis=0)
        inverse = np.linalg.inv(covariance)
        expected += np.sqrt(np.einsum("ea,ab,eb->e", off, inverse, off))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_latent_distance_does_not_depend_on_units():
    code = np.random.default_rng(0).normal(size=(200, 4))
    turn = np.random.default_rng(1).normal(size=(4, 4)) + 3 * np.eye(4)
    one = sc.LatentStatistics.of(code).distance(code)
    other = sc.LatentStatistics.of(code @ turn + 5).distance(code @ turn + 5)
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("width", [1, 3])
def test_collapsed_codes_have_a_finite_score(width):
    code = np.ones((50, width))
    statistics = sc.ScoreStatistics.of(np.arange(50.0), code)
    found = statistics.scores(np.arange(50.0), code)
    assert all(np.all(np.isfinite(values)) for values in found.values())


def test_codes_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="2 events or more"):
        sc.LatentStatistics.of(np.ones((1, 3)))
    with pytest.raises(ValueError, match="not finite"):
        sc.LatentStatistics.of(np.full((5, 3), np.nan))


def test_combined_is_the_sum_of_standardised_scores_and_survives_saving():
    rng = np.random.default_rng(0)
    code, nll = rng.normal(size=(300, 2, 4)), rng.normal(size=300)
    statistics = sc.ScoreStatistics.of(nll, code)
    found = statistics.scores(nll, code)
    log = np.log(found["latent"])
    expected = (nll - nll.mean()) / nll.std() + (log - log.mean()) / log.std()
    np.testing.assert_allclose(found["combined"], expected, rtol=1e-9, atol=1e-12)
    again = sc.ScoreStatistics.from_arrays(statistics.to_arrays()).scores(nll, code)
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])
