"""Fields: values against formulas and recorded numbers, names and hashes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.track_extrapolator.physics.field import (
    GaussFit,
    GaussSeed,
    GridField,
    UniformField,
    field_hash,
    sample_on_grid,
)
from tests.track_extrapolator.reference import GaussSeedReference, GridReference
from tests.track_extrapolator.small_fields import in_float64, multipole, toy_grid


def points(count, seed=0, scale=(4500.0, 4500.0, 8000.0)):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (count, 3)) * scale + (0.0, 0.0, 5000.0)


def test_gauss_seed_agrees_with_its_formula():
    where = points(100)
    expected = [GaussSeedReference(-1.0)(*p) for p in where]
    found = in_float64(GaussSeed(polarity=-1.0), where)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-16)


def test_gauss_seed_has_the_axis_integral_of_the_original():
    z = np.linspace(3000.0, 7000.0, 4001)
    by = in_float64(GaussSeed(), np.stack([0 * z, 0 * z, z], axis=1))[:, 1]
    assert np.trapezoid(by, z) * 1e-3 == pytest.approx(3.597, abs=5e-4)


def test_gauss_fit_follows_the_axis_profile_of_twodip(data_dir):
    profile = np.load(data_dir("track_extrapolator") / "twodip_axis_integrals.npz")
    z, by = profile["z_grid"], profile["By_on_axis"]
    fitted = (z >= 2000.0) & (z <= 10000.0)
    found = in_float64(GaussFit(), np.stack([0 * z, 0 * z, z], axis=1))[:, 1]
    # that file has the opposite sign
    assert np.sqrt(np.mean((found + by)[fitted] ** 2)) == pytest.approx(
        0.0107, abs=2e-4
    )


@pytest.mark.parametrize(
    ("outside", "key"), [("clamp", "B"), ("zero", "B_zero_outside")]
)
def test_grid_reproduces_recorded_values(golden_dir, outside, key):
    golden = np.load(golden_dir("track_extrapolator") / "field_eval__grid.npz")
    meta = json.loads(str(golden["meta"]))
    config, tolerance = meta["config"], meta["tolerance"][key]
    field = GridField.from_map(
        golden["input/B"], config["min"], config["d"], outside=outside
    )
    where = golden["input/points"]
    np.testing.assert_allclose(
        field.evaluate(where), golden[f"output/{key}"], **tolerance
    )
    np.testing.assert_array_equal(field.contains(where), golden["output/inside"])


def test_grid_reproduces_recorded_values_in_float32(golden_dir):
    golden = np.load(golden_dir("track_extrapolator") / "field_eval__grid.npz")
    config = json.loads(str(golden["meta"]))["config"]
    field = GridField.from_map(golden["input/B"], config["min"], config["d"])
    found = np.stack(field(*golden["input/points"].T.astype(np.float32)), axis=-1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, golden["output/B_float32"], rtol=0, atol=3e-6)


def test_grid_agrees_with_interpolation_axis_by_axis():
    values, field = toy_grid()
    where = points(200, scale=(150.0, 100.0, 200.0)) - (0.0, 0.0, 4920.0)
    oracle = GridReference(values, field.minimum, field.spacing)
    expected = [oracle(*p) for p in where]
    np.testing.assert_allclose(field.evaluate(where), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("outside", ["clamp", "zero"])
@pytest.mark.parametrize("z", [-40.0, 10.0, 47.0, 160.0, 161.0])
def test_grid_plane_shared_by_many_tracks_gives_the_same_field(outside, z):
    _, field = toy_grid(outside=outside)
    x, y, _ = points(500, scale=(150.0, 100.0, 1.0)).T
    with jax.enable_x64(True):
        field = jax.tree.map(jnp.asarray, field)
        alone = field.at(field.plane(jnp.asarray(z)), x, y)
        shared = field.at(field.plane(jnp.asarray(z), shared_by=500), x, y)
    for a, b in zip(alone, shared, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_grid_keeps_only_components_that_do_not_vanish():
    values, field = toy_grid(components=2)
    assert field.components == (0, 1)
    assert field.values.shape == (6, 4, 5, 2)
    assert not field.evaluate(points(10))[:, 2].any()
    assert GridField.from_map(0 * values, [0] * 3, [1] * 3).components == (1,)


def test_grid_polarity_flips_all_components():
    values, field = toy_grid()
    flipped = GridField.from_map(values, field.minimum, field.spacing, polarity=-1.0)
    where = points(20)
    np.testing.assert_array_equal(flipped.evaluate(where), -field.evaluate(where))


def test_grid_refuses_wrong_arrays():
    with pytest.raises(ValueError, match=r"\[nz, ny, nx, 3\]"):
        GridField.from_map(np.zeros((3, 3, 3)), [0] * 3, [1] * 3)
    with pytest.raises(ValueError, match="outside: expected 'clamp' or 'zero'"):
        GridField.from_map(np.zeros((3, 3, 3, 3)), [0] * 3, [1] * 3, outside="nan")


def test_multipole_agrees_with_its_formula():
    field = multipole()
    where = points(100, scale=(60.0, 50.0, 400.0)) - (0.0, 0.0, 4900.0)
    u = np.clip(where[:, 0] / 40.0, -1.0, 1.0)
    v = np.clip(where[:, 1] / 30.0, -1.0, 1.0)
    expected = 0.0
    for k, (a, b) in enumerate(field.terms):
        coefficient = np.interp(where[:, 2], field.z, field.coefficients[:, k])
        expected = expected - coefficient * u**a * v**b
    found = in_float64(field, where)
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-12, atol=1e-13)
    assert not found[:, [0, 2]].any()


def test_multipole_takes_one_z_for_all_tracks():
    field = multipole()
    x, y, _ = points(20, scale=(60.0, 50.0, 1.0)).T
    with jax.enable_x64(True):
        one = field(x, y, 33.0)[1]
        each = field(x, y, np.full(20, 33.0))[1]
    np.testing.assert_allclose(one, each, rtol=1e-13)


def test_sampling_on_a_grid_keeps_the_values_at_the_nodes():
    field = sample_on_grid(
        GaussSeed(), (-200.0, -100.0, 4000.0), (100.0, 100.0, 500.0), (5, 3, 4)
    )
    nodes = np.array([[-200.0, 0.0, 4500.0], [100.0, 100.0, 5500.0]])
    np.testing.assert_allclose(
        field.evaluate(nodes), in_float64(GaussSeed(), nodes), rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize(
    "field", [UniformField(by=1.0), GaussSeed(), GaussFit(), multipole(), toy_grid()[1]]
)
def test_fields_pass_through_jit_and_keep_shape_and_dtype(field):
    x = jnp.linspace(-30.0, 30.0, 6).reshape(2, 3)
    evaluate = jax.jit(lambda field, x, y, z: field(x, y, z))
    for z in (jnp.full((2, 3), 50.0), 50.0):
        components = evaluate(field, x, 0.5 * x, z)
        assert all(b.shape == (2, 3) and b.dtype == jnp.float32 for b in components)


def test_hash_depends_on_class_settings_and_values():
    values, grid = toy_grid()
    again = GridField.from_map(values, grid.minimum, grid.spacing)
    changed = values.copy()
    changed[0, 0, 0, 0] += 1e-9
    others = [
        GaussSeed(),
        GaussSeed(-1.0),
        GaussFit(),
        multipole(),
        GridField.from_map(changed, grid.minimum, grid.spacing),
        GridField.from_map(values, grid.minimum, grid.spacing, outside="zero"),
        GridField.from_map(values, grid.minimum + 1.0, grid.spacing),
    ]
    hashes = [field_hash(field) for field in (grid, *others)]
    assert len(set(hashes)) == len(hashes)
    assert field_hash(again) == field_hash(grid)
    assert field_hash(jax.tree.map(lambda a: a, grid)) == field_hash(grid)
    assert field_hash(GaussSeed(1.0)) == field_hash(GaussSeed())
