"""Scores and their figures of merit."""

import numpy as np
import pytest
from sklearn import metrics

from jaxphys.hidden_vertex.analysis import scores as sc


def sample(seed=0, count=300, digits=1):
    """Returns labels and scores with many ties."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) < 0.2
    score = np.round(rng.normal(size=count) + label, digits).astype(np.float32)
    return label.astype(np.int8), score


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [0, 1, 7])
def test_roc_and_auc_equal_scikit_learn(seed, digits):
    label, score = sample(seed, digits=digits)
    for drop in (True, False):
        found = sc.roc_curve(label, score, drop)
        expected = metrics.roc_curve(label, score, drop_intermediate=drop)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
    expected = metrics.roc_auc_score(label, score)
    assert sc.auc(label, score) == pytest.approx(expected, abs=1e-12)


def test_two_events_are_enough():
    assert sc.auc([0, 1], [0.1, 0.2]) == 1
    assert sc.auc([0, 1], [0.2, 0.2]) == 0.5
    curve = sc.roc_curve([0, 1], [0.2, 0.2])
    np.testing.assert_array_equal(curve.fpr, [0, 1])
    np.testing.assert_array_equal(curve.thresholds, np.array([np.inf, 0.2]))


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([0, 0], [1.0, 2.0], "2 background, 0 signal"),
        ([1, 1], [1.0, 2.0], "0 background, 2 signal"),
        ([0, 1], [np.nan, 2.0], "1 not finite"),
        ([0, 1], [1.0, 2.0, 3.0], "one per label"),
    ],
)
def test_labels_and_scores_that_say_nothing_are_refused(label, score, message):
    with pytest.raises(ValueError, match=message):
        sc.auc(np.array(label), np.array(score))


@pytest.mark.parametrize("least", [0, 10, 50])
def test_max_sic_equals_a_search_over_all_cuts(least):
    label, score = sample()
    values = [0.0]
    for cut in np.unique(score):
        passing = score >= cut
        background = np.sum(passing & (label == 0))
        if background >= max(least, 1):
            eps_b = background / np.sum(label == 0)
            eps_s = np.sum(passing & (label == 1)) / np.sum(label == 1)
            values.append(eps_s / np.sqrt(eps_b))
    best = sc.max_sic(label, score, least)
    assert best.value == pytest.approx(max(values), rel=1e-12)
    passing = score >= best.threshold
    assert np.mean(passing[label == 0]) == pytest.approx(best.background_efficiency)
    assert np.mean(passing[label == 1]) == pytest.approx(best.signal_efficiency)


def test_no_cut_with_enough_background_gives_zero():
    assert sc.max_sic([0, 1, 1], [1.0, 2.0, 3.0], 5).value == 0


def test_top_events_are_ascending_and_stable():
    score = np.array([3.0, 1.0, 2.0, 3.0, 2.0])
    np.testing.assert_array_equal(sc.top_events(score, 4), [2, 4, 0, 3])
    np.testing.assert_array_equal(sc.top_events(score, 9), [1, 2, 4, 0, 3])
    assert len(sc.top_events(score, 0)) == 0
    assert sc.precision(np.array([1, 0, 0, 0, 1]), score, 2) == 0.5


def test_separation_and_efficiency():
    label, score = np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 4.0, 2.0])
    assert sc.separation(label, score) == 1.5
    rates = sc.signal_efficiency(label, score, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(rates, [0.5, 1.0, 1.0])


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
