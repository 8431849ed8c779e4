"""Files of track sets: the original's three .npy files, Parquet shards, npz pairs.

Every file is written under a temporary name and renamed when it is complete, so a file
that has its final name is whole.
"""

import dataclasses
import json
import os
import pathlib
import re
import zipfile
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file, write_json
from jaxphys.track_extrapolator.physics.propagate import track_ok

COLUMNS = (
    *("x", "y", "tx", "ty", "qop", "z_in", "dz"),
    *("x_out", "y_out", "tx_out", "ty_out", "p_gev"),
)
METADATA_KEY = b"jaxphys"
# qop of the LHCb plane files is 0.299792458 q/p with p in GeV
PLANE_QOP_PER_QOP = 299.792458
PLANE_Z_MM = (2665.0, 7826.0)


@dataclasses.dataclass(frozen=True, eq=False)
class TrackSet:
    """Tracks in front of and behind the magnet.

    Attributes:
        state: [N, 5] x, y (mm), tx, ty, q/p (1/MeV) at z_in.
        target: [N, 4] x, y, tx, ty at z_out.
        p_gev: [N] momentum.
        z_in: Plane of the states, mm, number or [N].
        z_out: Plane of the targets, mm, number or [N].
        ok: [N] booleans, False where the propagation failed.
        metadata: How the tracks were made.
    """

    state: np.ndarray
    target: np.ndarray
    p_gev: np.ndarray
    z_in: float | np.ndarray
    z_out: float | np.ndarray
    ok: np.ndarray
    metadata: dict[str, Any]

    def __len__(self):
        return len(self.state)

    def rows(self, index) -> "TrackSet":
        """Returns the tracks of a slice or index array."""

        def take(z):
            return z if np.ndim(z) == 0 else np.asarray(z)[index]

        return TrackSet(
            self.state[index],
            self.target[index],
            self.p_gev[index],
            take(self.z_in),
            take(self.z_out),
            self.ok[index],
            self.metadata,
        )


def write_legacy(folder, name: str, tracks: TrackSet) -> None:
    """Writes X_<name>.npy, Y_<name>.npy, P_<name>.npy (float32) and <name>.json.

    Rows that failed stay in the files; the JSON file lists them as failed_rows.
    """
    folder = pathlib.Path(folder)
    dz = np.broadcast_to(np.asarray(tracks.z_out) - tracks.z_in, len(tracks))
    arrays = {
        "X": np.column_stack([tracks.state, dz]),
        "Y": tracks.target,
        "P": tracks.p_gev,
    }
    for letter, array in arrays.items():
        with replace_file(folder / f"{letter}_{name}.npy") as file:
            np.save(file, array.astype(np.float32))
    failed = np.flatnonzero(~tracks.ok).tolist()
    write_json(folder / f"{name}.json", {**tracks.metadata, "failed_rows": failed})


def shard_path(folder, name: str, shard: int, shards: int) -> pathlib.Path:
    """Returns the file of shard 0 <= shard < shards."""
    return pathlib.Path(folder) / f"{name}-{shard:05d}-of-{shards:05d}.parquet"


def write_shard(path, tracks: TrackSet, metadata: dict) -> None:
    """Writes tracks as one Parquet file (float64 columns `COLUMNS`)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    z_in = np.broadcast_to(np.asarray(tracks.z_in, np.float64), len(tracks))
    dz = np.broadcast_to(np.asarray(tracks.z_out, np.float64), len(tracks)) - z_in
    columns = [*tracks.state.T, z_in, dz, *tracks.target.T, tracks.p_gev]
    arrays = [pa.array(np.ascontiguousarray(c, np.float64)) for c in columns]
    schema = pa.schema(
        [(name, pa.float64()) for name in COLUMNS],
        metadata={METADATA_KEY: json.dumps(metadata).encode()},
    )
    with replace_file(path) as file:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file)


def write_whole(folder, name: str, tracks: TrackSet) -> pathlib.Path:
    """Writes a data set, whatever it was read from, as its only Parquet shard."""
    count = len(tracks)
    path = shard_path(folder, name, 0, 1)
    place = {"samples": count, "shard": 0, "start": 0, "stop": count}
    write_shard(path, tracks, {**tracks.metadata, **place})
    return path


def read_shard_metadata(path) -> dict:
    """Returns the metadata of one shard.

    Raises:
        ValueError: If the file is not a whole shard of this library.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file: {error}") from error
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
    if METADATA_KEY not in (schema.metadata or {}):
        raise ValueError(f"{path}: expected the metadata key {METADATA_KEY.decode()!r}")
    return json.loads(schema.metadata[METADATA_KEY])


def difference(expected: dict, found: dict) -> str:
    """Returns the entries that differ as text, empty when there are none."""
    keys = sorted(set(expected) | set(found))
    return "; ".join(
        f"{key}: expected {expected.get(key)!r}, got {found.get(key)!r}"
        for key in keys
        if expected.get(key) != found.get(key)
    )


def read_dataset(folder, name: str, z_in: float = 3000.0) -> TrackSet:
    """Reads a data set: all its shards when there are any, else the legacy files.

    Args:
        folder: Where the files lie.
        name: Name of the data set.
        z_in: Plane of the states, mm, for legacy files without a JSON file.

    Raises:
        ValueError: If files are missing, truncated, inconsistent or hold NaN.
    """
    folder = pathlib.Path(folder)
    pattern = re.compile(re.escape(name) + r"-(\d{5})-of-(\d{5})\.parquet")
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        if match := pattern.fullmatch(path.name):
            found[path] = int(match[1]), int(match[2])
    if not found:
        return read_legacy(folder, name, z_in)
    counts = sorted({of for _, of in found.values()})
    if len(counts) > 1:
        raise ValueError(f"{folder}: {name}: shards of different splits: of {counts}")
    absent = sorted(set(range(counts[0])) - {k for k, _ in found.values()})
    if absent:
        raise ValueError(
            f"{folder}: {name}: expected {counts[0]} shards, missing: "
            + ", ".join(shard_path(folder, name, k, counts[0]).name for k in absent)
        )
    return _merge(list(found))


def _merge(paths):
    import pyarrow.parquet as pq

    first, parts, row = None, [], 0
    for path in paths:
        metadata = read_shard_metadata(path)
        start, stop = metadata.pop("start"), metadata.pop("stop")
        metadata.pop("shard")
        first = metadata if first is None else first
        if changed := difference(first, metadata):
            raise ValueError(f"{path}: made differently from {paths[0]}: {changed}")
        table = pq.read_table(path, columns=list(COLUMNS))
        if start != row or stop != row + table.num_rows:
            raise ValueError(
                f"{path}: expected rows {row} to {row + table.num_rows} of the data "
                f"set, metadata says {start} to {stop}"
            )
        data = np.column_stack([table[c].to_numpy() for c in COLUMNS])
        require_finite(path, data[:, [*range(7), 11]])
        parts.append(data)
        row = stop
    first = first or {}
    if row != first.get("samples", row):
        raise ValueError(
            f"{paths[-1]}: shards end at row {row}, expected {first['samples']}"
        )
    return _from_columns(np.concatenate(parts), first)


def read_table(path) -> TrackSet:
    """Reads tracks from any one Parquet file with the columns `COLUMNS` (float64).

    Raises:
        ValueError: If it is not readable, lacks a column or holds a NaN.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file: {error}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
    columns = [table[name].cast(pa.float64()).to_numpy() for name in COLUMNS]
    data = np.column_stack(columns)
    require_finite(path, data[:, [*range(7), 11]])
    return _from_columns(data, {})


def _from_columns(data, metadata):
    z_in, z_out = data[:, 5], data[:, 5] + data[:, 6]
    target = np.ascontiguousarray(data[:, 7:11])
    return TrackSet(
        np.ascontiguousarray(data[:, :5]),
        target,
        data[:, 11].copy(),
        _shared(z_in),
        _shared(z_out),
        track_ok(target),
        metadata,
    )


def _shared(z):
    """Returns the number that all rows share, or the array."""
    return float(z[0]) if len(z) and np.all(z == z[0]) else z.copy()


def require_finite(path, data, except_rows=()) -> None:
    """Raises ValueError naming the first row of data [N, ...] that is not finite."""
    bad = ~np.all(np.isfinite(data), axis=tuple(range(1, data.ndim)))
    bad[list(except_rows)] = False
    rows = np.flatnonzero(bad)
    if len(rows):
        raise ValueError(
            f"{path}: row {rows[0]}: expected finite numbers, got {data[rows[0]]} "
            f"({len(rows)} such rows)"
        )


def read_legacy(folder, name: str, z_in: float = 3000.0) -> TrackSet:
    """Reads X_<name>.npy, Y_<name>.npy, P_<name>.npy and, if there, <name>.json.

    Raises:
        ValueError: If a file is missing, truncated, of the wrong shape or holds a NaN
            in a row that the JSON file does not list as failed.
    """
    folder = pathlib.Path(folder)
    metadata = {}
    if (folder / f"{name}.json").exists():
        try:
            metadata = json.loads((folder / f"{name}.json").read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{folder / name}.json: not JSON: {error}") from error
    failed = metadata.pop("failed_rows", [])
    arrays = {}
    for letter, width in (("X", 6), ("Y", 4), ("P", None)):
        path = folder / f"{letter}_{name}.npy"
        array = load_npy(path)
        if array.ndim != (1 if width is None else 2) or (
            width is not None and array.shape[1] != width
        ):
            shape = "[N]" if width is None else f"[N, {width}]"
            raise ValueError(f"{path}: expected {shape}, got {array.shape}")
        if letter != "X" and len(array) != len(arrays["X"]):
            raise ValueError(
                f"{path}: expected {len(arrays['X'])} rows as in X_{name}.npy, got "
                f"{len(array)}"
            )
        require_finite(path, array, failed if letter == "Y" else ())
        arrays[letter] = array.astype(np.float64)
    planes = metadata.get("sampling", {})
    start = metadata.get("z_in", planes.get("z_in", z_in))
    if start is None:
        raise ValueError(
            f"{folder / name}.json: z_in varies and the .npy files do not hold it: "
            "read the shards"
        )
    z_out = _shared(start + arrays["X"][:, 5])
    ok = track_ok(arrays["Y"])
    ok[failed] = False
    return TrackSet(
        np.ascontiguousarray(arrays["X"][:, :5]),
        arrays["Y"],
        arrays["P"],
        float(start),
        z_out,
        ok,
        metadata,
    )


def load_npy(path) -> np.ndarray:
    """Reads an .npy file; ValueError names the row at which a truncated one ends."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read_header(file)
            size = os.fstat(file.fileno()).st_size - file.tell()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: not an .npy file: {error}") from error
    per_row = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    if size < per_row * (shape[0] if shape else 1):
        raise ValueError(
            f"{path}: row {size // per_row}: the file ends here, expected {shape[0]} "
            "rows (truncated)"
        )
    return np.load(path, allow_pickle=False)


def read_pairs(path) -> TrackSet:
    """Reads pairs of states from an npz file.

    Either X [N, 5], Y [N, 4], p_gev [N], z0, z1, or the LHCb plane files' X_plane and
    Y_true [N, 5] at z = 2665 and 7826 mm, whose qop is 0.299792458 q/p[1/GeV].

    Raises:
        ValueError: If the keys or shapes are others, or a row is not finite.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable npz file: {error}") from error
    if {"X_plane", "Y_true"} <= set(content):
        state = np.array(content["X_plane"], np.float64)
        target = np.array(content["Y_true"], np.float64)[:, :4]
        state[:, 4] /= PLANE_QOP_PER_QOP
        z_in, z_out = PLANE_Z_MM
        with np.errstate(divide="ignore"):
            p_gev = 1e-3 / np.abs(state[:, 4])
    elif {"X", "Y", "p_gev", "z0", "z1"} <= set(content):
        state, target = (np.array(content[key], np.float64) for key in "XY")
        z_in, z_out = float(content["z0"]), float(content["z1"])
        p_gev = np.array(content["p_gev"], np.float64)
    else:
        raise ValueError(
            f"{path}: expected X, Y, p_gev, z0, z1 or X_plane, Y_true, got "
            + ", ".join(sorted(content))
        )
    if state.shape != (len(state), 5) or target.shape != (len(state), 4):
        raise ValueError(
            f"{path}: expected states [N, 5] and targets [N, 4], got {state.shape} "
            f"and {target.shape}"
        )
    require_finite(path, np.column_stack([state, target]))
    name = pathlib.Path(path).name
    return TrackSet(
        state, target, p_gev, z_in, z_out, track_ok(target), {"pairs": name}
    )
