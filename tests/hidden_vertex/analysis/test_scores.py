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
