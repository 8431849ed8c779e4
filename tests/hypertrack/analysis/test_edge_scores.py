import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.hypertrack.analysis import edge_scores


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_auc_is_the_part_of_pairs_in_order_and_the_area_under_the_curve(seed, size):
    rng = np.random.default_rng(seed)
    label = rng.random(size) < 0.4
    score = rng.integers(0, 8, size) / 8  # with ties
    true, false = score[label], score[~label]
    got = edge_scores.auc(label, score)
    if not len(true) or not len(false):
        assert np.isnan(got)
        return
    above = (true[:, None] > false).mean() + (true[:, None] == false).mean() / 2
    assert got == pytest.approx(above)
    curve = edge_scores.roc(label, score)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(above)
    assert (curve.tpr[0], curve.fpr[0], curve.tpr[-1], curve.fpr[-1]) == (0, 0, 1, 1)


def test_auc_at_spaced_thresholds_is_close_to_the_exact_one():
    rng = np.random.default_rng(0)
    label = rng.random(20_000) < 0.1
    score = 1 / (1 + np.exp(-rng.normal(np.where(label, 3, -3), 1.5)))
    exact = edge_scores.auc(label, score)
    assert edge_scores.auc_compat(label, score) == pytest.approx(exact, abs=2e-3)
    assert edge_scores.auc_compat(label, score) != exact
    assert np.isnan(edge_scores.auc_compat(np.ones(3), np.zeros(3)))


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    rng = np.random.default_rng(0)
    label, score = rng.random(5000) < 0.5, rng.random(5000)
    curve = edge_scores.roc(label, score, most=100)
    assert len(curve.tpr) == 100
    assert (curve.tpr[-1], curve.fpr[-1]) == (1, 1)
    assert len(edge_scores.roc(label, score, most=0).tpr) == 5001


def test_rates_count_scores_above_the_threshold():
    label = np.array([1, 1, 0, 0, 0])
    score = np.array([0.9, 0.5, 0.6, 0.1, 0.5])
    found = edge_scores.rates(label, score, 0.5)
    assert found == {"tpr": 0.5, "fpr": 1 / 3, "purity": 0.5}
    assert np.isnan(edge_scores.rates(label, score, 2)["purity"])


def test_self_edges_are_left_out_of_one_of_the_areas():
    edges = np.array([[0, 1, 2, 0, 1], [0, 1, 2, 1, 2]])
    label, score = np.array([1, 1, 1, 0, 1]), np.array([0.9, 0.9, 0.9, 0.5, 0.2])
    found = edge_scores.summarise(label, score, edges, 0.55)
    assert found["auc_no_self"] == 0
    assert found["auc"] == 0.75


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \[E\] each, got \(3,\) and \(2,\)"):
        edge_scores.auc(np.zeros(3), np.zeros(2))
