import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.track_extrapolator.analysis import metrics


def _tracks(n=400, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 4)) * [500, 400, 0.2, 0.2]
    prediction = truth + rng.normal(size=(n, 4)) * [1, 2, 1e-3, 1e-3]
    return prediction, truth, np.exp(rng.uniform(np.log(2), np.log(100), n))


def test_the_originals_statistics_are_reproduced(golden_dir):
    golden = np.load(golden_dir("track_extrapolator") / "metrics__random_net.npz")
    tolerance = json.loads(str(golden["meta"]))["tolerance"]
    found = metrics.accuracy(
        golden["input/prediction"], golden["input/y"], golden["input/p_gev"]
    )
    names = [k.removeprefix("output/") for k in golden.files if k.startswith("output/")]
    names.remove("total_params")  # a property of the network, not of its errors
    for name in names:
        reference = golden[f"output/{name}"]
        np.testing.assert_allclose(found[name], reference, **tolerance[name])


def test_statistics_follow_their_definition():
    prediction, truth, p_gev = _tracks()
    found = metrics.accuracy(prediction, truth, p_gev)
    difference = prediction - truth
    r = np.sqrt(difference[:, 0] ** 2 + difference[:, 1] ** 2)
    inside = (p_gev >= 5) & (p_gev < 10)
    expected = {
        "pos_mean": r.mean(),
        "p99_error": np.percentile(r, 99),
        "abs_dy_p95": np.percentile(abs(difference[:, 1]), 95),
        "bias_x": difference[:, 0].mean(),
        "bias_ty_5_10GeV": difference[inside, 3].mean(),
        "bias_ty_error_5_10GeV": difference[inside, 3].std(ddof=1)
        / np.sqrt(inside.sum()),
        "abs_dx_p50_5_10GeV": np.median(abs(difference[inside, 0])),
        "pos_p95_5_10GeV": np.percentile(r[inside], 95),
        "tracks_5_10GeV": inside.sum(),
        "tracks": 400,
        "failed_fraction": 0.0,
        "failed_truth_fraction": 0.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def test_bins_are_half_open_and_an_empty_bin_has_no_key():
    prediction, truth, _ = _tracks(4)
    found = metrics.accuracy(prediction, truth, np.array([5.0, 9.99, 10.0, 100.0]))
    assert found["tracks_5_10GeV"] == 2
    assert found["tracks_10_20GeV"] == 1
    assert not [k for k in found if "_0_5GeV" in k or "_50_100GeV" in k]
    # one track has no standard error
    assert "bias_x_10_20GeV" in found
    assert "bias_x_error_10_20GeV" not in found


def test_every_statistic_is_a_finite_number():
    prediction, truth, p_gev = _tracks()
    prediction[3] = np.nan
    prediction[5, 2] = np.inf
    truth[7] = np.nan
    found = metrics.accuracy(prediction, truth, p_gev)
    assert all(np.isfinite(v) for v in found.values())


def test_failures_are_counted_apart_from_missing_truth():
    prediction, truth, p_gev = _tracks(10)
    ok = np.ones(10, bool)
    ok[0] = False
    truth[1] = np.nan
    prediction[2, 0] = np.nan
    prediction[3, 3] = 11.0  # beyond the largest slope, but finite
    found = metrics.accuracy(prediction, truth, p_gev, ok)
    assert found["failed_truth_fraction"] == 0.2
    assert found["failed_fraction"] == 2 / 8
    assert found["slope_max"] > 10


def test_tracks_that_are_not_ok_change_no_error():
    prediction, truth, p_gev = _tracks()
    ok = p_gev > 4
    masked = metrics.accuracy(prediction, truth, p_gev, ok)
    kept = metrics.accuracy(prediction[ok], truth[ok], p_gev[ok])
    for name in kept:
        if not name.startswith(("tracks", "failed")):
            assert masked[name] == kept[name]


def test_statistics_do_not_depend_on_the_order_of_tracks():
    prediction, truth, p_gev = _tracks()
    order = np.random.default_rng(1).permutation(400)
    found = metrics.accuracy(prediction, truth, p_gev)
    shuffled = metrics.accuracy(prediction[order], truth[order], p_gev[order])
    assert found.keys() == shuffled.keys()
    for name, value in found.items():
        np.testing.assert_allclose(shuffled[name], value, rtol=1e-10, atol=1e-15)


def test_without_usable_tracks_there_are_counts_only():
    none = np.zeros((0, 4))
    assert metrics.accuracy(none, none, np.zeros(0)) == {"tracks": 0}
    nan = np.full((3, 4), np.nan)
    found = metrics.accuracy(nan, np.zeros((3, 4)), np.ones(3))
    assert found == {"tracks": 3, "failed_truth_fraction": 0.0, "failed_fraction": 1.0}
    found = metrics.accuracy(np.zeros((3, 4)), nan, np.ones(3))
    assert found == {"tracks": 3, "failed_truth_fraction": 1.0}


@pytest.mark.parametrize(
    ("prediction", "truth", "p_gev"), [((3, 4), (2, 4), 2), ((2, 5), (2, 5), 2),
                                       ((2, 4), (2, 4), 3)],
)  # fmt: skip
def test_shapes_that_do_not_agree_are_refused(prediction, truth, p_gev):
    with pytest.raises(ValueError, match="accuracy: expected prediction"):
        metrics.accuracy(np.zeros(prediction), np.zeros(truth), np.ones(p_gev))


def test_a_mask_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"expected ok \[2\]"):
        metrics.accuracy(np.zeros((2, 4)), np.zeros((2, 4)), np.ones(2), [True])


def test_bin_rows_hold_the_statistics_of_each_bin_without_its_name():
    prediction, truth, _ = _tracks(4)
    found = metrics.accuracy(prediction, truth, np.array([5.0, 6.0, 7.0, 60.0]))
    rows = metrics.bin_rows(found)
    assert [text for text, _ in rows] == ["5–10", "50–100"]
    assert rows[0][1]["tracks"] == 3
    assert rows[0][1]["pos_mean"] == found["pos_mean_5_10GeV"]
    assert metrics.bin_rows({"tracks": 0}) == []


def test_an_exact_jacobian_has_no_error_and_a_scaled_one_its_scale():
    truth = np.random.default_rng(0).normal(size=(50, 5, 5))
    assert metrics.jacobian_error(truth[:, :4], truth)["jacobian_p95"] == 0.0
    found = metrics.jacobian_error(1.03 * truth, truth)
    for name, value in found.items():
        np.testing.assert_allclose(value, 0.03, rtol=1e-9, err_msg=name)
    assert set(found) == {"jacobian_median", "jacobian_p95"} | {
        f"jacobian_median_{c}" for c in ("x", "y", "tx", "ty", "qop")
    }


def test_one_wrong_column_shows_in_that_column_only():
    truth = np.ones((5, 4, 5))
    wrong = truth.copy()
    wrong[:, :, 2] = 0.0
    found = metrics.jacobian_error(wrong, truth)
    assert found["jacobian_median_tx"] == 1.0
    assert found["jacobian_median_qop"] == 0.0
    np.testing.assert_allclose(found["jacobian_median"], np.sqrt(1 / 5))


def test_jacobians_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="predicted: expected"):
        metrics.jacobian_error(np.zeros((2, 4, 4)), np.zeros((2, 4, 5)))
    with pytest.raises(ValueError, match="as many Jacobians"):
        metrics.jacobian_error(np.zeros((2, 4, 5)), np.zeros((3, 4, 5)))
    assert metrics.jacobian_error(np.zeros((0, 4, 5)), np.zeros((0, 5, 5))) == {}


def test_mirror_symmetric_predictions_have_no_asymmetry():
    state = np.random.default_rng(0).normal(size=(20, 5))

    def symmetric(s):
        bend = 2 * s[:, 4:]
        return np.hstack([s[:, :1] + bend, s[:, 1:2], s[:, 2:3] - bend, s[:, 3:4]])

    assert metrics.charge_mirror_asymmetry(symmetric, state)["mirror_p95"] == 0.0
    shifted = metrics.charge_mirror_asymmetry(lambda s: symmetric(s) + 1.5, state)
    # x shifts apart by twice the offset; y moves along with its mirror image
    np.testing.assert_allclose(shifted["mirror_mean"], 3.0)
    assert metrics.charge_mirror_asymmetry(symmetric, state[:0]) == {}


def test_each_batch_size_is_timed_with_warm_calls_of_that_size(monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: clock["now"])
    seen = []

    def predict(rows):
        first = len(rows) not in seen
        seen.append(len(rows))
        clock["now"] += 60.0 if first else 1e-3 + 2e-6 * len(rows)
        return jnp.zeros(())

    found = metrics.time_per_track(
        predict, np.zeros((7, 5)), batches=(1, 10), seconds=0.01, min_calls=3
    )
    np.testing.assert_allclose(found["time_per_track_us_1"], 1002.0)
    np.testing.assert_allclose(found["time_per_track_us_10"], 102.0)
    assert seen.count(1) >= 4
    assert seen.count(10) >= 4


def test_states_are_repeated_to_fill_a_batch():
    states = np.arange(15.0).reshape(3, 5)
    got = []

    def predict(rows):
        got.append(np.array(rows))
        return rows

    metrics.time_per_track(predict, states, batches=(7,), seconds=0, min_calls=1)
    np.testing.assert_array_equal(got[0], states[[0, 1, 2, 0, 1, 2, 0]])
    with pytest.raises(ValueError, match="at least one state"):
        metrics.time_per_track(predict, states[:0])
