"""Chains of known timescales are found, and what is not there is unresolved."""

import dataclasses

import numpy as np
import pytest

from jaxphys.gdynet.analysis import koopman
from jaxphys.gdynet.analysis.analysis import AnalysisSettings, analyse, choose_lags
from jaxphys.gdynet.training import accumulate
from tests.gdynet.chains import TRANSITION, one_hot, sample, soft

UNIT = 0.5
EXACT = -UNIT / np.log(np.sort(np.linalg.eigvals(TRANSITION).real)[-2::-1])
FAST = AnalysisSettings(n_bootstrap=20)


def predictions(seed=0, frames=2000, targets=4, trajectories=5):
    rng = np.random.default_rng(seed)
    chains = [sample(rng, TRANSITION, frames, targets) for _ in range(trajectories)]
    return [soft(c).astype(np.float32) for c in chains]


@pytest.fixture(scope="module")
def data():
    return predictions()


@pytest.fixture(scope="module")
def found(data):
    return analyse(data, tau=1, time_unit=UNIT, settings=FAST)


def test_timescales_of_a_chain_are_found_slowest_first(found):
    at = found.at_tau
    assert found.lags[at] == 1
    np.testing.assert_allclose(found.timescales[:, at], EXACT, rtol=0.06)
    assert EXACT[0] > EXACT[1]
    middle, low, high = (a[:, at] for a in (found.timescales, found.lower, found.upper))
    assert np.all((low < middle) & (middle < high))
    assert np.all(np.abs(np.log(middle / EXACT)) < np.log(high / low))
    assert found.resolved_processes.tolist() == [0, 1]
    assert found.suggested_lag == 1  # a chain has no memory
    assert not found.collapsed
    assert not found.unresolved
    assert not found.notes


def test_process_faster_than_the_lag_is_unresolved(data):
    found = analyse(data, tau=8, time_unit=UNIT, settings=FAST)
    assert EXACT[1] < 8 * UNIT < EXACT[0]
    assert found.resolved_processes.tolist() == [0]
    # two macrostates: the fast pair is one of them
    assert found.labels.tolist() in ([0, 0, 1], [1, 1, 0])
    assert found.macrostates is not None
    assert found.macrostates.num_states == 2
    np.testing.assert_allclose(found.timescales[0, found.at_tau], EXACT[0], rtol=0.06)


def test_scores_are_those_of_the_training(data, found):
    sums = None
    for p in data:
        part = accumulate.batch_sums(p[:-1].reshape(-1, 3), p[1:].reshape(-1, 3))
        sums = accumulate.add(sums, part)
    assert sums is not None
    scores = accumulate.scores(sums)
    assert np.isclose(found.vamp2, scores.vamp2, rtol=1e-4)
    assert np.isclose(found.vamp1, scores.vamp1, rtol=1e-4)
    # of a chain: what its eigenvalues say, to the sampling error
    expected = np.sum(np.exp(-UNIT / EXACT) ** 2)
    assert np.isclose(found.vamp2, expected, rtol=0.01)


def test_equal_outputs_are_collapsed_and_have_no_timescale():
    noise = 1e-7 * np.random.default_rng(0).standard_normal((500, 3, 4))
    found = analyse(0.25 + noise, tau=5, settings=FAST)
    assert found.collapsed
    assert found.unresolved
    assert np.isnan(found.timescales).all()
    assert not found.resolved.any()


def test_independent_frames_are_unresolved_but_not_collapsed():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), (3000, 2))
    found = analyse(p, tau=5, settings=FAST)
    assert not found.collapsed
    assert found.unresolved
    assert found.vamp2 < 0.01
    assert found.suggested_lag is None


def test_label_of_a_target_is_no_process():
    rng = np.random.default_rng(0)
    label = np.broadcast_to(np.array([0.9, 0.1, 0.9, 0.1])[None, :], (3000, 4))
    label = np.clip(label + 0.01 * rng.standard_normal(label.shape), 0, 1)
    p = np.stack([label, 1 - label], axis=2)
    found = analyse(p, tau=2, settings=FAST)
    assert found.timescales[0, found.at_tau] > 1000  # it would look very slow
    assert found.between_targets[0] > 0.99
    assert found.static.tolist() == [True]
    assert found.rank.tolist() == [-1]
    assert found.unresolved
    moving = analyse(predictions(trajectories=1), tau=2, settings=FAST)
    assert moving.between_targets.max() < 0.05


def test_processes_beside_a_label_keep_their_timescales():
    """Half of the probability says which target it is, half what it does."""
    rng = np.random.default_rng(4)
    moves = sample(rng, TRANSITION, 8000, 3)
    label = np.broadcast_to(one_hot(np.arange(3)), (8000, 3, 3))
    p = np.concatenate([label, one_hot(moves)], axis=2) / 2
    found = analyse(p, tau=1, time_unit=UNIT, settings=FAST)
    assert found.static.tolist()[:4] == [True, True, False, False]
    assert found.rank.tolist()[:4] == [-1, -1, 0, 1]
    assert found.resolved_processes.tolist() == [2, 3]
    np.testing.assert_allclose(found.timescales[2:4, found.at_tau], EXACT, rtol=0.1)


def test_one_state_has_no_process():
    found = analyse(np.ones((30, 2, 1)), tau=3, settings=FAST)
    assert found.timescales.shape[0] == 0
    assert found.unresolved
    assert not found.collapsed
    assert found.states.hard.tolist() == [1]


def test_short_trajectory_is_analysed_without_errors():
    p = soft(sample(np.random.default_rng(2), TRANSITION, 25, 1))
    found = analyse(p, tau=3)
    assert "The timescales have no error" in found.notes[0]
    assert np.isnan(found.lower).all()
    expected = koopman.implied_timescales(p, [3])[::-1, 0]
    np.testing.assert_array_equal(found.timescales[:, found.at_tau], expected)
    assert np.isnan(found.between_targets).all()  # of a single target


def test_trajectories_of_different_lengths_and_targets_are_analysed():
    data = predictions(frames=900, targets=2, trajectories=2)
    data += predictions(seed=5, frames=300, targets=3, trajectories=1)
    found = analyse(data, tau=2, settings=FAST)
    np.testing.assert_allclose(found.timescales[0, found.at_tau], EXACT[0] / UNIT, 0.2)


def test_split_errors_are_those_of_the_original_method(data):
    settings = AnalysisSettings(error_method="split", n_splits=2, split_axis=1)
    found = analyse(data, tau=2, settings=settings)
    halves = [[p[:, part] for p in data] for part in (slice(0, 2), slice(2, 4))]
    logs = [np.log(koopman.implied_timescales(h, [2])[::-1, 0]) for h in halves]
    mean, error = np.mean(logs, axis=0), 1.96 * np.std(logs, axis=0) / np.sqrt(2)
    at = found.at_tau
    np.testing.assert_allclose(found.timescales[:, at], np.exp(mean))
    np.testing.assert_allclose(found.upper[:, at], np.exp(mean + error))


@pytest.mark.parametrize("estimator", koopman.ESTIMATORS)
def test_every_estimator_finds_the_chain(estimator):
    settings = AnalysisSettings(koopman=estimator, n_bootstrap=2, lags=(1, 2))
    found = analyse(predictions(), tau=1, time_unit=UNIT, settings=settings)
    np.testing.assert_allclose(found.timescales[0, 0], EXACT[0], rtol=0.06)
    assert found.lags.tolist() == [1, 2]


def test_lags_hold_the_model_lag_and_stay_within_the_data():
    lags = choose_lags([1000, 50], 7, AnalysisSettings())
    assert 7 in lags
    assert lags[0] == 1
    assert lags[-1] == 100
    assert choose_lags([1000], 7, AnalysisSettings(lag_max=30))[-1] == 30
    assert choose_lags([9], 2, AnalysisSettings(lags=(4,))).tolist() == [2, 4]
    with pytest.raises(ValueError, match=r"lags: expected 1 to 8 .* got 9"):
        choose_lags([9], 2, AnalysisSettings(lags=(4, 9)))
    with pytest.raises(ValueError, match=r"tau: expected 1 to 8 .* got 12"):
        choose_lags([9], 12, AnalysisSettings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("koopman", "other"),
        ("error_method", "jackknife"),
        ("split_axis", 2),
        ("ck_steps", 1),
        ("n_bootstrap", 1),
        ("koopman_epsilon", 1.0),
        ("n_macrostates", -1),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name}\S*: expected"):
        AnalysisSettings(**{name: value})


def test_number_of_macrostates_is_obeyed(data):
    two = dataclasses.replace(FAST, n_macrostates=2)
    found = analyse(data, tau=1, settings=two)
    assert found.macrostates is not None
    assert found.macrostates.num_states == 2
    # one for every state is none
    three = dataclasses.replace(FAST, n_macrostates=3)
    assert analyse(data, tau=1, settings=three).macrostates is None
    with pytest.raises(ValueError, match="n_macrostates: expected 0 to 3, got 4"):
        analyse(data, tau=1, settings=dataclasses.replace(FAST, n_macrostates=4))


def test_unused_states_do_not_disturb_the_others():
    rng = np.random.default_rng(3)
    p = one_hot(sample(rng, TRANSITION, 4000, 3), 3)
    wide = np.concatenate([p, np.zeros((4000, 3, 3))], axis=2)
    found = analyse(wide, tau=1, time_unit=UNIT, settings=FAST)
    np.testing.assert_allclose(found.timescales[:2, found.at_tau], EXACT, rtol=0.1)
    assert found.resolved_processes.tolist() == [0, 1]
    assert np.isnan(found.timescales[2:]).all()
