"""ONNX graph of a prediction, written operator by operator (opset 17).

Input `track_state` [n, n_in] has the columns `surrogate.input_names`, output
`extrapolated_state` [n, 4] is x, y [mm], tx, ty; n is dynamic. The packages onnx and
onnxruntime belong to the extra `onnx`.
"""

import importlib
import os
import pathlib
from types import ModuleType
from typing import Any

import numpy as np

from jaxphys.track_extrapolator.model.surrogate import STATE_NAMES, Surrogate
from jaxphys.track_extrapolator.physics.field import GaussFit, GaussSeed
from jaxphys.track_extrapolator.physics.motion import KAPPA_PER_QOP

OPSET = 17
IR_VERSION = 9
INPUT, OUTPUT = "track_state", "extrapolated_state"
ACTIVATION_OPERATORS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def export(
    surrogate: Surrogate,
    path: str | os.PathLike | None = None,
    dtype: str | None = None,
    net_dtype: str | None = None,
) -> bytes:
    """Returns the serialised model and writes it where a path is given.

    Args:
        surrogate: the network; born is limited to the analytic Gaussian fields, and
            map cannot be written.
        path: file to write, or None.
        dtype: type of input, output and of all around the network; None takes float32
            for absolute and float64 for the others, which add small corrections to
            coordinates of metres.
        net_dtype: arithmetic of the network; None takes `dtype`.

    Raises:
        ImportError: the extra `onnx` is missing.
        ValueError: the parametrisation or its field has no ONNX form.
    """
    onnx = _require("onnx")
    if dtype is None:
        dtype = "float32" if surrogate.parametrisation == "absolute" else "float64"
    for name, value in (("dtype", dtype), ("net_dtype", net_dtype or dtype)):
        if value not in ("float32", "float64"):
            raise ValueError(f"{name}: expected float32 or float64, got {value!r}")
    graph = _Graph(onnx, dtype)
    target = _network(graph, surrogate, net_dtype or dtype)
    graph.add("Identity", _decoded(graph, surrogate, target), output=OUTPUT)
    data = graph.model(surrogate).SerializeToString()
    if path is not None:
        pathlib.Path(path).write_bytes(data)
    return data


def load(source: bytes | str | os.PathLike):
    """Returns columns [n, n_in] -> [n, 4], run by onnxruntime on the CPU.

    Raises:
        ImportError: the extra `onnx` is missing.
    """
    runtime = _require("onnxruntime")
    content = source if isinstance(source, bytes) else os.fspath(source)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    wide = session.get_inputs()[0].type == "tensor(double)"
    dtype = np.float64 if wide else np.float32

    def predict(columns: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: np.asarray(columns, dtype)})[0]

    return predict


def _require(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"ONNX export needs {name}: pip install 'jaxphys[onnx]'"
        ) from error


class _Graph:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self, onnx: Any, dtype: str):
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list = []
        self.constants: list = []

    def element_type(self, dtype: str) -> int:
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def constant(self, values, dtype: str | None = None) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.asarray(values, dtype or self.dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs, output: str | None = None, **attributes):
        """Adds a node; a number among the inputs becomes a constant."""
        names = [v if isinstance(v, str) else self.constant(v) for v in inputs]
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(
            self.onnx.helper.make_node(operator, names, [output], **attributes)
        )
        return output

    def cast(self, value: str, dtype: str) -> str:
        return self.add("Cast", value, to=self.element_type(dtype))

    def column(self, index: int) -> str:
        """Returns one column [n, 1] of the input."""
        picked = self.constant([index], "int64")
        return self.add("Gather", INPUT, picked, axis=1)

    def sum_of_products(self, *pairs) -> str:
        """Returns the sum of products of pairs."""
        total = self.add("Mul", *pairs[0])
        for pair in pairs[1:]:
            total = self.add("Add", total, self.add("Mul", *pair))
        return total

    def model(self, surrogate: Surrogate):
        helper, kind = self.onnx.helper, self.element_type(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "track_extrapolator",
            [helper.make_tensor_value_info(INPUT, kind, ["n", surrogate.n_in])],
            [helper.make_tensor_value_info(OUTPUT, kind, ["n", 4])],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="jaxphys",
        )
        properties = {
            "input_names": ",".join(surrogate.input_names),
            "parametrisation": surrogate.parametrisation,
            "z_in_mm": repr(surrogate.z_in),
            "z_out_mm": repr(surrogate.z_out),
            "field_hash": surrogate.field_hash,
        }
        helper.set_model_props(model, properties)
        self.onnx.checker.check_model(model, full_check=True)
        return model


def _network(graph: _Graph, surrogate: Surrogate, dtype: str) -> str:
    """Adds the normalised network and the scaling of its output."""
    centred = graph.add("Sub", INPUT, surrogate.input_mean)
    value = graph.add("Div", centred, surrogate.input_std)
    if dtype != graph.dtype:
        value = graph.cast(value, dtype)
    for index, (kernel, bias) in enumerate(surrogate.layers):
        if index:
            value = _activate(graph, surrogate.activation, value, dtype)
        weights = graph.constant(kernel, dtype), graph.constant(bias, dtype)
        value = graph.add("Gemm", value, *weights)
    if dtype != graph.dtype:
        value = graph.cast(value, graph.dtype)
    scaled = graph.add("Mul", value, surrogate.output_std)
    return graph.add("Add", scaled, surrogate.output_mean)


def _activate(graph: _Graph, activation: str, value: str, dtype: str) -> str:
    if activation in ACTIVATION_OPERATORS:
        return graph.add(ACTIVATION_OPERATORS[activation], value)
    if activation == "silu":
        return graph.add("Mul", value, graph.add("Sigmoid", value))
    root_half = graph.constant(np.sqrt(0.5), dtype)
    error = _erf(graph, graph.add("Mul", value, root_half), dtype)
    one, half = graph.constant(1.0, dtype), graph.constant(0.5, dtype)
    doubled = graph.add("Mul", value, graph.add("Add", error, one))
    return graph.add("Mul", doubled, half)


def _erf(graph: _Graph, value: str, dtype: str) -> str:
    # onnxruntime has no float64 kernel, so a gelu network keeps float32 here
    if dtype == "float32":
        return graph.add("Erf", value)
    return graph.cast(graph.add("Erf", graph.cast(value, "float32")), dtype)


def _decoded(graph: _Graph, surrogate: Surrogate, target: str) -> str:
    """Adds baseline + scale * target."""
    name = surrogate.parametrisation
    if name == "absolute":
        return target
    if name == "map":
        raise ValueError(
            "parametrisation map: its transport has no ONNX form, expected absolute, "
            "straight, kick or born: use StableHLO or .bin v2"
        )
    column = {key: graph.column(i) for i, key in enumerate(STATE_NAMES)}
    dz = _plane(graph, surrogate, "dz")
    line = [
        graph.add("Add", column["x"], graph.add("Mul", column["tx"], dz)),
        graph.add("Add", column["y"], graph.add("Mul", column["ty"], dz)),
        column["tx"],
        column["ty"],
    ]
    known = graph.add("Concat", *line, axis=1)
    if name == "straight":
        return graph.add("Add", known, target)
    scale = graph.add("Mul", column["qop"], 1000.0)
    if name == "born":
        known = graph.add("Add", known, _first_order_kick(graph, surrogate, column))
        scale = graph.add("Mul", scale, scale)
    return graph.add("Add", known, graph.add("Mul", scale, target))


def _plane(graph: _Graph, surrogate: Surrogate, name: str) -> str:
    """Returns z_in or dz as a column [n, 1] or as a constant [1, 1]."""
    if surrogate.dz_mode == "uniform":
        return graph.column(surrogate.input_names.index(name))
    fixed = {"z_in": surrogate.z_in, "dz": surrogate.z_out - surrogate.z_in}
    return graph.constant([[fixed[name]]])


def _first_order_kick(graph: _Graph, surrogate: Surrogate, column: dict) -> str:
    """Adds the kick of `parametrisation.first_order_kick`; nodes lie on axis 1."""
    points, weights = np.polynomial.legendre.leggauss(surrogate.born_nodes)
    fraction, weight = (points[None, :] + 1) / 2, weights[:, None] / 2
    z_in, dz = (_plane(graph, surrogate, name) for name in ("z_in", "dz"))
    tx, ty = column["tx"], column["ty"]
    path = graph.add("Mul", dz, fraction)  # [n or 1, nodes]
    x = graph.add("Add", column["x"], graph.add("Mul", tx, path))
    y = graph.add("Add", column["y"], graph.add("Mul", ty, path))
    bx, by = _gaussian_field(graph, surrogate, x, y, graph.add("Add", z_in, path))
    tx_ty = graph.add("Mul", tx, ty)
    tx_tx, ty_ty = graph.add("Mul", tx, tx), graph.add("Mul", ty, ty)
    one_x, one_y = graph.add("Add", tx_tx, 1.0), graph.add("Add", ty_ty, 1.0)
    root = graph.add("Sqrt", graph.add("Add", one_x, ty_ty))
    kappa = graph.add("Mul", graph.add("Mul", column["qop"], KAPPA_PER_QOP), root)
    minus = graph.add("Neg", by)
    moved = []
    slopes = []
    for pairs in (((tx_ty, bx), (one_x, minus)), ((one_y, bx), (tx_ty, minus))):
        force = graph.add("Mul", kappa, graph.sum_of_products(*pairs))  # [n, nodes]
        slope = graph.add("Mul", graph.add("MatMul", force, weight), dz)  # [n, 1]
        lever = graph.add("MatMul", force, weight * (1 - fraction.T))
        slopes.append(slope)
        moved.append(graph.add("Mul", graph.add("Mul", lever, dz), dz))
    return graph.add("Concat", *moved, *slopes, axis=1)


def _gaussian_field(graph: _Graph, surrogate: Surrogate, x: str, y: str, z: str):
    """Returns Bx and By of the analytic fields."""
    field = surrogate.field
    if not isinstance(field, (GaussSeed, GaussFit)):
        raise ValueError(
            f"parametrisation born with {type(field).__name__}: expected an analytic "
            "Gaussian field: use StableHLO or .bin v2"
        )
    u = graph.add("Div", graph.add("Sub", z, field.centre_mm), field.width_mm)
    bell = graph.add("Exp", graph.add("Mul", graph.add("Mul", u, u), -0.5))
    profile = graph.add("Mul", bell, field.polarity * field.peak_tesla)
    if isinstance(field, GaussFit):
        return graph.add("Mul", profile, 0.0), profile
    r2 = graph.sum_of_products((x, x), (y, y))
    fall = graph.add("Add", graph.add("Mul", r2, -1e-10), 1.0)
    by = graph.add("Mul", profile, fall)
    return graph.add("Mul", graph.add("Mul", by, x), -1e-5), by
