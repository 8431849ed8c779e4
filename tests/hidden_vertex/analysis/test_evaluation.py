import dataclasses

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from jaxphys.hidden_vertex.analysis import evaluation, scores
from tests.hidden_vertex.scored_events import make_scored


@pytest.fixture(scope="module")
def scored():
    return make_scored()


def _delong_error(label, score):
    """Returns the standard error of the AUC in closed form."""
    low, high = score[label == 0], score[label == 1]
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    parts = (wins.mean(axis=a).var(ddof=1) / wins.shape[1 - a] for a in (0, 1))
    return np.sqrt(sum(parts))


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_agrees_with_the_closed_form_of_the_error(scored, ties):
    score = np.round(scored.score * 2) if ties else scored.score
    drawn = evaluation.bootstrap_auc(scored.label, {"a": score}, resamples=2000)["a"]
    expected = _delong_error(scored.label, score)
    np.testing.assert_allclose(drawn.std(ddof=1), expected, rtol=0.07)
    np.testing.assert_allclose(
        drawn.mean(), roc_auc_score(scored.label, score), atol=expected / 10
    )


def test_a_resample_is_the_auc_of_the_drawn_events(scored):
    """The same draws, made by hand and given to scikit-learn."""
    label, score = scored.label, np.round(scored.score, 1)
    low, high = score[label == 0], score[label == 1]
    rng = np.random.default_rng(5)
    expected = []
    for _ in range(4):
        drawn = [v[rng.integers(len(v), size=len(v))] for v in (low, high)]
        truth = np.repeat([0, 1], [len(low), len(high)])
        expected.append(roc_auc_score(truth, np.concatenate(drawn)))
    found = evaluation.bootstrap_auc(label, {"a": score}, resamples=4, seed=5)["a"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bootstrap_uses_the_same_draws_for_all_scores_and_is_repeatable(scored):
    values = {"a": scored.score, "b": 3 * scored.score + 1, "c": -scored.score}
    drawn = evaluation.bootstrap_auc(scored.label, values, resamples=20)
    np.testing.assert_array_equal(drawn["a"], drawn["b"])
    np.testing.assert_allclose(drawn["a"], 1 - drawn["c"], rtol=1e-12)
    alone = evaluation.bootstrap_auc(scored.label, {"c": -scored.score}, resamples=20)
    np.testing.assert_array_equal(alone["c"], drawn["c"])
    other = evaluation.bootstrap_auc(scored.label, values, resamples=20, seed=1)
    assert not np.array_equal(other["a"], drawn["a"])


def test_rejection_counts_the_background_above_the_cut():
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    score = np.array([1.0, 2, 3, 7, 4, 5, 6, 8])
    assert evaluation.signal_rejection(label, score, 0.25) is None
    assert evaluation.signal_rejection(label, score, 0.26) == 4.0
    assert evaluation.signal_rejection(label, score, 1.0) == 4.0
    score[4] = 1.5  # the last signal event lies below two more of the background
    assert evaluation.signal_rejection(label, score, 1.0) == 4 / 3


def test_classification_agrees_with_the_scores_room(scored):
    label, score = scored.label, scored.scores["latent"]
    found = evaluation.classification(label, score, 50)
    assert found["auc"] == scores.auc(label, score)
    assert found["auc_error"] is None
    at = scores.signal_efficiency(label, score, np.array([0.01, 0.05, 0.1]))
    assert [found[f"tpr_at_fpr_{p}"] for p in (1, 5, 10)] == at.tolist()
    assert found["max_sic"] == scores.max_sic(label, score).value
    assert found["precision"] == scores.precision(label, score, 50)
    low, high = score[label == 0], score[label == 1]
    np.testing.assert_allclose(found["separation"], high.mean() / low.mean())
    np.testing.assert_allclose(found["shift"], (high.mean() - low.mean()) / low.std())
    assert (found["signal_mean"], found["background_std"]) == (high.mean(), low.std())


def test_a_ratio_of_means_is_refused_for_scores_with_negative_values(scored):
    assert scored.score.min() < 0
    found = evaluation.classification(scored.label, scored.score, 50)
    assert found["separation"] is None
    assert found["shift"] > 1


def test_evaluation_of_unlabelled_events_describes_and_does_not_judge(scored):
    alone = dataclasses.replace(scored, label=None)
    for label in (None, np.zeros(len(scored), np.int8)):
        alone = dataclasses.replace(scored, label=label)
        found = evaluation.evaluate(alone)["combined"]
        assert set(found) == {"mean", "std", "rank_correlation_mjj"}
        assert found["mean"] == scored.score.mean()


def test_rank_correlation_is_taken_on_background_only(scored):
    mjj = np.where(scored.label == 1, 100 * scored.score, -scored.score)
    known = {**scored.observables, "mjj": mjj}
    found = evaluation.evaluate(dataclasses.replace(scored, observables=known))
    np.testing.assert_allclose(found["combined"]["rank_correlation_mjj"], -1)


def test_baselines_are_sorted_and_compared_on_the_same_draws(scored):
    values = {
        "worse": (scored.scores["latent"], False),
        "same": (2 * scored.score, False),
        "truth": (scored.label, True),
    }
    rows = evaluation.compare_baselines(scored, values, resamples=50)
    assert [row["name"] for row in rows] == ["truth", "same", "worse"]
    assert [row["oracle"] for row in rows] == [True, False, False]
    assert (rows[1]["lead"], rows[1]["lead_error"]) == (0.0, 0.0)
    own = scores.auc(scored.label, scored.score)
    np.testing.assert_allclose(rows[2]["lead"], own - rows[2]["auc"])
    assert 0 < rows[2]["lead_error"] < 0.1
    assert rows[0]["auc"] == 1.0


def test_baselines_without_a_value_count_as_least_anomalous(scored):
    values = np.where(scored.label == 1, np.nan, 1.0)
    values[np.flatnonzero(scored.label == 0)[0]] = 0.0
    (row,) = evaluation.compare_baselines(scored, {"m2": (values, False)}, 10)
    assert row["not_finite"] == 100
    np.testing.assert_allclose(row["auc"], 0.5 / 300)


def test_baselines_need_labels_of_both_kinds_and_one_value_per_event(scored):
    values = {"a": (scored.score, False)}
    alone = dataclasses.replace(scored, label=None)
    assert evaluation.compare_baselines(alone, values) == []
    with pytest.raises(ValueError, match=r"baseline 'a'.*\[400\] values, got \(3,\)"):
        evaluation.compare_baselines(scored, {"a": (np.ones(3), False)})


def test_injection_is_judged_against_the_same_events(scored):
    clean = scored.score
    found = evaluation.compare_injection(clean, clean, 20)
    assert (found["auc"], found["raised"]) == (0.5, 0.0)
    found = evaluation.compare_injection(clean, clean + 100, 20)
    assert (found["auc"], found["raised"], found["auc_error"]) == (1.0, 1.0, 0.0)
    np.testing.assert_allclose(found["injected_mean"] - found["clean_mean"], 100)


def test_principal_components_are_those_of_scikit_learn(scored):
    code = scored.code.reshape(len(scored), -1) * [1, 5, 2, 1, 3, 1]
    found, share = evaluation.principal_components(code)
    reference = PCA(2).fit(code)
    np.testing.assert_allclose(share, reference.explained_variance_ratio_)
    np.testing.assert_allclose(
        np.abs(found), np.abs(reference.transform(code)), atol=1e-9
    )


def test_principal_components_of_collapsed_codes_explain_nothing():
    found, share = evaluation.principal_components(np.ones((5, 3)))
    np.testing.assert_array_equal(found, np.zeros((5, 2)))
    np.testing.assert_array_equal(share, [0, 0])


def test_typical_events_are_background_next_to_its_median(scored):
    found = evaluation.typical_events(scored, 3)
    low = scored.score[scored.label == 0]
    assert np.all(scored.label[found] == 0)
    nearest = np.sort(np.abs(low - np.median(low)))[:3]
    np.testing.assert_array_equal(np.abs(scored.score[found] - np.median(low)), nearest)
    only_signal = dataclasses.replace(scored, label=np.ones(len(scored), np.int8))
    assert len(evaluation.typical_events(only_signal)) == 3
