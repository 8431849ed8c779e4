"""Weight files are byte exact, come back as written, and refuse damage."""

import dataclasses
import json
import struct

import numpy as np
import pytest

from jaxphys.track_extrapolator.inference.export import binary, jxte
from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics.field import GaussFit, GridField, MultipoleField
from tests.track_extrapolator.surrogates import random_states, random_surrogate

LEGACY = ("A", "cpp_colmajor")
ACTIVATE = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0)}


@pytest.fixture(params=["small_tanh", "tiny_relu"])
def golden(request, golden_dir):
    folder = golden_dir("track_extrapolator")
    with np.load(folder / f"bin_export__{request.param}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["config"] = json.loads(str(arrays["meta"]))["config"]
    return arrays


def surrogate_of(golden):
    state_dict = {
        name.removeprefix("param/"): array
        for name, array in golden.items()
        if name.startswith("param/")
    }
    return Surrogate.from_state_dict(state_dict, golden["config"]["activation"])


def column_major_reader(data):
    """Reads as the original C++ class does: an Eigen matrix maps column-major bytes."""
    offset = 0

    def integers(count):
        nonlocal offset
        offset += 4 * count
        return struct.unpack(f"<{count}i", data[offset - 4 * count : offset])

    def doubles(count):
        nonlocal offset
        offset += 8 * count
        return np.frombuffer(data[offset - 8 * count : offset], "<f8")

    layers = []
    for _ in range(integers(1)[0]):
        rows, columns = integers(2)
        weight = doubles(rows * columns).reshape((rows, columns), order="F")
        layers.append((weight, doubles(rows)))
    stats = []
    for _ in range(2):
        (count,) = integers(1)
        stats.append((doubles(count), doubles(count)))
    assert offset == len(data)
    return layers, stats


def column_major_forward(data, x, activation):
    layers, ((mean, std), (out_mean, out_std)) = column_major_reader(data)
    value = (np.asarray(x, np.float64) - mean) / std
    for index, (weight, bias) in enumerate(layers):
        value = value @ weight.T + bias
        if index < len(layers) - 1:
            value = ACTIVATE[activation](value)
    return value * out_std + out_mean


def test_bytes_equal_the_recorded_files(golden):
    surrogate = surrogate_of(golden)
    for layout, name in zip(LEGACY, ("bytes_A", "bytes_cpp_colmajor"), strict=True):
        got = np.frombuffer(binary.to_bytes(surrogate, layout), np.uint8)
        np.testing.assert_array_equal(got, golden[f"output/{name}"])


def test_cpp_like_reader_gets_the_recorded_outputs(golden):
    data = binary.to_bytes(surrogate_of(golden), "cpp_colmajor")
    y = column_major_forward(data, golden["input/x"], golden["config"]["activation"])
    np.testing.assert_allclose(y, golden["output/y_cpp"], rtol=1e-10, atol=1e-7)
    np.testing.assert_allclose(y, golden["output/y_float64"], rtol=1e-12, atol=1e-9)


def test_recorded_files_are_read_and_written_again(golden):
    for layout, name in zip(LEGACY, ("bytes_A", "bytes_cpp_colmajor"), strict=True):
        data = golden[f"output/{name}"].tobytes()
        read = binary.from_bytes(data, golden["config"]["activation"])
        assert read.metadata == {"layout": layout}
        assert read.hidden == tuple(golden["config"]["hidden"])
        assert binary.to_bytes(read, layout) == data


@pytest.mark.parametrize("layout", LEGACY)
@pytest.mark.parametrize("hidden", [(), (3,), (8, 8)])
def test_old_layouts_round_trip(layout, hidden):
    surrogate = random_surrogate("absolute", n_in=6, hidden=hidden, activation="relu")
    read = binary.from_bytes(binary.to_bytes(surrogate, layout), "relu")
    assert_same_network(read, surrogate)


@pytest.mark.parametrize("layout", LEGACY)
def test_five_inputs_become_six_with_a_silent_dz(layout):
    surrogate, state = random_surrogate("absolute"), random_states(5)
    read = binary.from_bytes(binary.to_bytes(surrogate, layout), "silu")
    assert read.n_in == 6
    expected = surrogate.predict(state, dtype="float64")
    got = read.predict(state, dtype="float64")
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("model_type", [True, False])
@pytest.mark.parametrize("store_activation", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_forms_of_the_later_reader_are_understood(
    model_type, store_activation, activation
):
    surrogate = random_surrogate("absolute", n_in=6, activation=activation)
    data = binary.to_bytes(surrogate, "cpp_colmajor", model_type, store_activation)
    plain = len(binary.to_bytes(surrogate, "cpp_colmajor", False))
    tail = 4 + len(activation) if store_activation else 0
    assert len(data) == plain + (4 if model_type else 0) + tail
    given = None if store_activation else activation
    assert_same_network(binary.from_bytes(data, given), surrogate)


def test_one_layer_file_carries_its_model_type():
    surrogate = random_surrogate("absolute", n_in=6, hidden=())
    data = binary.to_bytes(surrogate, "cpp_colmajor")
    assert struct.unpack("<ii", data[:8]) == (0, 1)
    assert binary.to_bytes(surrogate, "A")[:4] == struct.pack("<i", 1)


def test_pinn_is_refused():
    network = random_surrogate("absolute", n_in=6)
    data = binary.to_bytes(network, "cpp_colmajor", False)
    with pytest.raises(ValueError, match="got a PINN"):
        binary.from_bytes(struct.pack("<i", 1) + data)


@pytest.mark.parametrize("layout", binary.LAYOUTS)
def test_every_cut_and_every_surplus_is_refused(layout):
    surrogate = random_surrogate("absolute", n_in=6, hidden=(2,))
    data = binary.to_bytes(surrogate, layout)
    for length in range(len(data)):
        with pytest.raises(ValueError, match="weight file"):
            binary.from_bytes(data[:length])
    for surplus in (b"\0", b"\0" * 8, b"\4\0\0\0gel", b"\4\0\0\0\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="weight file"):
            binary.from_bytes(data + surplus)


@pytest.mark.parametrize("layout", LEGACY)
@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, -1, "expected 1 to 1000 layers, got -1"),
        (0, 100_000, "expected 1 to 1000 layers"),
        (4, -3, "layer 0: expected rows above 0"),
        (4, 2**30, "cut short or not a weight file"),
        (4 + 8 + 8 * (2 * 6 + 2) + 4, 5, "layer 1: expected rows above 0 and 2"),
    ],
)
def test_wrong_counts_are_refused(layout, offset, value, message):
    surrogate = random_surrogate("absolute", n_in=6, hidden=(2,))
    data = bytearray(binary.to_bytes(surrogate, layout))
    data[offset : offset + 4] = struct.pack("<i", value)
    with pytest.raises(ValueError, match=message):
        binary.from_bytes(data)


@pytest.mark.parametrize("layout", LEGACY)
def test_damaged_numbers_are_refused(layout):
    surrogate = random_surrogate("absolute", n_in=6, hidden=(2,))
    data = binary.to_bytes(surrogate, layout)
    for position, message in ((12, "finite weights"), (-8, "output_std")):
        broken = bytearray(data)
        end = len(data) if position == -8 else position + 8
        broken[end - 8 : end] = struct.pack("<d", float("nan"))
        with pytest.raises(ValueError, match=message):
            binary.from_bytes(broken)
    # a count of the statistics that is wrong fits neither layout
    broken = bytearray(data)
    place = len(data) - (8 * 8 + 8 if layout == "A" else 8 * 8 + 4)
    broken[place : place + 4] = struct.pack("<i", 3)
    with pytest.raises(ValueError, match="neither layout"):
        binary.from_bytes(broken)


@pytest.mark.parametrize("layout", LEGACY)
@pytest.mark.parametrize("name", par.NAMES[1:])
def test_old_layouts_refuse_corrections_to_physics(layout, name):
    with pytest.raises(ValueError, match=f"parametrisation absolute.*{name}"):
        binary.to_bytes(random_surrogate(name), layout)


def test_old_layouts_refuse_variable_planes():
    with pytest.raises(ValueError, match="use layout v2"):
        binary.to_bytes(random_surrogate("absolute", n_in=7), "A")
    with pytest.raises(ValueError, match="layout A: has no place"):
        binary.to_bytes(random_surrogate("absolute"), "A", store_activation=True)
    with pytest.raises(ValueError, match="layout: expected one of"):
        binary.to_bytes(random_surrogate("absolute"), "B")


def test_activation_comes_from_argument_file_or_metadata(tmp_path):
    path = tmp_path / "net.bin"
    surrogate = random_surrogate("absolute", n_in=6, activation="relu")
    binary.write(path, surrogate, "A")
    assert binary.read(path).activation == "tanh"
    assert binary.read(path, "silu").activation == "silu"
    beside = tmp_path / "net_metadata.json"
    beside.write_text(json.dumps({"config": {"activation": "relu"}}))
    assert binary.read(path).activation == "relu"
    with pytest.raises(ValueError, match=r"net\.bin: activation: expected one of"):
        binary.read(path, "swish")
    binary.write(path, surrogate, "cpp_colmajor", store_activation=True)
    with pytest.raises(ValueError, match="activation is relu in the file, got tanh"):
        binary.read(path, "tanh")


def assert_same_network(got, expected):
    assert got.activation == expected.activation
    assert got.input_names == expected.input_names
    for a, b in zip(got.layers, expected.layers, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    for name in ("input_mean", "input_std", "output_mean", "output_std"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def fields():
    rng = np.random.default_rng(0)
    yield GaussFit(-1.0)
    yield GridField.from_map(
        rng.normal(size=(5, 3, 4, 3)), (-2000, -2000, 2500), (2000, 2000, 1200)
    )
    yield MultipoleField(
        np.linspace(2500.0, 7500.0, 6),
        rng.normal(size=(6, 2)),
        ((0, 0), (2, 0)),
        4500.0,
        2800.0,
    )


@pytest.mark.parametrize("n_in", [5, 6, 7])
@pytest.mark.parametrize("name", par.NAMES)
def test_v2_gives_back_every_setting(tmp_path, name, n_in):
    surrogate = random_surrogate(
        name, n_in, z_in=2900.0, field_hash="ab" * 32, metadata={"seed": 3}
    )
    binary.write(tmp_path / "net.bin", surrogate)
    read = binary.read(tmp_path / "net.bin")
    assert_same_network(read, surrogate)
    for entry in dataclasses.fields(Surrogate):
        if entry.name in jxte.PLAIN:
            assert getattr(read, entry.name) == getattr(surrogate, entry.name)
    state = random_states(7)
    for dtype in ("float32", "float64"):
        got, expected = (s.predict(state, dtype=dtype) for s in (read, surrogate))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("field", list(fields()), ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("name", par.NEEDS_FIELD)
def test_v2_carries_the_field(name, field):
    surrogate = random_surrogate(name, field=field, map_step_mm=250.0)
    read = binary.from_bytes(binary.to_bytes(surrogate))
    state = random_states(6)
    np.testing.assert_array_equal(read.predict(state), surrogate.predict(state))


def test_v2_refuses_a_field_that_it_cannot_name():
    surrogate = random_surrogate("born", field=lambda x, y, z: (x, y, z))
    with pytest.raises(ValueError, match="field: expected a class of"):
        binary.to_bytes(surrogate)


def test_v2_refuses_any_changed_byte():
    data = binary.to_bytes(random_surrogate(hidden=(1,)))
    for position in range(4, len(data), 7):
        broken = bytearray(data)
        broken[position] ^= 1
        with pytest.raises(ValueError, match=r"version|checksum"):
            binary.from_bytes(broken)


def test_v2_refuses_values_that_json_cannot_hold():
    with pytest.raises(ValueError, match="metadata: expected JSON values"):
        binary.to_bytes(random_surrogate(metadata={"a": np.ones(2)}))
