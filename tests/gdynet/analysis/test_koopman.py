"""Koopman operators equal matrix algebra where the answer is known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from jaxphys.gdynet.analysis import koopman as kp
from tests.gdynet.chains import TRANSITION, one_hot, sample, soft

STATES = sample(np.random.default_rng(0), TRANSITION, 3000, 4)
LAGS = (1, 3, 7)


def counts(states, lag, size=3):
    table = np.zeros((size, size))
    np.add.at(table, (states[:-lag].ravel(), states[lag:].ravel()), 1)
    return table


@pytest.mark.parametrize("lag", LAGS)
def test_one_hot_operator_is_the_transition_matrix_of_counts(lag):
    table = counts(STATES, lag)
    expected = table / table.sum(axis=1, keepdims=True)
    for estimator in ("plain", "constrained"):
        found = kp.koopman_operator(one_hot(STATES), lag, estimator=estimator)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    both = table + table.T
    found = kp.koopman_operator(one_hot(STATES), lag, estimator="reversible")
    np.testing.assert_allclose(found, both / both.sum(1, keepdims=True), atol=1e-12)


def test_timescales_and_populations_of_a_chain_equal_matrix_algebra():
    found = kp.implied_timescales(one_hot(STATES), LAGS, time_unit=0.5)
    for column, lag in enumerate(LAGS):
        table = counts(STATES, lag)
        matrix = table / table.sum(axis=1, keepdims=True)
        values = np.sort(np.abs(np.linalg.eigvals(matrix)))[:-1]
        np.testing.assert_allclose(
            found[:, column], -0.5 * lag / np.log(values), rtol=1e-11
        )
    operator = kp.koopman_operator(one_hot(STATES), 3)
    stationary = kp.stationary_vector(operator)
    np.testing.assert_allclose(stationary @ operator, stationary, atol=1e-12)
    assert stationary.sum() == pytest.approx(1)
    values, vectors = kp.eigenvectors_of(operator)
    np.testing.assert_allclose(operator @ vectors, vectors * values, atol=1e-12)
    assert values[0] == pytest.approx(1)


def test_sampled_chain_has_the_timescales_of_its_generator():
    exact = -1 / np.log(np.sort(np.linalg.eigvals(TRANSITION).real)[:-1])
    states = sample(np.random.default_rng(1), TRANSITION, 20000, 20)
    found = kp.implied_timescales(soft(states), [1, 4])
    np.testing.assert_allclose(found, np.stack([exact, exact], 1), rtol=0.03)


def test_reference_matrix_has_the_published_timescale():
    matrix = np.array([[0.98059, 0.01941], [0.19383, 0.80617]])
    values = kp.eigenvalues_of(matrix)
    assert values[0] == pytest.approx(0.78676, abs=1e-12)
    assert kp.timescales_of(values[:-1], 10)[0] == pytest.approx(41.70, abs=0.005)


def test_trajectories_add_up_and_pairs_never_cross_them():
    p = soft(STATES)
    parts = [p[:1000], p[1000:1004], p[1004:]]
    found = kp.pair_sums(parts, 3)
    expected = [kp.pair_sums(part, 3) for part in parts]
    for name in found._fields:
        total = sum(getattr(e, name) for e in expected)
        np.testing.assert_allclose(getattr(found, name), total, rtol=1e-13)
    short = kp.pair_sums([p[:1000], p[:2]], 3)  # the second one holds no pair
    np.testing.assert_allclose(short.cl, expected[0].cl, rtol=1e-13)


def test_long_trajectories_are_added_in_pieces(monkeypatch):
    whole = kp.pair_sums(soft(STATES), 3)
    monkeypatch.setattr(kp, "_ROWS", 40)
    for a, b in zip(kp.pair_sums(soft(STATES), 3), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_rows_of_the_operator_sum_to_one():
    for estimator in kp.ESTIMATORS:
        found = kp.koopman_operator(soft(STATES), 2, estimator=estimator)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-10)


def oscillating(frames=4000):
    """Returns overlapping predictions whose plain operator has negative entries."""
    rng = np.random.default_rng(5)
    swap = np.array([[0.02, 0.96, 0.02], [0.01, 0.02, 0.97], [0.96, 0.02, 0.02]])
    return soft(sample(rng, swap, frames, 1), part=0.2) + 0.0


def cost(sums, operator):
    return np.trace(operator.T @ sums.c0 @ operator) - 2 * np.trace(
        operator.T @ sums.cl
    )


def test_constrained_operator_is_the_best_stochastic_one():
    rng = np.random.default_rng(6)
    base = rng.dirichlet(np.ones(3), 500)
    p = np.stack([0.8 * base + 0.2 * np.roll(base, 1, axis=0)], axis=1)
    sums = kp.pair_sums(p, 1)
    # a lagged matrix whose plain solution leaves the simplex
    sums = sums._replace(
        cl=sums.c0 @ np.array([[1.2, -0.3, 0.1], [0.2, 0.9, -0.1], [0, 0.1, 0.9]])
    )
    found = kp.operator_of_sums(sums, estimator="constrained")
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert kp.operator_of_sums(sums).min() < -0.05
    other = minimize(
        lambda k: cost(sums, k.reshape(3, 3)) / sums.c0.trace(),
        np.full(9, 1 / 3),
        method="SLSQP",
        bounds=[(0, 1)] * 9,
        constraints={"type": "eq", "fun": lambda k: k.reshape(3, 3).sum(1) - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    scale = sums.c0.trace()
    assert cost(sums, found) / scale <= other.fun + 1e-9
    np.testing.assert_allclose(found, other.x.reshape(3, 3), atol=1e-4)


def test_reversible_operator_has_real_eigenvalues():
    p = oscillating()
    plain = kp.eigenvalues_of(kp.koopman_operator(p, 1))
    balanced = kp.eigenvalues_of(kp.koopman_operator(p, 1, estimator="reversible"))
    assert np.abs(np.imag(plain)).max() > 0.5
    assert np.abs(np.imag(balanced)).max() == 0


def test_what_is_no_decay_has_no_timescale():
    values = np.array([0.5, -0.5, 0.0, 1.0, 1.1, 0.5 + 0.04j, 0.5 + 0.06j])
    found = kp.timescales_of(values, 2.0)
    assert np.isfinite(found).tolist() == [True, *[False] * 4, True, False]
    assert found[0] == pytest.approx(2 / np.log(2))
    loose = kp.timescales_of(values[:2], 2.0, strict=False)
    assert loose == pytest.approx([2 / np.log(2)] * 2)
    assert np.isnan(kp.implied_timescales(oscillating(), [1])).all()


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
@pytest.mark.parametrize("estimator", kp.ESTIMATORS)
def test_collapsed_network_has_no_timescale(estimator, noise):
    rng = np.random.default_rng(7)
    p = np.full((500, 8, 3), 1 / 3) + noise * rng.normal(size=(500, 8, 3))
    p /= p.sum(axis=2, keepdims=True)
    found = kp.implied_timescales(p, [1, 5], estimator=estimator)
    assert found.shape == (2, 2)
    assert np.isnan(found).all()


@pytest.mark.parametrize("estimator", kp.ESTIMATORS)
def test_unused_state_hides_no_process(estimator):
    p = np.zeros((3000, 4, 4))
    p[:, :, :3] = soft(STATES)
    found = kp.implied_timescales(p, [2], estimator=estimator)
    expected = kp.implied_timescales(soft(STATES), [2], estimator=estimator)
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found[1:], expected, rtol=1e-6)


def test_chapman_kolmogorov_compares_powers_with_estimates():
    p = soft(STATES)
    predicted, estimated = kp.chapman_kolmogorov(p, 2, 4)
    operator = kp.koopman_operator(p, 2)
    for k in range(4):
        power = np.linalg.matrix_power(operator, k)
        np.testing.assert_allclose(predicted[:, :, k], power, atol=1e-13)
    np.testing.assert_array_equal(estimated[:, :, 0], np.eye(3))
    np.testing.assert_allclose(
        estimated[:, :, 3], kp.koopman_operator(p, 6), atol=1e-13
    )


def test_default_lags_grow_from_one_to_a_tenth_of_the_frames():
    lags = kp.default_lags(5000, 10)
    assert lags[0] == 1
    assert lags[-1] == 200
    assert 10 <= len(lags) <= 15
    assert kp.default_lags(300, 10)[-1] == 30
    assert kp.default_lags(5, 10).tolist() == [1]


def test_what_cannot_be_analysed_is_refused():
    p = soft(STATES)
    with pytest.raises(ValueError, match=r"expected 1 to 2999 frames.*got 3000"):
        kp.pair_sums(p, 3000)
    with pytest.raises(ValueError, match="got 0"):
        kp.pair_sums(p, 0)
    with pytest.raises(ValueError, match=r"trajectory 1: expected \[F, n, 3\]"):
        kp.trajectories([p, p[:, :, :2]])
    with pytest.raises(ValueError, match="got none"):
        kp.trajectories([])
    with pytest.raises(ValueError, match=r"plain, reversible, constrained, got 'x'"):
        kp.koopman_operator(p, 1, estimator="x")
