"""Markov models of hard states equal counting and known chains."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis import markov as mk
from tests.gdynet.chains import TRANSITION, one_hot, sample, soft

STATES = sample(np.random.default_rng(0), TRANSITION, 4000, 3)


def test_counts_equal_a_loop_over_pairs_within_trajectories():
    parts = [STATES[:50], STATES[50:53], STATES[60:100]]
    expected = np.zeros((3, 3))
    for part in parts:
        for frame in range(len(part) - 4):
            for one, other in zip(part[frame], part[frame + 4], strict=True):
                expected[one, other] += 1
    np.testing.assert_array_equal(mk.count_matrix(parts, 4, 3), expected)


def test_transition_matrix_has_a_row_of_zeros_for_an_unvisited_state():
    counts = np.array([[3.0, 1, 0], [2, 2, 0], [0, 0, 0]])
    expected = [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]]
    np.testing.assert_array_equal(mk.transition_matrix(counts), expected)


def test_hard_states_are_the_most_probable_ones():
    (found,) = mk.hard_states(soft(STATES))
    np.testing.assert_array_equal(found, STATES)


def test_reversible_matrix_is_in_balance_and_the_most_likely_one():
    counts = np.array([[50.0, 4, 1], [6, 70, 9], [3, 5, 40]])
    found = mk.reversible_transition_matrix(counts)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    pi = np.linalg.matrix_power(found, 5000)[0]
    flow = pi[:, None] * found
    np.testing.assert_allclose(flow, flow.T, atol=1e-9)
    best = np.sum(counts * np.log(found))
    rng = np.random.default_rng(1)
    for _ in range(50):
        near = flow * np.exp(1e-3 * rng.normal(size=flow.shape))
        near = near + near.T
        other = near / near.sum(axis=1, keepdims=True)
        assert np.sum(counts * np.log(other)) <= best + 1e-9
    balanced = counts + counts.T
    np.testing.assert_allclose(
        mk.reversible_transition_matrix(balanced),
        mk.transition_matrix(balanced),
        atol=1e-9,
    )


def test_reversible_matrix_refuses_what_does_not_converge():
    with pytest.raises(ValueError, match="no convergence to 1e-12 in 3 steps"):
        mk.reversible_transition_matrix(np.array([[5.0, 1], [3, 9]]), steps=3)


def test_first_passage_times_of_two_states_are_inverse_probabilities():
    matrix = np.array([[0.9, 0.1], [0.25, 0.75]])
    found = mk.mean_first_passage_times(matrix, 2.0)
    np.testing.assert_allclose(found, [[0, 20], [8, 0]], rtol=1e-12)


def test_first_passage_times_obey_one_step_of_the_chain():
    found = mk.mean_first_passage_times(TRANSITION, 1.0)
    for goal in range(3):
        for start in {0, 1, 2} - {goal}:
            assert found[start, goal] == pytest.approx(
                1 + TRANSITION[start] @ found[:, goal]
            )


def test_state_that_is_never_reached_takes_forever():
    found = mk.mean_first_passage_times(np.eye(2), 1.0)
    np.testing.assert_array_equal(found, [[0, np.inf], [np.inf, 0]])


def test_rates_give_the_transition_matrix_back():
    rates = mk.rates(TRANSITION, 0.5)
    np.testing.assert_allclose(rates.sum(axis=1), 0, atol=1e-12)
    values, vectors = np.linalg.eig(rates * 0.5)
    again = (vectors * np.exp(values)) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(again, TRANSITION, atol=1e-12)
    assert np.isnan(mk.rates(np.array([[0.1, 0.9], [0.9, 0.1]]), 1.0)).all()


def test_lifetimes_are_those_of_the_chain_and_of_cut_stays():
    states = sample(np.random.default_rng(2), TRANSITION, 20000, 5)
    mean, exits = mk.lifetimes([states], 3, 0.1)
    np.testing.assert_allclose(mean, 0.1 / (1 - np.diag(TRANSITION)), rtol=0.05)
    assert exits.min() > 500
    mean, exits = mk.lifetimes([np.array([[0], [0], [1], [1], [1]])], 3, 1.0)
    np.testing.assert_array_equal(exits, [1, 0, 0])
    assert mean[0] == 2
    assert np.isnan(mean[1:]).all()


def test_lumping_finds_the_blocks_of_a_chain():
    blocks = [0, 0, 1, 1, 2, 2]
    weak = np.full((6, 6), 1e-3)
    weak[:4, :4] += 5e-3
    same = np.equal.outer(blocks, blocks)
    matrix = np.where(same, 0.4, weak)
    matrix /= matrix.sum(axis=1, keepdims=True)
    three = mk.lump(matrix, 3)
    for part in ([0, 1], [2, 3], [4, 5]):
        assert len(set(three[part])) == 1
    assert len(set(three)) == 3
    two = mk.lump(matrix, 2)
    assert len(set(two[:4])) == len(set(two[4:])) == 1
    assert two[0] != two[4]
    assert sorted(mk.lump(matrix, 6)) == list(range(6))
    assert sorted(mk.lump(np.eye(4), 4)) == list(range(4))
    with pytest.raises(ValueError, match="expected 1 to 6, got 7"):
        mk.lump(matrix, 7)


def test_three_kinds_of_populations_agree_for_one_hot_chains():
    found = mk.populations([one_hot(STATES[:1500]), one_hot(STATES[1500:])], 1)
    np.testing.assert_allclose(found["mean"], found["hard"], atol=1e-12)
    np.testing.assert_allclose(found["stationary"], found["hard"], atol=0.01)
    blurred = mk.populations(soft(STATES, part=0.3), 1)
    np.testing.assert_allclose(blurred["hard"], found["hard"], atol=1e-12)
    assert np.abs(blurred["mean"] - found["mean"]).max() > 0.01


def test_autocorrelation_equals_the_full_convolution():
    values = np.random.default_rng(3).normal(size=200).cumsum()
    centred = values - values.mean()
    full = np.correlate(centred, centred, "full")[199:]
    np.testing.assert_allclose(mk.autocorrelation(values, 50), (full / full[0])[:50])
    np.testing.assert_array_equal(mk.autocorrelation(np.ones(5), 7), 0)


def test_summary_names_every_state():
    p = soft(STATES)
    found = mk.summary(p)
    assert found["max"] == pytest.approx(p.max())
    assert found["state_2_std"] == pytest.approx(p[:, :, 2].std())
    assert len(found) == 10
    np.testing.assert_allclose(mk.populations_per_frame(p), p.mean(axis=1))
