"""Layout v2 of the weight files: every parametrisation, its field and a checksum.

Little-endian: "JXTE", uint32 version, uint32 length of the header, the header (JSON,
padded with spaces so that the arrays lie on 8-byte boundaries), the arrays, and the
SHA-256 of all bytes before it. The header names each array with its type, shape and
offset from the first array; weights are row-major [out, in], so that y = W x + b.
"""

import dataclasses
import hashlib
import json
import struct

import numpy as np

from jaxphys.track_extrapolator.model.model import STATS
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics import field as fields

MAGIC = b"JXTE"
VERSION = 2
HEAD_BYTES = 12
SUM_BYTES = 32
ALIGNMENT = 8
PLAIN = (
    "activation",
    "parametrisation",
    "input_names",
    "z_in",
    "z_out",
    "dz_mode",
    "born_nodes",
    "map_step_mm",
    "field_hash",
    "metadata",
)


def is_versioned(data: bytes) -> bool:
    """Returns whether bytes begin like this layout."""
    return data[:4] == MAGIC


def to_bytes(surrogate: Surrogate) -> bytes:
    """Returns the bytes of a network, its field included.

    Raises:
        ValueError: the field is of a class that the package does not define.
    """
    arrays = {name: getattr(surrogate, name) for name in STATS}
    for index, (kernel, bias) in enumerate(surrogate.layers):
        arrays[f"layer{index}/weight"] = kernel.T
        arrays[f"layer{index}/bias"] = bias
    header = {name: getattr(surrogate, name) for name in PLAIN}
    header |= {"dtype": "float64", "order": "row_major"}
    header["layers"] = len(surrogate.layers)
    header["field"] = _describe_field(surrogate.field, arrays)
    header["arrays"], body = _pack(arrays)
    try:
        text = json.dumps(header, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"surrogate.metadata: expected JSON values: {error}") from None
    text += b" " * (-(HEAD_BYTES + len(text)) % ALIGNMENT)
    data = MAGIC + struct.pack("<II", VERSION, len(text)) + text + body
    return data + hashlib.sha256(data).digest()


def from_bytes(data: bytes, where: str = "weight file") -> Surrogate:
    """Returns the network in bytes of this layout.

    Raises:
        ValueError: another version, a wrong checksum or a damaged header.
    """
    header, arrays = _open(data, where)
    try:
        layers = tuple(
            (arrays[f"layer{i}/weight"].T, arrays[f"layer{i}/bias"])
            for i in range(header["layers"])
        )
        return Surrogate(
            layers=layers,
            field=_build_field(header["field"], arrays, where),
            **{name: arrays[name] for name in STATS},
            **{name: header[name] for name in PLAIN},
        )
    except KeyError as error:
        raise ValueError(f"{where}: header: expected {error}, got none") from None


def _open(data: bytes, where: str) -> tuple[dict, dict[str, np.ndarray]]:
    if not is_versioned(data) or len(data) < HEAD_BYTES + SUM_BYTES:
        raise ValueError(
            f"{where}: expected a file that begins with {MAGIC!r} and has at least "
            f"{HEAD_BYTES + SUM_BYTES} bytes, got {data[:4]!r} and {len(data)} bytes"
        )
    version, length = struct.unpack("<II", data[4:HEAD_BYTES])
    if version != VERSION:
        raise ValueError(f"{where}: expected version {VERSION}, got {version}")
    content, checksum = data[:-SUM_BYTES], data[-SUM_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError(
            f"{where}: the checksum differs: the file is damaged or cut short"
        )
    header = json.loads(content[HEAD_BYTES : HEAD_BYTES + length])
    if (header.get("dtype"), header.get("order")) != ("float64", "row_major"):
        raise ValueError(
            f"{where}: expected dtype float64 and order row_major, got "
            f"{header.get('dtype')} and {header.get('order')}"
        )
    return header, _unpack(header["arrays"], content[HEAD_BYTES + length :])


def _pack(arrays: dict[str, np.ndarray]) -> tuple[list[dict], bytes]:
    table, body = [], b""
    parts, offset = [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"))
        table.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": array.shape,
                "offset": offset,
            }
        )
        raw = array.tobytes()
        raw += b"\0" * (-len(raw) % ALIGNMENT)
        parts.append(raw)
        offset += len(raw)
    body = b"".join(parts)
    return table, body


def _unpack(table: list[dict], body: bytes) -> dict[str, np.ndarray]:
    arrays = {}
    for entry in table:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        flat = np.frombuffer(body, dtype, count, entry["offset"])
        native = flat.astype(dtype.newbyteorder("="))
        arrays[entry["name"]] = native.reshape(entry["shape"])
    return arrays


def _describe_field(field, arrays: dict[str, np.ndarray]) -> dict | None:
    """Returns the class and plain settings of a field; its arrays join the others."""
    if field is None:
        return None
    kind = type(field).__name__
    if getattr(fields, kind, None) is not type(field):
        raise ValueError(
            f"field: expected a class of {fields.__name__}, got {type(field)}"
        )
    settings = {}
    for entry in dataclasses.fields(field):
        value = getattr(field, entry.name)
        if np.ndim(value) and not isinstance(value, (tuple, list)):
            arrays[f"field/{entry.name}"] = np.asarray(value)
        elif isinstance(value, (tuple, list, str)):
            settings[entry.name] = value
        else:
            settings[entry.name] = np.asarray(value).item()
    return {"kind": kind, "settings": settings}


def _build_field(description: dict | None, arrays: dict[str, np.ndarray], where: str):
    if description is None:
        return None
    kind = description["kind"]
    cls = getattr(fields, kind, None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"{where}: field: expected a known class, got {kind!r}")
    settings = {
        name: _as_tuple(value) for name, value in description["settings"].items()
    }
    settings |= {
        name.removeprefix("field/"): array
        for name, array in arrays.items()
        if name.startswith("field/")
    }
    return cls(**settings)


def _as_tuple(value):
    """Turns the lists of JSON back into tuples, which static settings must be."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
