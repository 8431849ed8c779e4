"""Sums over batches give the scores of the whole set."""

from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxphys.gdynet.training import accumulate as acc
from jaxphys.gdynet.training import vamp
from tests.gdynet.batches import outputs

TARGETS = 3


def pair(kind="soft", rows=96, states=4, seed=0):
    return outputs(kind, np.random.default_rng(seed), states, rows)


def summed(chi0, chit, cuts, targets=TARGETS, padding=0):
    """Returns the sums of batches of whole frames, padded at the end."""
    total: Any = None
    frames = len(chi0) // targets
    for part in np.split(np.arange(frames), cuts):
        rows = (part[:, None] * targets + np.arange(targets)).ravel()
        fill = np.full((padding * targets, chi0.shape[1]), np.nan, np.float32)
        x, y = (np.concatenate([c[rows], fill]) for c in (chi0, chit))
        weight = np.r_[np.ones(len(part)), np.zeros(padding)].astype(np.float32)
        total = acc.add(total, acc.batch_sums(x, y, weight, targets))
    return total


def one_pass(chi0, chit):
    with jax.enable_x64(True):
        x, y = chi0.astype(np.float64), chit.astype(np.float64)
        c = vamp.covariances(x, y)
        return [float(vamp.score_of_covariances(c, power)) for power in (1, 2)]


@pytest.mark.parametrize("kind", ["soft", "near_uniform"])
@pytest.mark.parametrize(("cuts", "padding"), [([], 0), ([5, 11], 0), ([7], 4)])
def test_scores_of_batches_equal_those_of_all_rows(kind, cuts, padding):
    chi = pair(kind)
    scores = acc.scores(summed(*chi, cuts, padding=padding))
    one, two = one_pass(*chi)
    # float32 products, float64 sums
    assert scores.vamp1 == pytest.approx(one, abs=2e-5)
    assert scores.vamp2 == pytest.approx(two, abs=2e-5)
    assert scores.vampe == pytest.approx(scores.vamp2, abs=1e-9)
    mean = chi[0].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(scores.populations, mean, atol=1e-6)


@pytest.mark.parametrize("mode", ["trunc", "regularize", "clamp"])
def test_modes_reach_the_scores(mode):
    chi = pair("sharp")
    scores = acc.scores(summed(*chi, []), 1e-2, mode)
    found = float(vamp.vamp2(*chi, None, 1e-2, mode))
    assert scores.vamp2 == pytest.approx(found, abs=1e-4)


def test_weights_of_rows_equal_weights_of_frames():
    chi = pair()
    weight = np.arange(32) % 2
    by_frame = acc.batch_sums(*chi, weight, TARGETS)
    by_row = acc.batch_sums(*chi, np.repeat(weight, TARGETS), TARGETS)
    jax.tree.map(np.testing.assert_array_equal, by_frame, by_row)
    np.testing.assert_array_equal(by_frame.count, 16)


def test_static_equals_random_partners_of_the_same_target_in_expectation():
    rng = np.random.default_rng(3)
    labels = np.tile(np.eye(3), (400, 1))  # target a is always in state a
    noise = rng.dirichlet(np.ones(3), (2, 1200))
    x, y = ((0.5 * labels + 0.5 * n).astype(np.float32) for n in noise)
    scores = acc.scores(summed(x, y, [100]))
    partner = np.stack([rng.permutation(400) for _ in range(3)], axis=1)
    shuffled = y.reshape(400, 3, 3)[partner, np.arange(3)].reshape(-1, 3)
    _, expected = one_pass(x, shuffled)
    assert scores.static == pytest.approx(expected, abs=0.03)
    assert scores.static > 0.5
    assert scores.centred < 0.05  # nothing moves


def test_static_is_low_and_centred_is_all_where_targets_are_alike():
    rng = np.random.default_rng(4)
    chi = outputs("sharp", rng, 3, 6000)
    scores = acc.scores(summed(*chi, [], targets=6))
    assert scores.vamp2 > 0.5
    assert scores.static < 0.02
    assert scores.centred == pytest.approx(scores.vamp2, abs=0.02)


def test_one_target_has_no_identity():
    scores = acc.scores(summed(*pair(), [], targets=1))
    assert scores.static == pytest.approx(0.0, abs=1e-9)
    assert scores.centred == pytest.approx(scores.vamp2, abs=1e-9)


def test_centred_removes_the_mean_of_each_target():
    chi = pair()
    x, y = (c.reshape(-1, TARGETS, 4).astype(np.float64) for c in chi)
    moved = [(a - a.mean(axis=0) + 0.25).reshape(-1, 4) for a in (x, y)]
    found = acc.scores(summed(*chi, [9]))
    assert found.centred == pytest.approx(one_pass(*moved)[1], abs=2e-5)


def test_constant_outputs_score_nothing():
    scores = acc.scores(summed(*pair("constant"), [4]))
    assert scores[:5] == pytest.approx((0, 0, 0, 0, 0), abs=1e-9)
    assert scores.trace < 1e-7


def test_sums_over_four_devices_equal_those_of_one():
    chi = pair(rows=96)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("data"))
    compiled = jax.jit(lambda x, y, w: acc.batch_sums(x, y, w, TARGETS))
    weight = np.ones(32, np.float32)
    plain = compiled(*chi, weight)
    spread = compiled(*(jax.device_put(a, place) for a in (*chi, weight)))
    for a, b in zip(plain, spread, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_wrong_numbers_of_rows_are_refused():
    chi0, chit = pair()
    with pytest.raises(ValueError, match="96 rows for 5 targets"):
        acc.batch_sums(chi0, chit, None, 5)
    few = acc.add(None, acc.batch_sums(chi0[:1], chit[:1]))
    with pytest.raises(ValueError, match="two or more rows, got 1"):
        acc.scores(few)


def test_sums_over_many_rows_keep_the_digits_of_float32():
    rng = np.random.default_rng(5)
    chi = rng.dirichlet([0.2, 0.3, 0.4], 20_001).astype(np.float32)
    sums = acc.batch_sums(chi[:-1], chi[1:])
    x, y = (a.astype(np.float64) - 1 / 3 for a in (chi[:-1], chi[1:]))
    np.testing.assert_allclose(sums.xx, x.T @ x, rtol=5e-6)
    np.testing.assert_allclose(sums.yy, y.T @ y, rtol=5e-6)
    xy = np.asarray(sums.xy)
    np.testing.assert_allclose(xy, x.T @ y, atol=5e-6 * np.abs(sums.xx).max())
