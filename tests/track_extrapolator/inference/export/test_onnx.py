"""ONNX models predict as the surrogate does."""

import sys

import numpy as np
import pytest

from jaxphys.track_extrapolator.inference.export import onnx
from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.physics.field import GaussFit, GaussSeed, UniformField
from tests.track_extrapolator.surrogates import random_columns, random_surrogate

WRITABLE = [name for name in par.NAMES if name != "map"]


@pytest.fixture(autouse=True)
def _extra():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("n_in", [5, 6, 7])
@pytest.mark.parametrize("name", WRITABLE)
def test_float64_model_agrees_to_rounding(name, n_in):
    surrogate = random_surrogate(name, n_in)
    columns, planes = random_columns(surrogate, 17)
    run = onnx.load(onnx.export(surrogate, dtype="float64"))
    expected = surrogate.predict(columns[:, :5], **planes, dtype="float64")
    np.testing.assert_allclose(run(columns), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", WRITABLE)
def test_default_types_agree_within_the_float32_network(name):
    surrogate = random_surrogate(name)
    columns, _ = random_columns(surrogate, 17)
    exact = surrogate.predict(columns, dtype="float64")
    error = np.abs(onnx.load(onnx.export(surrogate))(columns) - exact)
    assert error.max() < (1e-2 if name == "absolute" else 1e-5)
    narrow = onnx.load(onnx.export(surrogate, net_dtype="float32"))
    assert np.abs(narrow(columns) - exact).max() < 1e-2


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "gelu", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_agree(activation, dtype):
    surrogate = random_surrogate("absolute", activation=activation)
    columns, _ = random_columns(surrogate, 50)
    got = onnx.load(onnx.export(surrogate, dtype=dtype))(columns)
    expected = surrogate.predict(columns, dtype="float64")
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("field", [GaussSeed(-1.0), GaussFit(peak_tesla=0.5)])
@pytest.mark.parametrize("nodes", [1, 8, 40])
def test_born_carries_the_parameters_of_its_field(field, nodes):
    surrogate = random_surrogate("born", field=field, born_nodes=nodes)
    columns, _ = random_columns(surrogate, 5)
    expected = surrogate.predict(columns, dtype="float64")
    got = onnx.load(onnx.export(surrogate))(columns)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_batch_axis_is_dynamic(tmp_path, count):
    surrogate = random_surrogate()
    path = tmp_path / "net.onnx"
    onnx.export(surrogate, path)
    columns, _ = random_columns(surrogate, count)
    expected = surrogate.predict(columns, dtype="float64")
    np.testing.assert_allclose(onnx.load(path)(columns), expected, rtol=0, atol=1e-9)


def test_names_opset_and_axes_are_those_promised():
    import onnx as library

    model = library.load_from_string(onnx.export(random_surrogate()))
    assert [entry.version for entry in model.opset_import] == [17]
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("track_state", "extrapolated_state")
    axes = given.type.tensor_type.shape.dim
    assert axes[0].dim_param == "n"
    assert axes[1].dim_value == 5
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["input_names"] == "x,y,tx,ty,qop"


def test_empty_hidden_is_one_product():
    surrogate = random_surrogate(hidden=())
    columns, _ = random_columns(surrogate, 4)
    expected = surrogate.predict(columns, dtype="float64")
    got = onnx.load(onnx.export(surrogate))(columns)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_what_has_no_onnx_form_is_refused():
    with pytest.raises(ValueError, match="map: its transport has no ONNX form"):
        onnx.export(random_surrogate("map"))
    with pytest.raises(ValueError, match="born with UniformField: expected an analy"):
        onnx.export(random_surrogate("born", field=UniformField(by=1.0)))
    with pytest.raises(ValueError, match="net_dtype: expected float32 or float64"):
        onnx.export(random_surrogate(), net_dtype="float16")


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxphys\[onnx\]'"):
        onnx.export(random_surrogate())
    with pytest.raises(ImportError, match="needs onnxruntime"):
        onnx.load(b"")
