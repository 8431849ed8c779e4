"""Intervals cover the truth, and splits follow their formula."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis import koopman as kp
from jaxphys.gdynet.analysis import uncertainty as un
from tests.gdynet.chains import TRANSITION, sample, soft

EXACT = -1 / np.log(np.sort(np.linalg.eigvals(TRANSITION).real)[:-1])


def predictions(seed, frames=3000, targets=3, trajectories=1):
    rng = np.random.default_rng(seed)
    return [soft(sample(rng, TRANSITION, frames, targets)) for _ in range(trajectories)]


def test_blocks_are_trajectories_or_pieces_of_time_that_cover_all():
    many = [np.zeros((20, 1, 2))] * 12
    assert un.blocks(many, 5) == [(i, 0, 20) for i in range(12)]
    pieces = un.blocks([np.zeros((1000, 1, 2)), np.zeros((90, 1, 2))], 4)
    assert pieces[0][:2] == (0, 0)
    assert all(b - a >= 40 for _, a, b in pieces)
    assert sum(b - a for _, a, b in pieces) == 1090
    assert len([p for p in pieces if p[0] == 1]) == 2
    long = un.blocks(np.zeros((10000, 1, 2)), 4)
    assert len(long) == 50


@pytest.mark.parametrize("trajectories", [1, 12])
def test_bootstrap_intervals_cover_the_exact_timescales(trajectories):
    frames = 6000 // trajectories
    inside = []
    for seed in range(10):
        data = predictions(seed, frames, trajectories=trajectories)
        found = un.bootstrap(data, [2], 2, n_bootstrap=40, seed=seed)
        expected = kp.implied_timescales(data, [2])
        np.testing.assert_allclose(found.mean, expected, rtol=1e-10)
        assert np.all(found.lower < found.upper)
        inside.append((found.lower <= EXACT[:, None]) & (EXACT[:, None] <= found.upper))
    assert 0.75 <= np.mean(inside) <= 1  # 20 trials of 0.95 or somewhat less


def test_bootstrap_repeats_with_its_seed_and_scales_with_the_unit():
    data = predictions(0)
    one, same, other, scaled = (
        un.bootstrap(data, [1, 3], 2, n_bootstrap=20, seed=seed, time_unit=unit)
        for seed, unit in ((1, 1.0), (1, 1.0), (2, 1.0), (1, 0.2))
    )
    np.testing.assert_array_equal(one.lower, same.lower)
    assert np.abs(one.lower - other.lower).max() > 0
    np.testing.assert_allclose(scaled.upper, 0.2 * one.upper)


def test_unresolved_process_has_no_interval():
    p = np.zeros((2000, 2, 4))
    p[:, :, :3] = predictions(0, 2000, 2)[0]
    found = un.bootstrap(p, [1], 2, n_bootstrap=20)
    for array in found:
        assert np.isnan(array[0, 0])
        assert np.isfinite(array[1:]).all()


def test_too_short_data_are_refused():
    with pytest.raises(ValueError, match="hold one block of 200 frames"):
        un.bootstrap(predictions(0, 300), [1], 20)


@pytest.mark.parametrize("axis", [0, 1])
def test_split_errors_are_those_of_the_logarithm(axis):
    (p,) = predictions(0)
    found = un.split_errors(p, [1, 2], 3, axis, time_unit=0.5)
    logs = np.log(
        [
            kp.implied_timescales(part, [1, 2], time_unit=0.5)
            for part in np.array_split(p, 3, axis)
        ]
    )
    error = 1.96 * np.sqrt(np.mean((logs - logs.mean(0)) ** 2, axis=0) / 3)
    np.testing.assert_allclose(found.mean, np.exp(logs.mean(0)))
    np.testing.assert_allclose(found.lower, np.exp(logs.mean(0) - error))
    np.testing.assert_allclose(found.upper, np.exp(logs.mean(0) + error))


def test_many_trajectories_are_split_as_wholes():
    data = predictions(1, 500, 2, trajectories=4)
    found = un.split_errors(data, [1], 2)
    halves = [kp.implied_timescales(part, [1]) for part in (data[:2], data[2:])]
    np.testing.assert_allclose(found.mean, np.exp(np.mean(np.log(halves), axis=0)))


def test_wrong_splits_are_refused():
    with pytest.raises(ValueError, match="split_axis: expected 0"):
        un.split_errors(predictions(0), [1], 2, 2)
    with pytest.raises(ValueError, match="n_splits: expected 1 to 3, got 4"):
        un.split_errors(predictions(0), [1], 4, 1)


def test_markov_chain_passes_the_chapman_kolmogorov_test():
    data = predictions(3, 8000)
    found = un.chapman_kolmogorov_test(data, 2, 5, n_bootstrap=40)
    predicted, estimated = kp.chapman_kolmogorov(data, 2, 5)
    np.testing.assert_allclose(found.predicted, predicted, atol=1e-12)
    np.testing.assert_allclose(found.estimated, estimated, atol=1e-12)
    assert found.deviation == pytest.approx(np.abs(predicted - estimated).max())
    assert found.deviation < 0.03
    assert found.z_value < 4


def test_hidden_memory_fails_the_chapman_kolmogorov_test():
    rng = np.random.default_rng(4)
    states = sample(rng, TRANSITION, 8000, 3)
    merged = np.where(states == 2, 1, states)  # 1 and 2 are one state no more
    found = un.chapman_kolmogorov_test(soft(merged, 2), 2, 5, n_bootstrap=40)
    assert found.deviation > 0.05
    assert found.z_value > 5


def times(mean, error):
    mean = np.array(mean, float)
    return un.Timescales(mean, mean - error, mean + error)


def test_suggested_lag_is_the_first_of_the_plateau():
    lags = [1, 2, 4, 8, 16]
    rising = times([[6.0, 8, 9.9, 10, 10.1]], 0.3)
    assert un.suggested_lag(lags, rising) == 4
    assert un.suggested_lag(lags, times([[1.0, 3, 5, 9, 15]], 0.1)) is None
    # the fast process counts only while the lag is shorter than it
    fast = times([[2.0, 2.1, 2.2, 1, np.nan], [9.9, 10, 10, 10.1, 10]], 0.3)
    assert un.suggested_lag(lags, fast) == 1
    unresolved = times([[np.nan] * 5], 0.3)
    assert un.suggested_lag(lags, unresolved) is None
