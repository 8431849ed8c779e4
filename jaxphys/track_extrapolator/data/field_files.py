"""Files of field maps: twodip ASCII, Allen/LHCb binary, npz grid, npz multipoles."""

import dataclasses
import hashlib
import io
import pathlib
import warnings
import zipfile

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.track_extrapolator.physics.field import (
    LHCB_GRID,
    Field,
    GaussFit,
    GaussSeed,
    GridField,
    MultipoleField,
    sample_on_grid,
)

TESLA_PEAK = (0.1, 10.0)
GAUSS_PEAK = (1e3, 1e5)
GAUDI_PEAK = (1e-4, 1e-2)  # 1 T is 1e-3 in LHCb's system of units
HEADER = np.dtype(
    [
        ("inverse_spacing", "<f4", 3),
        ("pad0", "<f4"),
        ("shape", "<i4", 3),
        ("pad1", "<i4"),
        ("minimum", "<f4", 3),
        ("pad2", "<f4"),
    ]
)

KINDS = ("gauss_seed", "gauss_fit", "grid", "multipole", "multipole_grid")


@dataclasses.dataclass(frozen=True, eq=False)
class FieldMap:
    """A field on a regular grid as read from a file.

    Attributes:
        values: [nz, ny, nx, 3] Bx, By, Bz in tesla, float64.
        minimum: [3] first node (x, y, z), mm.
        spacing: [3] distance of nodes, mm.
        inverse_spacing: [3] 1/mm, as the file has it.
    """

    values: np.ndarray
    minimum: np.ndarray
    spacing: np.ndarray
    inverse_spacing: np.ndarray

    @property
    def axes(self) -> tuple[np.ndarray, ...]:
        """The nodes along x, y and z, mm."""
        counts = self.values.shape[2::-1]
        return tuple(
            m + d * np.arange(n)
            for m, d, n in zip(self.minimum, self.spacing, counts, strict=True)
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of the values."""
        return hashlib.sha256(self.values.astype("<f8").tobytes()).hexdigest()


def read_map(path) -> FieldMap:
    """Reads a field map; the content decides the format.

    Raises:
        ValueError: If the file is missing or is none of the three formats.
    """
    data = _bytes(path)
    if data[:2] == b"PK":
        return _read_npz_map(path)
    if data[:5] == b"{\\rtf":
        raise ValueError(
            f"{path}: rich text: expected plain columns x y z Bx By Bz, save the file "
            "as plain text"
        )
    if b"\0" in data[:4096]:
        return decode_allen(data, path)
    return decode_twodip(data, path)


def _bytes(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error


def decode_allen(data: bytes, name="field map") -> FieldMap:
    """Decodes the Allen/LHCb binary layout: 48 bytes of header, then x fastest.

    Args:
        data: The file.
        name: What error messages call the file.

    Raises:
        ValueError: If the size, the header, a value or the unit is wrong.
    """
    if len(data) < HEADER.itemsize:
        raise ValueError(
            f"{name}: expected a header of {HEADER.itemsize} bytes, got {len(data)}"
        )
    header = np.frombuffer(data, HEADER, 1)[0]
    nx, ny, nz = (int(n) for n in header["shape"])
    if min(nx, ny, nz) < 2 or not np.all(header["inverse_spacing"] > 0):
        raise ValueError(
            f"{name}: header: expected two nodes or more and 1/d > 0, got N = "
            f"{nx}, {ny}, {nz} and 1/d = {header['inverse_spacing']}"
        )
    expected = HEADER.itemsize + 16 * nx * ny * nz
    if len(data) != expected:
        raise ValueError(
            f"{name}: expected {expected} bytes for N = {nx}, {ny}, {nz}, got "
            f"{len(data)} (record {(len(data) - HEADER.itemsize) // 16} is the last)"
        )
    records = np.frombuffer(data, "<f4", offset=HEADER.itemsize)
    values = records.reshape(nz, ny, nx, 4)[..., :3].astype(np.float64)
    scale = _unit(values, name, ((TESLA_PEAK, 1.0), (GAUDI_PEAK, 1e3)))
    # dividing in float32 recovers the spacing that the header's 1/d was rounded from
    spacing = np.float32(1) / header["inverse_spacing"]
    return FieldMap(
        values * scale,
        header["minimum"].astype(np.float64),
        spacing.astype(np.float64),
        header["inverse_spacing"].astype(np.float64),
    )


def decode_twodip(data: bytes, name="field map") -> FieldMap:
    """Decodes whitespace columns x y z Bx By Bz, in any order of rows.

    Args:
        data: The file.
        name: What error messages call the file.

    Raises:
        ValueError: If a row is malformed or not finite, the rows are not a full regular
            grid, or the unit cannot be told.
    """
    rows = _columns(data, name)
    bad = np.flatnonzero(~np.all(np.isfinite(rows), axis=1))
    if len(bad):
        raise ValueError(f"{name}: row {bad[0] + 1}: not finite: {rows[bad[0]]}")
    axes, places = zip(
        *(np.unique(rows[:, k], return_inverse=True) for k in range(3)), strict=True
    )
    spacing = np.array([_regular(name, "xyz"[k], axes[k]) for k in range(3)])
    nx, ny, nz = (len(axis) for axis in axes)
    node = (places[2] * ny + places[1]) * nx + places[0]
    _require_full_grid(name, node, axes)
    values = np.empty((nz * ny * nx, 3))
    values[node] = rows[:, 3:]
    values = values.reshape(nz, ny, nx, 3)
    values = values * _unit(values, name, ((TESLA_PEAK, 1.0), (GAUSS_PEAK, 1e-4)))
    minimum = np.array([axis[0] for axis in axes])
    return FieldMap(values, minimum, spacing, 1.0 / spacing)


def _columns(data, name):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file: see below
            rows = np.loadtxt(io.BytesIO(data), ndmin=2)
    except ValueError:
        rows = np.empty((0, 0))
    if len(rows) and rows.shape[1] == 6:
        return rows
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split("#")[0].split()
        try:
            ok = len([float(word) for word in words]) in (0, 6)
        except ValueError:
            ok = False
        if not ok:
            raise ValueError(
                f"{name}: line {number}: expected six numbers x y z Bx By Bz, got "
                f"{line.strip()[:80]!r}"
            )
    raise ValueError(f"{name}: expected rows x y z Bx By Bz, got none")


def _regular(name, label, axis):
    if len(axis) < 2:
        raise ValueError(f"{name}: {label}: expected two nodes or more, got {axis}")
    steps = np.diff(axis)
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    odd = np.flatnonzero(np.abs(steps - step) > 1e-6 * step)
    if len(odd):
        raise ValueError(
            f"{name}: {label}: expected equal distances of {step} mm, got "
            f"{steps[odd[0]]} after {label} = {axis[odd[0]]}"
        )
    return step


def _require_full_grid(name, node, axes):
    nx, ny, nz = (len(axis) for axis in axes)
    counts = np.bincount(node, minlength=nx * ny * nz)

    def place(k):
        x, y, z = axes[0][k % nx], axes[1][k // nx % ny], axes[2][k // (nx * ny)]
        return f"({x:g}, {y:g}, {z:g}) mm"

    double = np.flatnonzero(counts > 1)
    if len(double):
        rows = np.flatnonzero(node == double[0]) + 1
        raise ValueError(
            f"{name}: node {place(double[0])} occurs in rows {rows[0]} and {rows[1]}"
        )
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        raise ValueError(
            f"{name}: expected a full grid of {nx} x {ny} x {nz} nodes, missing "
            f"{place(absent[0])} ({len(absent)} missing in all)"
        )


def _unit(values, name, known):
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        z, y, x, component = bad[0]
        raise ValueError(
            f"{name}: cell x {x}, y {y}, z {z}: {('Bx', 'By', 'Bz')[component]} is "
            "not finite"
        )
    peak = np.max(np.abs(values[..., 1]))
    for (low, high), scale in known:
        if low <= peak <= high:
            return scale
    ranges = " or ".join(f"{low:g}..{high:g}" for (low, high), _ in known)
    raise ValueError(f"{name}: unit: expected a peak of |By| in {ranges}, got {peak:g}")


def _npz(path, keys):
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            content = {key: file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable npz file: {error}") from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f"{path}: arrays missing: {', '.join(missing)}")
    return content


def _read_npz_map(path):
    content = _npz(path, ("values", "minimum", "spacing"))
    values, minimum, spacing = (
        np.asarray(content[key], np.float64) for key in ("values", "minimum", "spacing")
    )
    if values.ndim != 4 or values.shape[-1] != 3 or min(values.shape) < 2:
        raise ValueError(
            f"{path}: values: expected [nz, ny, nx, 3], got {values.shape}"
        )
    scale = _unit(values, path, ((TESLA_PEAK, 1.0),))
    return FieldMap(values * scale, minimum, spacing, 1.0 / spacing)


def is_multipole(path) -> bool:
    """Returns whether a file is an npz with a multipole expansion."""
    if not zipfile.is_zipfile(path):
        return False
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
        return {"z", "C", "terms"} <= set(file.files)


def read_multipole(path, polarity: float = 1.0) -> MultipoleField:
    """Reads a multipole expansion of By: z, C, terms, xn_x, xn_y.

    Raises:
        ValueError: If an array is missing, has a wrong shape or is not finite.
    """
    content = _npz(path, ("z", "C", "terms", "xn_x", "xn_y"))
    z, table = (np.asarray(content[key], np.float64) for key in ("z", "C"))
    terms = np.asarray(content["terms"])
    if z.ndim != 1 or table.shape != (len(z), len(terms)) or terms.shape[1:] != (2,):
        raise ValueError(
            f"{path}: expected z [nz], C [nz, K], terms [K, 2], got {z.shape}, "
            f"{table.shape}, {terms.shape}"
        )
    bad = np.flatnonzero(~np.all(np.isfinite(table), axis=1) | ~np.isfinite(z))
    if len(bad):
        raise ValueError(f"{path}: C: row {bad[0]} is not finite")
    _regular(path, "z", z)
    return MultipoleField(
        z,
        table,
        tuple((int(a), int(b)) for a, b in terms),
        float(content["xn_x"]),
        float(content["xn_y"]),
        float(polarity),
    )


def write_multipole(path, field: MultipoleField) -> None:
    """Writes a multipole expansion as npz, polarity included."""
    with replace_file(path) as file:
        np.savez(
            file,
            z=field.z,
            C=field.polarity * np.asarray(field.coefficients),
            terms=np.array(field.terms),
            xn_x=field.scale_x,
            xn_y=field.scale_y,
        )


def write_npz_map(path, field_map: FieldMap) -> None:
    """Writes a field map as npz: values (tesla), minimum and spacing (mm)."""
    with replace_file(path) as file:
        np.savez(
            file,
            values=field_map.values,
            minimum=field_map.minimum,
            spacing=field_map.spacing,
        )


def write_allen(path, field_map: FieldMap, unit: str = "tesla") -> None:
    """Writes the Allen/LHCb binary layout; unit is "tesla" or "gaudi"."""
    if unit not in ("tesla", "gaudi"):
        raise ValueError(f"unit: expected 'tesla' or 'gaudi', got {unit!r}")
    header = np.zeros(1, HEADER)
    header["inverse_spacing"] = 1.0 / field_map.spacing
    header["shape"] = field_map.values.shape[2::-1]
    header["minimum"] = field_map.minimum
    records = np.zeros((*field_map.values.shape[:3], 4), "<f4")
    records[..., :3] = field_map.values * (1e-3 if unit == "gaudi" else 1.0)
    with replace_file(path) as file:
        file.write(header.tobytes())
        file.write(records.tobytes())


def write_twodip(path, field_map: FieldMap) -> None:
    """Writes columns x y z Bx By Bz (mm, tesla): z slowest, then x, y fastest."""
    x, y, z = field_map.axes
    places = np.stack(np.meshgrid(z, x, y, indexing="ij"), axis=-1)[..., [1, 2, 0]]
    values = field_map.values.transpose(0, 2, 1, 3)  # [nz, nx, ny, 3]
    rows = np.concatenate([places, values], axis=-1).reshape(-1, 6)
    with replace_file(path, "w") as file:
        for row in rows.tolist():
            file.write(" ".join(map(repr, row)) + "\n")


def make_field(kind, path="", polarity=1.0, outside="clamp") -> Field:
    """Builds a field from its name.

    Args:
        kind: One of `KINDS`.
        path: The file of a grid (twodip ASCII, Allen/LHCb `.bin` or `.npz`) or of a
            multipole expansion (`.npz`); empty for the analytic fields.
        polarity: Factor on all components, usually +1 or -1.
        outside: "clamp" or "zero", for grids.

    Raises:
        ValueError: If the kind is unknown or its file is missing, wrong or not wanted.
    """
    if kind not in KINDS:
        raise ValueError(f"field: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind in ("gauss_seed", "gauss_fit"):
        if path:
            raise ValueError(f"field_file: {kind} needs no file, got {str(path)!r}")
        return {"gauss_seed": GaussSeed, "gauss_fit": GaussFit}[kind](float(polarity))
    if not path:
        raise ValueError(f"field_file: {kind} needs a file, got an empty path")
    path = pathlib.Path(path)
    if kind == "grid" and not is_multipole(path):
        found = read_map(path)
        return GridField.from_map(
            found.values, found.minimum, found.spacing, polarity, outside
        )
    expansion = read_multipole(path, polarity)
    if kind == "multipole":
        return expansion
    return sample_on_grid(expansion, **LHCB_GRID, outside=outside)
