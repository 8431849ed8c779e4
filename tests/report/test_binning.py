import numpy as np

from jaxphys.report import binning


def test_the_mean_profile_is_the_mean_of_each_half_open_bin():
    x, y = np.array([0.0, 0.5, 1.0, 1.5, 2.0]), np.array([1.0, 3.0, 10.0, 20.0, 99.0])
    profile = binning.bin_profile(x, y, [0, 1, 2])
    np.testing.assert_allclose(profile.value, [2.0, 15.0])
    np.testing.assert_array_equal(profile.count, [2, 2])
    # standard error of two values a, b: |a - b| / 2
    np.testing.assert_allclose(profile.error, [[1.0, 5.0], [1.0, 5.0]])


def test_bins_with_too_few_entries_have_no_value():
    profile = binning.bin_profile([0.5, 1.5, 1.6], [1.0, 2.0, 4.0], [0, 1, 2, 3])
    assert np.isnan(profile.value[[0, 2]]).all()
    assert profile.value[1] == 3.0


def test_entries_that_are_not_finite_are_left_out():
    x, y = np.array([0.1, 0.2, np.nan, 0.3]), np.array([1.0, 3.0, 5.0, np.inf])
    profile = binning.bin_profile(x, y, [0, 1])
    assert profile.value[0] == 2.0
    assert profile.count[0] == 2


def test_quantile_errors_cover_the_spread_of_repeated_samples():
    rng = np.random.default_rng(0)
    samples = rng.exponential(size=(400, 500))
    values, lows, highs = [], [], []
    for y in samples:
        profile = binning.bin_profile(np.full(500, 0.5), y, [0, 1], 0.95)
        values.append(profile.value[0])
        lows.append(profile.error[0, 0])
        highs.append(profile.error[1, 0])
    spread = np.std(values)
    assert 0.8 * spread < (np.mean(lows) + np.mean(highs)) / 2 < 1.25 * spread


def test_log_edges_have_equal_ratios():
    edges = binning.log_edges(2, 100, 20)
    assert len(edges) == 21
    np.testing.assert_allclose(edges[1:] / edges[:-1], 50 ** (1 / 20))
