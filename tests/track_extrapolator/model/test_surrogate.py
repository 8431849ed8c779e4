"""Surrogates predict any batch with one result per track, exact physics included."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.model import surrogate as module
from jaxphys.track_extrapolator.model.model import TrackMLP
from jaxphys.track_extrapolator.model.surrogate import Surrogate, bucket_size
from jaxphys.track_extrapolator.physics.field import GaussSeed
from tests.track_extrapolator.surrogates import random_states, random_surrogate


def oracle(surrogate, state):
    """The prediction in numpy float64, silu and kick or absolute only."""
    x = (state - surrogate.input_mean) / surrogate.input_std
    for kernel, bias in surrogate.layers[:-1]:
        x = x @ kernel + bias
        x = x / (1 + np.exp(-x))
    kernel, bias = surrogate.layers[-1]
    target = (x @ kernel + bias) * surrogate.output_std + surrogate.output_mean
    if surrogate.parametrisation == "absolute":
        return target
    line = state[:, :4].copy()
    line[:, :2] += state[:, 2:4] * (surrogate.z_out - surrogate.z_in)
    return line + 1000 * state[:, 4:] * target


@pytest.mark.parametrize("name", ["absolute", "kick"])
def test_prediction_equals_numpy(name):
    surrogate, state = random_surrogate(name), random_states(33)
    expected = oracle(surrogate, state)
    got = surrogate.predict(state, dtype="float64")
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)
    error = np.abs(surrogate.predict(state) - expected)
    assert (error.max(axis=0) < [1e-3, 1e-3, 1e-6, 1e-6]).all()


@pytest.mark.parametrize("name", par.NAMES)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 1000])
def test_result_of_a_track_does_not_depend_on_the_batch(name, count):
    surrogate, state = random_surrogate(name), random_states(1000)
    everything = surrogate.predict(state, dtype="float64")
    got = surrogate.predict(state[:count], dtype="float64")
    assert got.shape == (count, 4)
    np.testing.assert_allclose(got, everything[:count], rtol=1e-13, atol=1e-9)


def test_any_batch_size_compiles_one_program_per_bucket():
    surrogate, state = random_surrogate(hidden=(3, 2, 3)), random_states(300)
    compiled: Any = module._predict
    before = compiled._cache_size()
    for count in (129, 140, 200, 256, 131):
        surrogate.predict(state[:count])
    dataclasses.replace(surrogate, z_out=6000.0).predict(state[:222])
    assert compiled._cache_size() == before + 1


def test_long_batches_are_cut_into_chunks(monkeypatch):
    surrogate, state = random_surrogate(), random_states(100)
    whole = surrogate.predict(state)
    monkeypatch.setattr(module, "CHUNK_CPU", 32)
    monkeypatch.setattr(module, "CHUNK_ACCELERATOR", 32)
    np.testing.assert_allclose(surrogate.predict(state), whole, rtol=1e-6, atol=1e-6)


def test_buckets_are_powers_of_two_up_to_the_chunk():
    assert [bucket_size(n, 64) for n in (1, 2, 3, 33, 64, 100)] == [1, 2, 4, 64, 64, 64]


@pytest.mark.parametrize("name", ["kick", "born"])
def test_no_charge_goes_exactly_straight(name):
    surrogate, state = random_surrogate(name), random_states(50)
    state[:, 4] = 0.0
    got = surrogate.predict(state)
    line = state[:, :4].copy()
    line[:, :2] += state[:, 2:4] * 4000.0
    # a fused multiply-add rounds once where numpy rounds twice
    np.testing.assert_allclose(got, line, rtol=0, atol=1e-12)
    louder = dataclasses.replace(surrogate, output_mean=np.full(4, 1e9))
    np.testing.assert_array_equal(got, louder.predict(state))


@pytest.mark.parametrize("name", par.NAMES)
def test_jacobian_equals_finite_differences(name):
    surrogate, state = random_surrogate(name), random_states(6)
    jacobian = surrogate.jacobian(state, dtype="float64")
    assert jacobian.shape == (6, 4, 5)
    for column, step in enumerate((0.1, 0.1, 1e-5, 1e-5, 1e-8)):
        shift = np.zeros(5)
        shift[column] = step
        ends = [surrogate.predict(state + s * shift, dtype="float64") for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        scale = np.abs(slope).max(axis=0)
        assert (np.abs(jacobian[:, :, column] - slope) < 1e-4 * scale + 1e-9).all()


def test_float32_jacobian_is_close_to_float64():
    surrogate, state = random_surrogate(), random_states(20)
    exact = surrogate.jacobian(state, dtype="float64")
    error = np.abs(surrogate.jacobian(state) - exact)
    assert (error.max(axis=0) < 1e-5 * np.abs(exact).max(axis=0)).all()


def test_other_planes_than_trained_are_refused():
    surrogate, state = random_surrogate(), random_states(3)
    surrogate.predict(state, z_in=3000.0, z_out=np.full(3, 7000.0))
    with pytest.raises(ValueError, match=r"z_out: .* trained at 7000.0 mm .* 7001.0"):
        surrogate.predict(state, z_out=7001.0)
    with pytest.raises(ValueError, match=r"z_in: .* 2999.0 mm"):
        surrogate.predict(state, z_in=np.array([3000.0, 2999.0, 3000.0]))


@pytest.mark.parametrize("name", ["kick", "born", "map"])
def test_uniform_planes_are_inputs(name):
    surrogate, state = random_surrogate(name, n_in=7), random_states(4)
    z_in, z_out = np.array([2900.0, 3000, 3100, 3000]), np.full(4, 7000.0)
    together = surrogate.predict(state, z_in, z_out, dtype="float64")
    for row in range(4):
        alone = surrogate.predict(
            state[row : row + 1], z_in[row], z_out[row], dtype="float64"
        )
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-7, atol=1e-3)
    nominal = surrogate.predict(state, dtype="float64")
    assert (nominal[[0, 2]] != together[[0, 2]]).any()


def test_six_inputs_see_the_trained_distance():
    wide = random_surrogate("absolute", n_in=6)
    kernel, bias = wide.layers[0]
    narrow = dataclasses.replace(
        wide,
        layers=((kernel[:5], bias), *wide.layers[1:]),
        input_mean=wide.input_mean[:5],
        input_std=wide.input_std[:5],
        input_names=wide.input_names[:5],
    )
    state = random_states(9)
    np.testing.assert_allclose(wide.predict(state), narrow.predict(state), rtol=1e-6)


def test_variables_round_trip():
    model: Any = TrackMLP((6, 5), "tanh")
    variables = model.init(jax.random.key(0), np.ones((1, 5), np.float32))
    surrogate = Surrogate.from_variables(variables, "tanh")
    assert surrogate.hidden == (6, 5)
    assert surrogate.parameter_count == 6 * 6 + 7 * 5 + 6 * 4
    jax.tree.map(np.testing.assert_array_equal, surrogate.variables(), variables)
    x = random_states(8).astype(np.float32)
    np.testing.assert_allclose(
        surrogate.predict(x), model.apply(variables, x), rtol=1e-4, atol=1e-5
    )


def test_given_statistics_replace_those_of_the_variables():
    variables = TrackMLP(()).init(jax.random.key(0), np.ones((1, 5), np.float32))
    mean = np.full(4, 1 / 3)
    surrogate = Surrogate.from_variables(variables, "silu", output_mean=mean)
    np.testing.assert_array_equal(surrogate.output_mean, mean)


def test_empty_hidden_is_linear():
    surrogate, state = random_surrogate("absolute", hidden=()), random_states(3)
    np.testing.assert_allclose(
        surrogate.predict(state), oracle(surrogate, state), rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "mish"}, "surrogate.activation: expected one of tanh"),
        ({"parametrisation": "born"}, "born: expected a field"),
        ({"parametrisation": "other"}, "expected one of absolute"),
        ({"input_names": ("x", "y")}, "input_names: expected one of"),
        ({"dz_mode": "uniform"}, "expected z_in and dz among the inputs"),
        ({"dz_mode": "free"}, "dz_mode: expected one of"),
        ({"input_mean": np.zeros(4)}, r"input_mean: expected shape \(5,\)"),
        ({"output_std": np.array([1, 1, 0, 1.0])}, "output_std: .* above 0"),
        ({"output_mean": np.full(4, np.nan)}, "output_mean: expected finite"),
        ({"layers": ()}, "last layer: expected 4 outputs"),
        ({"layers": ((np.ones((5, 3)), np.ones(3)),)}, "expected 4 outputs, got 3"),
        ({"layers": ((np.ones((4, 4)), np.ones(4)),)}, "layer 0: expected kernel"),
        ({"layers": ((np.full((5, 4), np.inf), np.ones(4)),)}, "finite weights"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(random_surrogate(), **change)


def test_wrong_states_and_dtypes_are_refused():
    surrogate = random_surrogate()
    with pytest.raises(ValueError, match=r"state: expected shape \[N, 5\], got \(3, 6"):
        surrogate.predict(np.ones((3, 6)))
    with pytest.raises(ValueError, match="dtype: expected one of"):
        surrogate.predict(np.ones((3, 5)), dtype="float16")
    with pytest.raises(ValueError, match=r"z_in: expected a number or \[3\]"):
        surrogate.predict(np.ones((3, 5)), z_in=np.ones(2))


def test_born_nodes_follow_the_field():
    assert random_surrogate("born").born_nodes == 8
    assert random_surrogate("born", born_nodes=12).born_nodes == 12
    assert random_surrogate("kick", field=GaussSeed()).born_nodes == 8
