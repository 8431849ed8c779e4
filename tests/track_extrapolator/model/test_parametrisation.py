"""Parametrisations invert exactly and follow the order of their physics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.physics.field import (
    GaussFit,
    GaussSeed,
    GridField,
    UniformField,
)
from jaxphys.track_extrapolator.physics.propagate import propagate

Z_IN, Z_OUT = 3000.0, 7000.0


def tracks(count=40, p_gev=None, seed=0):
    rng = np.random.default_rng(seed)
    high = np.array([900, 750, 0.3, 0.25])
    p = np.exp(rng.uniform(np.log(2), np.log(100), count)) if p_gev is None else p_gev
    qop = rng.choice([-1, 1], count) / (1000 * p)
    return np.column_stack([rng.uniform(-high, high, (count, 4)), qop])


def transported(field, state, z_in, z_out):
    return np.asarray(propagate(field, state, z_in, z_out))[:, :4]


def in_float64(function, *args, **settings):
    with jax.enable_x64(True):
        return np.asarray(function(*args, **settings))


@pytest.mark.parametrize("name", par.NAMES)
def test_decode_inverts_encode(name):
    field, state = GaussSeed(), tracks()
    truth = transported(field, state, Z_IN, Z_OUT)
    args = (Z_IN, Z_OUT, field)
    target = par.targets(name, state, truth, *args)
    back = in_float64(par.decode, name, state, target, *args)
    np.testing.assert_allclose(back, truth, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", ["straight", "kick", "born"])
def test_no_charge_gives_exactly_the_straight_line(name):
    state = tracks()
    state[:, 4] = 0.0
    target = np.random.default_rng(1).normal(size=(len(state), 4)) * 1e3
    line = state[:, :4].copy()
    line[:, :2] += state[:, 2:4] * (Z_OUT - Z_IN)
    with jax.enable_x64(True):
        got = par.decode(name, jnp.asarray(state), target, Z_IN, Z_OUT, GaussSeed())
    if name == "straight":
        line = line + target
    np.testing.assert_array_equal(np.asarray(got), line)


def test_targets_refuse_tracks_without_charge():
    state = tracks()
    state[7, 4] = 0.0
    with pytest.raises(ValueError, match="got 0 in 1 rows, the first is row 7"):
        par.targets("kick", state, state[:, :4], Z_IN, Z_OUT)
    par.targets("straight", state, state[:, :4], Z_IN, Z_OUT)


@pytest.mark.parametrize(("name", "order"), [("kick", 1), ("born", 2), ("map", 1)])
def test_target_stays_finite_as_momentum_grows(name, order):
    field = GaussSeed()
    approximate = GaussSeed(peak_tesla=0.9)
    sizes = []
    for p_gev in (50.0, 500.0):
        state = tracks(p_gev=p_gev)
        truth = transported(field, state, Z_IN, Z_OUT)
        chosen = approximate if name == "map" else field
        target = par.targets(name, state, truth, Z_IN, Z_OUT, chosen)
        sizes.append(np.median(np.abs(target[:, 0])))
        residual = target * in_float64(par.scale, name, state[:, 4])[:, None]
        sizes.append(np.median(np.abs(residual[:, 0])))
    assert sizes[2] == pytest.approx(sizes[0], rel=0.1)
    assert sizes[1] / sizes[3] == pytest.approx(10**order, rel=0.1)


def test_first_order_kick_of_a_constant_field_is_a_parabola():
    state = tracks(p_gev=1e6)
    kick = in_float64(
        par.first_order_kick, UniformField(by=1.0), state, Z_IN, Z_OUT, nodes=4
    )
    tx, ty, qop = state[:, 2], state[:, 3], state[:, 4]
    kappa = 0.299792458 * qop * np.sqrt(1 + tx**2 + ty**2)
    dz = Z_OUT - Z_IN
    np.testing.assert_allclose(kick[:, 2], -kappa * (1 + tx**2) * dz, rtol=1e-12)
    np.testing.assert_allclose(kick[:, 0], kick[:, 2] * dz / 2, rtol=1e-12)
    np.testing.assert_allclose(kick[:, 3], -kappa * tx * ty * dz, rtol=1e-12)


def test_all_field_components_bend_as_in_the_equation_of_motion():
    field = UniformField(bx=0.3, by=-0.7, bz=0.4)
    state = tracks(p_gev=1e5)
    exact = transported(field, state, Z_IN, Z_OUT)
    known = in_float64(par.baseline, "born", state, Z_IN, Z_OUT, field)
    line = in_float64(par.straight_line, state, Z_IN, Z_OUT)
    missed, kick = np.abs(exact - known), np.abs(exact - line)
    assert (missed.max(axis=0) < 1e-3 * kick.max(axis=0)).all()


def test_eight_nodes_suffice_on_a_smooth_field_and_a_map_gets_forty():
    smooth = GaussSeed()
    grid = GridField.from_map(np.ones((2, 2, 2, 3)), (0, 0, 0), (1, 1, 1))
    assert par.default_nodes(smooth) == par.default_nodes(GaussFit()) == 8
    assert par.default_nodes(grid) == 40
    state = tracks()
    few, many = (
        in_float64(par.first_order_kick, smooth, state, Z_IN, Z_OUT, nodes=n)
        for n in (8, 40)
    )
    assert np.abs(few - many)[:, :2].max() < 1e-3  # mm


@pytest.mark.parametrize("name", ["straight", "kick", "born", "map"])
def test_planes_per_track_equal_shared_planes(name):
    field, state = GaussSeed(), tracks()
    shared = in_float64(par.baseline, name, state, Z_IN, Z_OUT, field)
    planes = np.full(len(state), Z_IN), np.full(len(state), Z_OUT)
    each = in_float64(par.baseline, name, state, *planes, field)
    np.testing.assert_allclose(each, shared, rtol=1e-12, atol=1e-9)


def test_backward_planes_are_legal():
    field, state = GaussSeed(), tracks(p_gev=1000.0)
    truth = transported(field, state, Z_OUT, Z_IN)
    known = in_float64(par.baseline, "born", state, Z_OUT, Z_IN, field)
    assert np.abs(known - truth)[:, 0].max() < 0.5


def test_map_takes_the_number_of_steps_from_the_longest_distance():
    assert par.map_steps(3000.0, 7000.0, 100.0) == 40
    assert par.map_steps(np.zeros(2), np.array([150.0, -250.0]), 100.0) == 3
    assert par.map_steps(0.0, 0.0, 100.0) == 1


def test_names_and_fields_are_checked():
    state = tracks(2)
    with pytest.raises(ValueError, match="expected one of absolute"):
        par.scale("kicks", state[:, 4])
    with pytest.raises(ValueError, match="born: expected a field, got none"):
        par.baseline("born", state, Z_IN, Z_OUT)
