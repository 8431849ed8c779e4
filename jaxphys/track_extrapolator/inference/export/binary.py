"""Weight files of the C++ extrapolators: reading and writing bytes.

Three layouts exist, all little-endian:

- "A", as the original trainer writes: row-major weights, four counted statistics.
- "cpp_colmajor", the only one that the original C++ reader loads correctly:
  column-major weights, one count for each pair of statistics, 8 bytes shorter.
- "v2" (see `jxte`), the only one for networks that correct known physics.

A later C++ reader also takes a model type in front (0 is an MLP) and the name of the
activation at the end of the second; both are understood and can be written.
"""

import json
import os
import pathlib
import struct
from typing import NamedTuple

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.nn.mlp import check_activation
from jaxphys.track_extrapolator.inference.export import jxte
from jaxphys.track_extrapolator.model.surrogate import (
    STATE_NAMES,
    Surrogate,
    input_names_for,
)

LAYOUTS = ("A", "cpp_colmajor", "v2")
LEGACY_ACTIVATION = "tanh"
MODEL_TYPE_MLP, MODEL_TYPE_PINN = 0, 1
MAX_LAYERS = 1000


def write(path: str | os.PathLike, surrogate: Surrogate, layout="v2", **extras) -> None:
    """Writes a weight file, whole or not at all; for the rest see `to_bytes`."""
    data = to_bytes(surrogate, layout, **extras)
    with replace_file(path) as file:
        file.write(data)


def read(
    path: str | os.PathLike,
    activation: str | None = None,
    z_in: float = 3000.0,
    z_out: float = 7000.0,
) -> Surrogate:
    """Returns the network in a weight file of any layout.

    Args:
        path: the file.
        activation: needed where the file has none; else it is looked for in
            `<name>_metadata.json` beside the file, and at last taken as tanh.
        z_in: entry plane in mm, which the old layouts do not hold.
        z_out: exit plane in mm; the same.

    Raises:
        ValueError: the file is damaged or holds something else.
    """
    path = pathlib.Path(path)
    data = path.read_bytes()
    if activation is None and not jxte.is_versioned(data):
        fallback = _activation_beside(path) or LEGACY_ACTIVATION
    else:
        fallback = LEGACY_ACTIVATION
    return from_bytes(data, activation, z_in, z_out, str(path), fallback)


def to_bytes(
    surrogate: Surrogate,
    layout: str = "v2",
    model_type: bool | None = None,
    store_activation: bool = False,
) -> bytes:
    """Returns the bytes of a weight file.

    Args:
        surrogate: the network. The old layouts have six inputs; one of five gets a dz
            with weight 0.
        layout: one of `LAYOUTS`.
        model_type: whether "cpp_colmajor" begins with the model type of the later
            reader; None writes it for a network of one layer, which that reader
            would mistake without it.
        store_activation: whether "cpp_colmajor" ends with the activation.

    Raises:
        ValueError: the layout cannot hold this network.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {LAYOUTS}, got {layout!r}")
    if layout == "v2":
        return jxte.to_bytes(surrogate)
    if surrogate.parametrisation != "absolute":
        raise ValueError(
            f"layout {layout}: expected the parametrisation absolute, got "
            f"{surrogate.parametrisation}, which only layout v2 can hold"
        )
    column_major = layout == "cpp_colmajor"
    if (model_type or store_activation) and not column_major:
        raise ValueError(
            "layout A: has no place for a model type or an activation, expected "
            "layout cpp_colmajor or v2"
        )
    layers, mean, std = _with_six_inputs(surrogate, layout)
    if model_type is None:
        model_type = column_major and len(layers) == 1
    data = struct.pack("<i", MODEL_TYPE_MLP) if model_type else b""
    data += struct.pack("<i", len(layers))
    for kernel, bias in layers:
        data += struct.pack("<ii", len(bias), len(kernel))
        # a kernel is [in, out]: its own row order is the column order of [out, in]
        data += _doubles(kernel if column_major else kernel.T) + _doubles(bias)
    pairs = ((mean, std), (surrogate.output_mean, surrogate.output_std))
    for first, second in pairs:
        count = struct.pack("<i", len(first))
        again = b"" if column_major else count
        data += count + _doubles(first) + again + _doubles(second)
    if store_activation:
        name = surrogate.activation.encode("ascii")
        data += struct.pack("<i", len(name)) + name
    return data


def from_bytes(
    data: bytes | bytearray,
    activation: str | None = None,
    z_in: float = 3000.0,
    z_out: float = 7000.0,
    where: str = "weight file",
    fallback: str = LEGACY_ACTIVATION,
) -> Surrogate:
    """Returns the network in the bytes of a weight file of any layout.

    Args:
        data: the bytes.
        activation: that of the network; refused where the bytes say another one.
        z_in: entry plane in mm, for the old layouts.
        z_out: exit plane in mm; the same.
        where: the name of the file in messages.
        fallback: activation where neither the bytes nor the caller give one.
    """
    data = bytes(data)
    if jxte.is_versioned(data):
        surrogate = jxte.from_bytes(data, where)
        _check_same_activation(activation, surrogate.activation, where)
        return surrogate
    legacy = _parse(data, where)
    _check_same_activation(activation, legacy.activation, where)
    chosen = legacy.activation or activation or fallback
    return Surrogate(
        activation=check_activation(chosen, f"{where}: activation"),
        layers=tuple(legacy.layers),
        **legacy.stats,
        input_names=input_names_for(len(legacy.stats["input_mean"]), where),
        dz_mode="uniform" if len(legacy.stats["input_mean"]) == 7 else "fixed",
        z_in=z_in,
        z_out=z_out,
        metadata={"layout": legacy.layout},
    )


class _Legacy(NamedTuple):
    layout: str
    layers: list
    stats: dict
    activation: str | None


class _Reader:
    """Takes numbers from bytes and refuses to run over their end."""

    def __init__(self, data: bytes, where: str):
        self.data, self.where, self.offset = data, where, 0

    def left(self) -> int:
        return len(self.data) - self.offset

    def take(self, count: int, what: str) -> bytes:
        if count > self.left():
            raise ValueError(
                f"{self.where}: byte {self.offset}: expected {count} bytes of {what}, "
                f"got {self.left()}: the file is cut short or not a weight file"
            )
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def integer(self, what: str) -> int:
        return struct.unpack("<i", self.take(4, what))[0]

    def doubles(self, count: int, what: str) -> np.ndarray:
        return np.frombuffer(self.take(8 * count, what), "<f8").astype(np.float64)


def _parse(data: bytes, where: str) -> _Legacy:
    first = _Reader(data, where).integer("layer count")
    if first == MODEL_TYPE_MLP:
        return _parse_body(data, 4, where)
    try:
        return _parse_body(data, 0, where)
    except ValueError:
        if first == MODEL_TYPE_PINN and _is_legacy(data[4:]):
            raise ValueError(
                f"{where}: expected an MLP (model type 0), got a PINN (model type 1), "
                "whose output is formed in another way"
            ) from None
        raise


def _is_legacy(data: bytes) -> bool:
    try:
        _parse_body(data, 0, "")
    except ValueError:
        return False
    return True


def _parse_body(data: bytes, start: int, where: str) -> _Legacy:
    reader = _Reader(data, where)
    reader.offset = start
    shaped = _read_layers(reader)
    n_in, n_out = shaped[0][0].shape[1], len(shaped[-1][1])
    found = []
    problems = []
    for layout in ("A", "cpp_colmajor"):
        attempt = _Reader(data, where)
        attempt.offset = reader.offset
        try:
            stats = _read_stats(attempt, n_in, n_out, layout)
            name = _read_tail(attempt)
        except ValueError as error:
            problems.append(f"as {layout}: {error}")
            continue
        found.append(_Legacy(layout, _as_kernels(shaped, layout), stats, name))
    if not found:
        raise ValueError(
            f"{where}: {len(data)} bytes are neither layout: {'; '.join(problems)}"
        )
    if len(found) > 1:
        raise ValueError(f"{where}: the bytes fit both layouts, expected one")
    return found[0]


def _read_layers(reader: _Reader) -> list[tuple[np.ndarray, np.ndarray]]:
    count = reader.integer("layer count")
    if not 1 <= count <= MAX_LAYERS:
        raise ValueError(
            f"{reader.where}: expected 1 to {MAX_LAYERS} layers, got {count}"
        )
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for index in range(count):
        rows, columns = reader.integer("rows"), reader.integer("columns")
        expected = len(layers[-1][1]) if layers else columns
        if rows < 1 or columns < 1 or columns != expected:
            raise ValueError(
                f"{reader.where}: layer {index}: expected rows above 0 and "
                f"{expected if layers else 'some'} columns, got {rows} x {columns}"
            )
        weight = reader.doubles(rows * columns, f"layer {index} weights")
        layers.append(
            (weight.reshape(rows, columns), reader.doubles(rows, f"layer {index} bias"))
        )
    return layers


def _read_stats(reader: _Reader, n_in: int, n_out: int, layout: str) -> dict:
    stats = {}
    for side, size in (("input", n_in), ("output", n_out)):
        for kind in ("mean", "std"):
            if kind == "mean" or layout == "A":
                count = reader.integer(f"{side}_{kind} count")
                if count != size:
                    raise ValueError(f"{side}_{kind}: expected {size}, got {count}")
            stats[f"{side}_{kind}"] = reader.doubles(size, f"{side}_{kind}")
    return stats


def _read_tail(reader: _Reader) -> str | None:
    if reader.left() == 0:
        return None
    length = reader.integer("activation length")
    if length != reader.left():
        raise ValueError(
            f"after the statistics: expected nothing or an activation, got "
            f"{reader.left() + 4} bytes"
        )
    name = reader.take(length, "activation")
    if not name.isascii():
        raise ValueError(f"activation: expected ASCII, got {name!r}")
    return name.decode("ascii")


def _as_kernels(shaped, layout):
    """Turns weights as they lie in the file into kernels [in, out]."""
    if layout == "A":
        return [(weight.T, bias) for weight, bias in shaped]
    return [(weight.reshape(weight.shape[::-1]), bias) for weight, bias in shaped]


def _with_six_inputs(surrogate: Surrogate, layout: str):
    layers = list(surrogate.layers)
    mean, std = surrogate.input_mean, surrogate.input_std
    if surrogate.input_names == STATE_NAMES:
        kernel, bias = layers[0]
        layers[0] = (np.vstack([kernel, np.zeros((1, kernel.shape[1]))]), bias)
        mean = np.append(mean, surrogate.z_out - surrogate.z_in)
        std = np.append(std, 1.0)
    elif surrogate.n_in != 6:
        raise ValueError(
            f"layout {layout}: expected the inputs x, y, tx, ty, qop, dz, got "
            f"{', '.join(surrogate.input_names)}: use layout v2"
        )
    return layers, mean, std


def _check_same_activation(given: str | None, stored: str | None, where: str) -> None:
    if given is not None and stored is not None and given != stored:
        raise ValueError(f"{where}: activation is {stored} in the file, got {given}")


def _activation_beside(path: pathlib.Path) -> str | None:
    beside = path.with_name(f"{path.stem}_metadata.json")
    if not beside.is_file():
        return None
    content = json.loads(beside.read_text())
    config = content.get("config")
    inner = config.get("activation") if isinstance(config, dict) else None
    return content.get("activation") or inner


def _doubles(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f8").tobytes()
