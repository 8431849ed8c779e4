"""Normalised numbers are those of the specification, in numpy and in jax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.physics.normalise import (
    FeatureNorm,
    denormalise_muons,
    fit_feature_norm,
    normalise_conditions,
    normalise_muons,
    slant_depth,
)
from tests.cr_muons.samples import draw_events

EVENTS = draw_events(200)


def test_conditions_and_features_of_known_numbers():
    primary = np.array([[1e6, np.pi / 3, 100.0, 1500.0]])
    np.testing.assert_allclose(normalise_conditions(primary), [[0, 0.5, 2, 1.5]])
    muons = np.array([[1e3, 250.0, -50.0], [0.0, 0.0, 0.0]])
    expected = [[-3 + 1e-7 / np.log(10), 0.5, -0.1], [-10, 0, 0]]
    np.testing.assert_allclose(normalise_muons(muons), expected, rtol=1e-9)


def test_the_way_back_is_the_inverse_but_for_the_epsilon():
    muons = EVENTS.muons.astype(np.float64)
    back = denormalise_muons(normalise_muons(muons))
    np.testing.assert_allclose(back[:, 1:], muons[:, 1:], rtol=1e-12)
    np.testing.assert_allclose(back[:, 0], muons[:, 0] + 1e-4, rtol=1e-9)


@pytest.mark.parametrize("depth_kind", ["vertical", "slant"])
def test_jax_and_numpy_agree(depth_kind):
    host = normalise_conditions(EVENTS.primaries, depth_kind)
    device = normalise_conditions(jnp.asarray(EVENTS.primaries), depth_kind)
    assert isinstance(host, np.ndarray)
    assert isinstance(device, jax.Array)
    assert host.dtype == device.dtype == np.float32
    np.testing.assert_allclose(device, host, rtol=1e-5, atol=1e-6)
    norm = fit_feature_norm(EVENTS.muons)
    for host, device in [
        (norm.apply(EVENTS.muons), norm.apply(jnp.asarray(EVENTS.muons))),
        (norm.invert(EVENTS.muons / 1e4), norm.invert(jnp.asarray(EVENTS.muons) / 1e4)),
    ]:
        assert host.dtype == np.float32
        np.testing.assert_allclose(device, host, rtol=2e-5, atol=1e-6)


def test_any_leading_shape_is_kept():
    muons = np.ones((2, 5, 3), np.float32)
    norm = fit_feature_norm(EVENTS.muons)
    assert norm.apply(muons).shape == norm.invert(muons).shape == (2, 5, 3)
    assert norm.apply(jnp.asarray(muons)).shape == (2, 5, 3)
    assert normalise_conditions(np.ones((2, 5, 4))).shape == (2, 5, 4)


def test_slant_depth_is_the_formula_of_the_specification():
    depth, zenith = np.meshgrid([1000.0, 1950.0, 2800.0], [0.0, 0.5, 1.2, np.pi / 2])
    cosine, radius = np.cos(zenith), 6374134.0
    square = 2 * radius * depth + cosine**2 * (radius - depth) ** 2 - depth**2
    expected = np.sqrt(square) - (radius - depth) * cosine
    np.testing.assert_allclose(slant_depth(depth, zenith), expected, rtol=1e-7)
    np.testing.assert_allclose(slant_depth(depth, 0 * zenith), depth, rtol=1e-12)
    # float32 keeps its digits although the lengths are those of the earth
    single = slant_depth(depth.astype(np.float32), zenith.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4)


def test_slant_replaces_the_depth_alone():
    vertical, slant = (
        normalise_conditions(EVENTS.primaries, kind) for kind in ("vertical", "slant")
    )
    np.testing.assert_array_equal(vertical[:, :3], slant[:, :3])
    assert (slant[:, 3] >= vertical[:, 3] * (1 - 1e-6)).all()
    with pytest.raises(ValueError, match="depth_kind"):
        normalise_conditions(EVENTS.primaries, "deep")


def test_standardized_features_have_unit_spread_and_no_preferred_direction():
    norm = fit_feature_norm(EVENTS.muons)
    features = norm.apply(EVENTS.muons.astype(np.float64))
    assert features[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert features[:, 0].std() == pytest.approx(1)
    assert np.mean(features[:, 1:] ** 2) == pytest.approx(1)
    assert norm.std[1] == norm.std[2]
    assert norm.mean[1:] == (0, 0)
    turned = EVENTS.muons[:, [0, 2, 1]] * [1, -1, 1]
    assert fit_feature_norm(turned).std == pytest.approx(norm.std)


@pytest.mark.parametrize("kind", ["original", "standardized"])
def test_a_norm_is_inverted_and_stored(kind):
    norm = fit_feature_norm(EVENTS.muons, kind)
    assert FeatureNorm.from_json(norm.to_json()) == norm
    muons = EVENTS.muons.astype(np.float64)
    np.testing.assert_allclose(norm.invert(norm.apply(muons)), muons, rtol=1e-5)
    if kind == "original":
        np.testing.assert_array_equal(norm.apply(muons), normalise_muons(muons))


def test_padding_stays_finite():
    padding = np.array([[1.0, 0.0, 0.0]], np.float32)
    assert np.isfinite(fit_feature_norm(EVENTS.muons).apply(padding)).all()


def test_the_norm_leaves_out_muons_that_stand_for_none():
    with_zero = np.concatenate([EVENTS.muons, np.zeros((50, 3), np.float32)])
    assert fit_feature_norm(with_zero) == fit_feature_norm(EVENTS.muons)


def test_wrong_norms_are_refused():
    with pytest.raises(ValueError, match="at least 2 muons"):
        fit_feature_norm(EVENTS.muons[:1])
    with pytest.raises(ValueError, match="feature_norm: expected one of original"):
        FeatureNorm("other")
    with pytest.raises(ValueError, match="spreads > 0"):
        FeatureNorm("standardized", std=(1, 0, 1))
    with pytest.raises(ValueError, match="expected kind, mean"):
        FeatureNorm.from_json('{"kind": "original"}')


def test_log_radius_keeps_what_is_physical():
    norm = fit_feature_norm(EVENTS.muons, "log_radius")
    muons = EVENTS.muons.astype(np.float64)
    features = norm.apply(muons)
    assert features.shape == (len(muons), norm.num_features) == (len(muons), 2)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(features.std(axis=0), 1)
    back = norm.invert(features)
    radius = np.hypot(muons[:, 1], muons[:, 2])
    np.testing.assert_allclose(back[:, 1], radius, rtol=1e-9)
    np.testing.assert_array_equal(back[:, 2], 0)
    angle = np.arctan2(muons[:, 2], muons[:, 1])
    # the epsilon of 1e-4 GeV is not undone
    np.testing.assert_allclose(norm.invert(features, angle), muons, atol=1.01e-4)
    assert FeatureNorm.from_json(norm.to_json()) == norm
    device = norm.apply(jnp.asarray(EVENTS.muons))
    np.testing.assert_allclose(device, features, rtol=1e-4, atol=1e-4)


def test_log_radius_is_finite_on_the_axis():
    norm = fit_feature_norm(EVENTS.muons, "log_radius")
    assert np.isfinite(norm.apply(np.array([[1.0, 0.0, 0.0]], np.float32))).all()
