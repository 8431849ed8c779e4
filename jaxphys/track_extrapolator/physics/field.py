"""Magnetic fields: frozen pytrees that map (x, y, z) in mm to (Bx, By, Bz) in tesla.

Every field splits an evaluation in two, because a batch of tracks usually shares z:
`plane(z)` computes what depends on z only, `at(plane, x, y)` does the rest per track.
"""

import dataclasses
import hashlib
import json
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LHCB_GRID = {
    "minimum": (-4000.0, -4000.0, -500.0),
    "spacing": (100.0, 100.0, 100.0),
    "shape": (81, 81, 146),  # nx, ny, nz
}


class Field:
    """Base of all fields: a subclass provides `plane` and `at`.

    Attributes:
        costly: Whether an evaluation costs more than storing its result.
    """

    costly: ClassVar[bool] = False

    def plane(self, z, shared_by: int = 1) -> Any:
        """Returns what the field needs to know about z.

        Args:
            z: Scalar or array, mm.
            shared_by: Number of tracks that a scalar z stands for; a field may prepare
                a whole plane when many tracks share it.
        """
        raise NotImplementedError

    def at(self, plane: Any, x, y) -> tuple:
        """Returns (Bx, By, Bz) in tesla; a component that vanishes may be 0.0."""
        raise NotImplementedError

    def __call__(self, x, y, z):
        """Evaluates the field.

        Args:
            x: Horizontal coordinate, any shape, mm.
            y: Vertical coordinate, shape of x, mm.
            z: Coordinate along the beam, shape of x or scalar, mm.

        Returns:
            (Bx, By, Bz) in tesla, each with the shape of x.
        """
        x, y, z = jnp.asarray(x), jnp.asarray(y), jnp.asarray(z)
        components = self.at(self.plane(z), x, y)
        return tuple(jnp.broadcast_to(c, x.shape).astype(x.dtype) for c in components)


def _register(*data_fields):
    def wrap(cls):
        names = [f.name for f in dataclasses.fields(cls)]
        static = [name for name in names if name not in data_fields]
        return jax.tree_util.register_dataclass(cls, list(data_fields), static)

    return wrap


@_register()
@dataclasses.dataclass(frozen=True)
class UniformField(Field):
    """A constant field, for exact checks against a helix."""

    bx: float = 0.0
    by: float = 0.0
    bz: float = 0.0

    def plane(self, z, shared_by=1):
        return None

    def at(self, plane, x, y):
        return self.bx, self.by, self.bz


@_register()
@dataclasses.dataclass(frozen=True)
class GaussSeed(Field):
    """The toy dipole that the original program used as truth.

    It violates Maxwell's equations (a toy Bx without its partner terms): use it as a
    reproducible benchmark, not as a magnet.
    """

    polarity: float = 1.0
    peak_tesla: float = 1.0
    centre_mm: float = 5250.0
    width_mm: float = 2500.0

    def plane(self, z, shared_by=1):
        u = (z - self.centre_mm) / self.width_mm
        return self.polarity * self.peak_tesla * jnp.exp(-0.5 * u * u)

    def at(self, plane, x, y):
        by = plane * (1.0 - 1e-10 * (x * x + y * y))
        return -1e-5 * by * x, by, 0.0


@_register()
@dataclasses.dataclass(frozen=True)
class GaussFit(Field):
    """A Gaussian dipole fitted to the axis profile of the map `twodip`."""

    polarity: float = 1.0
    peak_tesla: float = -1.0182
    centre_mm: float = 5007.0
    width_mm: float = 1744.0

    def plane(self, z, shared_by=1):
        u = (z - self.centre_mm) / self.width_mm
        return self.polarity * self.peak_tesla * jnp.exp(-0.5 * u * u)

    def at(self, plane, x, y):
        return 0.0, plane, 0.0


@_register("z", "coefficients")
@dataclasses.dataclass(frozen=True, eq=False)
class MultipoleField(Field):
    """By as a polynomial in x and y whose coefficients are linear in z.

    Attributes:
        z: Regular nodes [nz], mm; the end values hold outside.
        coefficients: [nz, K] tesla.
        terms: K pairs (a, b): the powers of u = clip(x / scale_x, -1, 1) and
            v = clip(y / scale_y, -1, 1).
        scale_x: mm.
        scale_y: mm.
        polarity: Factor on By.
    """

    z: Any
    coefficients: Any
    terms: tuple[tuple[int, int], ...]
    scale_x: float
    scale_y: float
    polarity: float = 1.0

    def plane(self, z, shared_by=1):
        nodes, table = jnp.asarray(self.z), jnp.asarray(self.coefficients)
        index, fraction = _cell((z - nodes[0]) / (nodes[1] - nodes[0]), len(nodes))
        fraction = fraction[..., None]
        low, high = table[index], table[index + 1]
        return self.polarity * (low + fraction * (high - low))

    def at(self, plane, x, y):
        u = _powers(jnp.clip(x / self.scale_x, -1.0, 1.0), [a for a, _ in self.terms])
        v = _powers(jnp.clip(y / self.scale_y, -1.0, 1.0), [b for _, b in self.terms])
        by = 0.0
        for b in sorted(v):
            inner = 0.0
            for k, term in enumerate(self.terms):
                if term[1] == b:
                    inner = inner + plane[..., k] * u[term[0]]
            by = by + inner * v[b]
        return 0.0, by, 0.0


def _cell(f, nodes):
    """Returns the index of the cell that holds f and the place in it, clamped."""
    index = jnp.clip(f.astype(jnp.int32), 0, nodes - 2)
    return index, jnp.clip(f - index.astype(f.dtype), 0.0, 1.0)


def _powers(u, wanted):
    powers = {0: jnp.ones_like(u)}
    for exponent in range(1, max(wanted) + 1):
        half = exponent // 2
        powers[exponent] = powers[half] * powers[exponent - half] if half else u
    return {exponent: powers[exponent] for exponent in wanted}


class _Slab(NamedTuple):
    values: Any  # [ny * nx, C], the map interpolated in z
    inside: Any


class _Layer(NamedTuple):
    index: Any  # the cell in z
    fraction: Any
    inside: Any


@_register("values", "minimum", "spacing")
@dataclasses.dataclass(frozen=True, eq=False)
class GridField(Field):
    """Trilinear interpolation on a regular grid.

    Attributes:
        values: [nz, ny, nx, C] tesla; only the components that do not vanish.
        minimum: First node (x, y, z), mm.
        spacing: Distance of nodes (x, y, z), mm.
        components: Which of Bx, By, Bz (0, 1, 2) the C columns are.
        outside: "clamp" continues with the value at the edge, "zero" with 0.
    """

    values: Any
    minimum: Any
    spacing: Any
    components: tuple[int, ...] = (0, 1, 2)
    outside: str = "clamp"
    costly: ClassVar[bool] = True

    @classmethod
    def from_map(cls, values, minimum, spacing, polarity=1.0, outside="clamp"):
        """Builds the field from all three components.

        Args:
            values: [nz, ny, nx, 3] tesla.
            minimum: First node (x, y, z), mm.
            spacing: Distance of nodes (x, y, z), mm.
            polarity: Factor on all components.
            outside: "clamp" or "zero".

        Raises:
            ValueError: If a shape or the rule for the outside is wrong.
        """
        values = np.asarray(values, np.float64)
        if values.ndim != 4 or values.shape[-1] != 3 or min(values.shape[:3]) < 2:
            raise ValueError(
                "field map: expected [nz, ny, nx, 3] with two nodes or more along "
                f"each axis, got {values.shape}"
            )
        if outside not in ("clamp", "zero"):
            raise ValueError(f"outside: expected 'clamp' or 'zero', got {outside!r}")
        kept = tuple(int(c) for c in range(3) if np.any(values[..., c])) or (1,)
        return cls(
            np.ascontiguousarray(polarity * values[..., list(kept)]),
            np.asarray(minimum, np.float64),
            np.asarray(spacing, np.float64),
            kept,
            outside,
        )

    def plane(self, z, shared_by=1):
        f = (z - self.minimum[2]) / self.spacing[2]
        nz, ny, nx, count = self.values.shape
        index, fraction = _cell(f, nz)
        inside = (f >= 0) & (f <= nz - 1)
        # a slab costs about four operations per node, its use saves half the gathers
        if jnp.ndim(z) == 0 and 2 * shared_by >= ny * nx:
            values = jnp.asarray(self.values)
            low, high = values[index], values[index + 1]
            slab = low + fraction * (high - low)
            return _Slab(slab.reshape(ny * nx, count), inside)
        return _Layer(index, fraction, inside)

    def at(self, plane, x, y):
        nz, ny, nx, count = self.values.shape
        fx = (x - self.minimum[0]) / self.spacing[0]
        fy = (y - self.minimum[1]) / self.spacing[1]
        ix, u = _cell(fx, nx)
        iy, v = _cell(fy, ny)
        node = iy * nx + ix
        if isinstance(plane, _Slab):
            found = [
                _bilinear(plane.values[:, c], node, nx, u, v) for c in range(count)
            ]
        else:
            nodes = jnp.asarray(self.values).reshape(nz * ny * nx, count)
            node = node + plane.index * (ny * nx)
            found = []
            for c in range(count):
                low = _bilinear(nodes[:, c], node, nx, u, v)
                high = _bilinear(nodes[:, c], node + ny * nx, nx, u, v)
                found.append(low + plane.fraction * (high - low))
        if self.outside == "zero":
            inside = plane.inside & (fx >= 0) & (fx <= nx - 1)
            inside = inside & (fy >= 0) & (fy <= ny - 1)
            found = [jnp.where(inside, b, 0.0) for b in found]
        result: list[Any] = [0.0, 0.0, 0.0]
        for component, b in zip(self.components, found, strict=True):
            result[component] = b
        return tuple(result)

    def evaluate(self, points) -> np.ndarray:
        """Returns the field [n, 3] in tesla at points [n, 3] in mm, in float64."""
        with jax.enable_x64(True):
            x, y, z = np.asarray(points, np.float64).reshape(-1, 3).T
            return np.stack([np.asarray(b) for b in self(x, y, z)], axis=-1)

    def contains(self, points) -> np.ndarray:
        """Returns whether points [n, 3] in mm lie on the grid, as [n] booleans."""
        f = (np.asarray(points) - self.minimum) / self.spacing
        last = np.asarray(self.values.shape[2::-1]) - 1
        return np.all((f >= 0) & (f <= last), axis=-1)


def _bilinear(nodes, node, nx, u, v):
    def corner(offset):
        # the cells are clamped already, so no second check per look-up is needed
        return nodes.at[node + offset].get(mode="promise_in_bounds")

    low = corner(0) + u * (corner(1) - corner(0))
    high = corner(nx) + u * (corner(nx + 1) - corner(nx))
    return low + v * (high - low)


def sample_on_grid(field: Field, minimum, spacing, shape, outside="clamp") -> GridField:
    """Samples a field on a regular grid.

    Args:
        field: Any field.
        minimum: First node (x, y, z), mm.
        spacing: Distance of nodes (x, y, z), mm.
        shape: Number of nodes (nx, ny, nz).
        outside: "clamp" or "zero".
    """
    axes = [
        m + d * np.arange(n) for m, d, n in zip(minimum, spacing, shape, strict=True)
    ]
    y, x = (a.ravel() for a in np.meshgrid(axes[1], axes[0], indexing="ij"))
    with jax.enable_x64(True):
        evaluate = jax.jit(lambda z: jnp.stack(field(x, y, z), axis=-1))
        planes = [np.asarray(evaluate(z)) for z in axes[2]]
    values = np.stack(planes).reshape(shape[2], shape[1], shape[0], 3)
    return GridField.from_map(values, minimum, spacing, outside=outside)


def field_hash(field: Field) -> str:
    """Returns the SHA-256 of the class, settings and arrays of a field."""
    digest = hashlib.sha256(type(field).__name__.encode())
    for item in dataclasses.fields(field):  # pyright: ignore[reportArgumentType]
        value = getattr(field, item.name)
        if isinstance(value, np.ndarray | jax.Array):
            array = np.ascontiguousarray(value, "<f8")
            digest.update(f"{item.name}{array.shape}".encode())
            digest.update(array.tobytes())
        else:
            digest.update(f"{item.name}={json.dumps(value)}".encode())
    return digest.hexdigest()
