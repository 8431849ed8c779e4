"""The propagator: recorded numbers, exact physics, an independent integrator."""

import json

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.track_extrapolator.data.dataset_files import read_pairs
from jaxphys.track_extrapolator.data.field_files import make_field
from jaxphys.track_extrapolator.physics.field import (
    GaussSeed,
    GridField,
    UniformField,
)
from jaxphys.track_extrapolator.physics.propagate import (
    neglect_field_gradient,
    propagate,
    rk4_transport,
    straight_line,
    track_ok,
)
from jaxphys.track_extrapolator.simulation import sample_states
from tests.track_extrapolator import reference
from tests.track_extrapolator.helix import helix

SEED = GaussSeed()
MIRROR = np.array([-1.0, 1.0, -1.0, 1.0, -1.0])


def states(count, seed=0):
    return sample_states(seed, 0, count)[0]


def toy_grid(size=4, components=3):
    rng = np.random.default_rng(5)
    values = np.zeros((9, size, size, 3))
    values[..., :components] = rng.normal(size=(9, size, size, components)) / 2.0
    distance = 8000.0 / (size - 1)
    return values, (-4000.0, -4000.0, 2500.0), (distance, distance, 600.0)


@pytest.mark.parametrize(
    "variant", ["gauss_fwd", "gauss_back", "gauss_oddstep", "grid_fwd", "grid_back"]
)
def test_recorded_propagations_are_reproduced(golden_dir, variant):
    golden = np.load(golden_dir("track_extrapolator") / f"propagate__{variant}.npz")
    meta = json.loads(str(golden["meta"]))
    config, tolerance = meta["config"], meta["tolerance"]
    if config["field"] == "gauss_seed":
        field = GaussSeed(config["polarity"])
    else:
        field = GridField.from_map(golden["input/B"], config["min"], config["d"])
    found, jacobian = propagate(
        field,
        golden["input/state"],
        config["z0"],
        config["z1"],
        config["step"],
        return_jacobian=True,
    )
    np.testing.assert_allclose(found, golden["output/state"], **tolerance["state"])
    if config.get("jacobian_first"):
        expected = golden["output/jacobian"]
        rule = tolerance["jacobian"]
        limit = rule["rtol"] * np.abs(expected)
        limit += rule["atol"] * np.array(rule["column_scale"])
        assert np.all(np.abs(jacobian[: len(expected)] - expected) <= limit)


def test_the_scheme_is_that_of_a_per_track_rk4():
    start = states(5)
    expected = reference.transport(
        reference.GaussSeedReference(), start, 3000.0, 7000.0, 10.0
    )
    found = propagate(SEED, start, 3000.0, 7000.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [4, 3])  # fewer nodes than tracks: a shared plane
def test_grid_propagation_agrees_with_a_per_track_rk4(size):
    values, minimum, spacing = toy_grid(size)
    start = states(6)
    expected = reference.transport(
        reference.GridReference(values, minimum, spacing), start, 3000.0, 7000.0, 50.0
    )
    field = GridField.from_map(values, minimum, spacing)
    found = propagate(field, start, 3000.0, 7000.0, 50.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_neutral_tracks_are_straight_lines():
    start = states(50)
    start[:, 4] = 0.0
    found = propagate(SEED, start, 3000.0, 7000.0)
    np.testing.assert_array_equal(found[:, 2:], start[:, 2:])
    np.testing.assert_allclose(
        found, straight_line(start, 3000.0, 7000.0), rtol=0, atol=1e-10
    )


def test_charge_mirror_in_x_is_exact():
    start = states(200)
    found = propagate(SEED, start, 3000.0, 7000.0, 50.0)
    mirrored = propagate(SEED, start * MIRROR, 3000.0, 7000.0, 50.0)
    np.testing.assert_array_equal(mirrored, found * MIRROR)


def test_mirror_in_y_is_not_a_symmetry_of_the_toy_field():
    start = states(200)
    flip = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    found = propagate(SEED, start, 3000.0, 7000.0, 50.0)
    mirrored = propagate(SEED, start * flip, 3000.0, 7000.0, 50.0)
    assert np.abs(mirrored - found * flip)[:, :2].max() > 1.0


@pytest.mark.parametrize("by_tesla", [0.7, -0.7, 0.0])
def test_constant_field_gives_a_helix(by_tesla):
    start = states(100)
    found = propagate(UniformField(by=by_tesla), start, 3000.0, 5000.0, 5.0)
    exact = helix(start, 3000.0, 5000.0, by_tesla)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)


def test_helix_has_the_radius_of_its_momentum():
    p_mev, by_tesla = 3000.0, 1.2
    state = np.array([[0.0, 0.0, 0.0, 0.0, 1.0 / p_mev]])
    radius = p_mev / (0.299792458 * by_tesla)
    x = helix(state, 0.0, 1000.0, by_tesla)[0, 0]
    assert x == pytest.approx(-(radius - np.sqrt(radius**2 - 1000.0**2)), rel=1e-12)
    assert np.isnan(helix(state, 0.0, 1.01 * radius, by_tesla)[0, 0])


def test_the_other_components_bend_as_the_equation_says():
    # weak field and parallel track: the change of slope is the derivative
    start = np.array([[0.0, 0.0, 0.2, -0.1, 1e-3]])
    field = np.array([0.3, -0.2, 0.5])
    expected = reference.derivative(lambda *_: field, 0.0, start[0])
    found = propagate(UniformField(*field.tolist()), start, 0.0, 1e-3, 1.0)
    np.testing.assert_allclose((found - start)[0] / 1e-3, expected, rtol=1e-6)


def test_the_order_is_four():
    start = states(300)
    truth = propagate(SEED, start, 3000.0, 7000.0, 5.0)
    errors = [
        np.abs(propagate(SEED, start, 3000.0, 7000.0, step) - truth)[:, :2].mean()
        for step in (400.0, 200.0, 100.0)
    ]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((ratios > 13.0) & (ratios < 20.0)), ratios


def test_forward_and_backward_closes():
    start = states(300)
    there = propagate(SEED, start, 3000.0, 7000.0)
    back = propagate(SEED, there, 7000.0, 3000.0)
    assert np.abs(back - start)[:, :2].max() < 1e-6


def test_forty_steps_have_a_mean_error_below_a_nanometre():
    start = states(20_000)
    truth = propagate(SEED, start, 3000.0, 7000.0, 20.0)
    found = propagate(SEED, start, 3000.0, 7000.0, 100.0)
    assert np.hypot(*(found - truth)[:, :2].T).mean() < 1e-6


def test_seed_field_data_and_jacobians_are_reproduced(data_dir):
    data = np.load(data_dir("track_extrapolator") / "seedfield_dev_20k.npz")
    found, jacobian = propagate(
        SEED, data["X"][:500], 3000.0, 7000.0, return_jacobian=True
    )
    np.testing.assert_allclose(found[:, :4], data["Y"][:500], rtol=0, atol=1e-8)
    np.testing.assert_allclose(jacobian, data["J"], rtol=1e-6, atol=1e-12)


def test_multipole_grid_data_are_reproduced(data_dir):
    folder = data_dir("track_extrapolator")
    data = np.load(folder / "multipole_grid_dev_3k.npz")
    field = make_field("multipole_grid", folder / "multipole_v8r1.npz")
    found = propagate(field, data["X"], 3000.0, 7000.0, 20.0)
    assert np.abs(found[:, :4] - data["Y"]).max() < 1e-3


def test_the_real_field_map_is_reproduced_to_its_multipole_approximation(data_dir):
    folder = data_dir("track_extrapolator")
    pairs = read_pairs(folder / "plane_ref_v8r1.npz")
    field = make_field("multipole", folder / "multipole_v8r1.npz")
    found = propagate(field, pairs.state, pairs.z_in, pairs.z_out, 100.0)
    assert np.median(np.abs(found[:, 0] - pairs.target[:, 0])) < 2.4


def test_jacobian_agrees_with_finite_differences():
    start = states(4)
    values, minimum, spacing = toy_grid()
    field = GridField.from_map(values, minimum, spacing)
    _, jacobian = propagate(field, start, 3000.0, 3500.0, 50.0, return_jacobian=True)
    np.testing.assert_array_equal(jacobian[:, 4], np.tile(np.eye(5)[4], (4, 1)))
    for column, delta in enumerate((1e-2, 1e-2, 1e-6, 1e-6, 1e-9)):
        shift = delta * np.eye(5)[column]
        high, low = (
            propagate(field, start + s, 3000.0, 3500.0, 50.0) for s in (shift, -shift)
        )
        difference = (high - low) / (2.0 * delta)
        scale = np.abs(difference).max()
        np.testing.assert_allclose(
            jacobian[:, :, column], difference, rtol=1e-5, atol=1e-6 * scale
        )


def test_jacobian_without_field_gradient_has_identity_columns():
    _, jacobian = propagate(SEED, states(3), 3000.0, 7000.0, return_jacobian=True)
    reduced = neglect_field_gradient(jacobian)
    np.testing.assert_array_equal(
        reduced[:, :, :2], np.tile(np.eye(5)[:, :2], (3, 1, 1))
    )
    np.testing.assert_array_equal(reduced[:, :, 2:], jacobian[:, :, 2:])
    uniform = propagate(
        UniformField(by=1.0), states(3), 3000.0, 7000.0, return_jacobian=True
    )[1]
    np.testing.assert_allclose(neglect_field_gradient(uniform), uniform, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("return_jacobian", [False, True])
def test_any_number_of_tracks_is_accepted(count, return_jacobian):
    found = propagate(
        SEED, states(count), 3000.0, 7000.0, 100.0, return_jacobian=return_jacobian
    )
    state = found[0] if return_jacobian else found
    assert state.shape == (count, 5)
    assert state.dtype == np.float64
    if return_jacobian:
        assert found[1].shape == (count, 5, 5)


def test_a_row_does_not_depend_on_chunk_or_neighbours():
    start = states(100)
    whole = propagate(SEED, start, 3000.0, 7000.0, 50.0, chunk=128)
    for chunk in (16, 33):
        parts = propagate(SEED, start, 3000.0, 7000.0, 50.0, chunk=chunk)
        np.testing.assert_allclose(parts, whole, rtol=1e-13)
    shifted = propagate(SEED, start[3:], 3000.0, 7000.0, 50.0, chunk=128)
    np.testing.assert_array_equal(shifted, whole[3:])
    np.testing.assert_allclose(
        propagate(SEED, start[7:8], 3000.0, 7000.0, 50.0), whole[7:8], rtol=1e-14
    )


@pytest.mark.parametrize("grid", [False, True])
def test_planes_per_track_agree_with_one_track_at_a_time(grid):
    start = states(6)
    z0 = np.array([3000.0, 3000.0, 2500.0, 7000.0, 4000.0, 5000.0])
    z1 = np.array([7000.0, 3000.0, 3037.0, 3000.0, 4001.0, 5000.1])
    field, oracle = SEED, reference.GaussSeedReference()
    if grid:
        field, oracle = (
            GridField.from_map(*toy_grid()),
            reference.GridReference(*toy_grid()),
        )
    found = propagate(field, start, z0, z1, 37.0)
    expected = reference.transport(oracle, start, z0, z1, 37.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    jacobian = propagate(field, start, z0, z1, 37.0, return_jacobian=True)[1]
    np.testing.assert_array_equal(jacobian[1], np.eye(5))


def test_float32_stays_near_float64():
    start = states(200)
    exact = propagate(SEED, start, 3000.0, 7000.0, 100.0)
    single = propagate(SEED, start, 3000.0, 7000.0, 100.0, dtype="float32")
    assert np.abs(single - exact)[:, :2].max() < 5e-3
    assert np.abs(single - exact)[:, :2].max() > 0.0


def test_tracks_that_fail_keep_their_row_and_are_flagged():
    start = states(4)
    start[1, 4] = 1.0 / 20.0  # 20 MeV curls up inside the magnet
    start[2, 0] = 2e4
    start[3, 0] = np.nan
    found = propagate(SEED, start, 3000.0, 7000.0)
    assert found.shape == (4, 5)
    np.testing.assert_array_equal(track_ok(found), [True, False, False, False])


def test_ok_needs_finite_values_and_both_limits():
    state = np.zeros((6, 4))
    state[0] = (9999.0, -9999.0, 9.9, -9.9)
    state[1, 0], state[2, 1], state[3, 2], state[4, 3] = 10001.0, -10001.0, 11.0, -11.0
    state[5, 1] = np.inf
    np.testing.assert_array_equal(track_ok(state), [True] + [False] * 5)


def one_track(state):
    x, y, tx, ty, qop = state
    return jnp.stack(rk4_transport(SEED, x, y, tx, ty, qop, 3000.0, 7000.0, 40))


@pytest.mark.parametrize(
    "derivative", [jax.jacfwd, pytest.param(jax.jacrev, marks=pytest.mark.slow)]
)
def test_transport_is_traceable_with_jit_vmap_and_derivatives(derivative):
    expected, jacobian = propagate(
        SEED, states(3), 3000.0, 7000.0, 100.0, return_jacobian=True
    )
    with jax.enable_x64(True):
        start = jnp.asarray(states(3))
        found = jax.jit(jax.vmap(one_track))(start)
        slopes = jax.jit(jax.vmap(derivative(one_track)))(start)
    np.testing.assert_allclose(found, expected[:, :4], rtol=1e-12)
    np.testing.assert_allclose(slopes, jacobian[:, :4], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("grid", [False, True])
def test_transport_is_exported_with_any_batch_size(grid):
    field = GridField.from_map(*toy_grid()) if grid else SEED

    def transport(state):
        x, y, tx, ty, qop = state
        return jnp.stack(rk4_transport(field, x, y, tx, ty, qop, 3e3, 7e3, 40))

    with jax.enable_x64(True):
        (batch,) = jax.export.symbolic_shape("n")
        shape = jax.ShapeDtypeStruct((5, batch), np.float64)
        exported = jax.export.export(jax.jit(transport))(shape)
        found = exported.call(states(7).T)
    expected = propagate(field, states(7), 3e3, 7e3, 100.0)
    np.testing.assert_allclose(found.T, expected[:, :4], rtol=1e-11, atol=1e-9)


def test_transport_without_x64_keeps_float32():
    x, y, tx, ty, qop = jnp.asarray(states(3).T, jnp.float32)
    moved = rk4_transport(SEED, x, y, tx, ty, qop, 3000.0, 7000.0, 8)
    assert all(component.dtype == jnp.float32 for component in moved)


def test_one_compilation_serves_every_number_of_steps():
    compiled = 0

    class Counted(GaussSeed):
        def plane(self, z, shared_by=1):
            nonlocal compiled
            compiled += 1
            return super().plane(z, shared_by)

    jax.tree_util.register_static(Counted)
    field = Counted()
    for step in (100.0, 50.0, 10.0):
        propagate(field, states(10), 3000.0, 7000.0, step)
    assert compiled == 3  # the three planes of one traced step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": np.zeros((3, 4))}, r"state: expected \[N, 5\], got \(3, 4\)"),
        ({"z0": np.zeros(4)}, r"z0: expected a number or \[3\], got shape \(4,\)"),
        ({"z1": np.inf}, "z1: expected finite values in mm"),
        ({"step": 0.0}, "step: expected a length above 0 mm, got 0"),
        ({"dtype": "float16"}, "dtype: expected 'float64' or 'float32', got 'float16'"),
        ({"method": "euler"}, "method: expected one of rk4, .*got 'euler'"),
        ({"chunk": 0}, "chunk: expected 1 or more, got 0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"state": np.zeros((3, 5)), "z0": 0.0, "z1": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        propagate(SEED, **arguments)
