"""StableHLO programs predict as the surrogate does, in 32 and 64 bit sessions."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

from jaxphys.track_extrapolator.inference.export import stablehlo
from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.physics.field import GridField
from tests.track_extrapolator.surrogates import random_columns, random_surrogate


@pytest.mark.parametrize("n_in", [5, 6, 7])
@pytest.mark.parametrize("name", par.NAMES)
def test_program_agrees_within_float32(name, n_in):
    surrogate = random_surrogate(name, n_in)
    columns, planes = random_columns(surrogate, 17)
    columns = columns.astype(np.float32)
    if planes:
        planes = {"z_in": columns[:, 5], "z_out": columns[:, 5] + columns[:, 6]}
    expected = surrogate.predict(columns[:, :5], **planes)
    got = np.asarray(stablehlo.load(stablehlo.export(surrogate))(columns))
    assert got.dtype == np.float32
    # half a unit in the last place of metres, and of the network before its scaling
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=2e-4)


@pytest.mark.parametrize("name", ["kick", "born", "map"])
def test_inside_is_float64(name):
    surrogate = random_surrogate(name)
    columns = random_columns(surrogate, 40)[0].astype(np.float32)
    data = stablehlo.export(surrogate, dtype="float64")
    exact = surrogate.predict(columns, dtype="float64")
    got = np.asarray(stablehlo.load(data)(columns))
    np.testing.assert_array_equal(got, exact.astype(np.float32))


@pytest.mark.parametrize("enabled", [True, False])
def test_program_runs_with_any_setting_of_x64(enabled):
    surrogate = random_surrogate("born")
    columns = random_columns(surrogate, 3)[0]
    run = stablehlo.load(stablehlo.export(surrogate))
    with jax.enable_x64(enabled):
        got = np.asarray(run(columns))
    np.testing.assert_allclose(got, surrogate.predict(columns), rtol=1e-6, atol=1e-3)


def test_file_serves_every_batch_size(tmp_path):
    surrogate = random_surrogate()
    path = tmp_path / "net.stablehlo"
    data = stablehlo.export(surrogate, path)
    assert path.read_bytes() == data
    run = stablehlo.load(path)
    columns = random_columns(surrogate, 100)[0]
    whole = np.asarray(run(columns))
    for count in (1, 2, 37):
        # the last rows of a batch that no vector is full of round differently
        some = np.asarray(run(columns[:count]))
        np.testing.assert_allclose(some, whole[:count], rtol=1e-6)


def test_program_is_made_for_cpu_and_cuda():
    exported = jax_export.deserialize(bytearray(stablehlo.export(random_surrogate())))
    assert exported.platforms == ("cpu", "cuda")


def test_program_holds_the_map_of_its_field():
    rng = np.random.default_rng(0)
    field = GridField.from_map(
        rng.normal(size=(5, 3, 4, 3)), (-2000, -2000, 2500), (2000, 2000, 1200)
    )
    for name in par.NEEDS_FIELD:
        surrogate = random_surrogate(name, field=field)
        columns = random_columns(surrogate, 5)[0].astype(np.float32)
        got = np.asarray(stablehlo.load(stablehlo.export(surrogate))(columns))
        np.testing.assert_allclose(
            got, surrogate.predict(columns), rtol=2e-7, atol=2e-4
        )
