"""What the network predicts: the state itself or a correction to known physics.

Every parametrisation is `baseline + scale * target`; the network learns the target.
With Q = 1000 q/p [1/GeV] and L the straight line through the entry state:

========  ==========================  =====  ======================
name      baseline                    scale  field at inference
========  ==========================  =====  ======================
absolute  0                           1      no
straight  L                           1      no
kick      L                           Q      no
born      L + first-order kick        Q^2    yes, a few look-ups
map       RK4 through an approximate  Q      yes, a whole transport
          map
========  ==========================  =====  ======================
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.track_extrapolator.physics.field import GaussFit, GaussSeed, UniformField
from jaxphys.track_extrapolator.physics.motion import KAPPA_PER_QOP
from jaxphys.track_extrapolator.physics.propagate import rk4_transport

Array = jax.Array | np.ndarray
NAMES = ("absolute", "straight", "kick", "born", "map")
NEEDS_FIELD = ("born", "map")
SMOOTH_FIELDS = (GaussSeed, GaussFit, UniformField)
SMOOTH_NODES = 8
STRUCTURED_NODES = 40


def check_name(name: str) -> str:
    """Returns the name of a parametrisation, or raises ValueError."""
    if name not in NAMES:
        raise ValueError(
            f"parametrisation: expected one of {', '.join(NAMES)}, got {name!r}"
        )
    return name


def check_field(name: str, field: Any) -> None:
    """Raises ValueError where a parametrisation lacks the field that it needs."""
    if check_name(name) in NEEDS_FIELD and field is None:
        raise ValueError(f"parametrisation {name}: expected a field, got none")


def default_nodes(field: Any) -> int:
    """Returns the quadrature points of born: few on a smooth field, more on a map."""
    smooth = field is None or isinstance(field, SMOOTH_FIELDS)
    return SMOOTH_NODES if smooth else STRUCTURED_NODES


def map_steps(z_in, z_out, step_mm: float) -> int:
    """Returns the number of RK4 steps that covers the longest distance."""
    distance = np.max(np.abs(np.asarray(z_out) - np.asarray(z_in)))
    return max(1, math.ceil(float(distance) / step_mm))


def straight_line(state: Array, z_in, z_out) -> jax.Array:
    """Returns (x, y, tx, ty) [N, 4] of the straight line at z_out."""
    x, y, tx, ty = state[:, 0], state[:, 1], state[:, 2], state[:, 3]
    dz = z_out - z_in
    return jnp.stack([x + tx * dz, y + ty * dz, tx, ty], axis=1)


def first_order_kick(
    field: Any, state: Array, z_in, z_out, nodes: int = SMOOTH_NODES
) -> jax.Array:
    """Returns the change (dx, dy, dtx, dty) [N, 4] by the force along the line.

    The force is taken with the initial slopes at Gauss-Legendre points of the straight
    line: dtx = sum a_i w_i and dx = sum a_i w_i (z_out - z_i).

    Args:
        field: maps (x, y, z) in mm to (Bx, By, Bz) in tesla.
        state: x, y, tx, ty, q/p [1/MeV], shape [N, 5].
        z_in: entry plane in mm, a scalar or [N].
        z_out: exit plane in mm, a scalar or [N].
        nodes: points of the quadrature; 8 suit a smooth field, a grid needs 40.
    """
    x, y, tx, ty, qop = (state[:, column] for column in range(5))
    kappa_n = KAPPA_PER_QOP * qop * jnp.sqrt(1 + tx * tx + ty * ty)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    dz = z_out - z_in

    def add_node(total, node):
        fraction, weight = node
        path = fraction * dz  # keeps one z for all tracks when the planes are shared
        bx, by, bz = field(x + tx * path, y + ty * path, z_in + path)
        ax = kappa_n * (tx * ty * bx - (1 + tx * tx) * by + ty * bz)
        ay = kappa_n * ((1 + ty * ty) * bx - tx * ty * by - tx * bz)
        wx, wy = ax * (weight * dz), ay * (weight * dz)
        left = dz - path
        return (
            total[0] + wx * left,
            total[1] + wy * left,
            total[2] + wx,
            total[3] + wy,
        ), None

    nodes_on_unit = jnp.asarray(np.stack([(points + 1) / 2, weights / 2]), state.dtype)
    start = (jnp.zeros_like(x),) * 4
    total, _ = jax.lax.scan(add_node, start, (nodes_on_unit[0], nodes_on_unit[1]))
    return jnp.stack(total, axis=1)  # [N, 4]


def baseline(
    name: str,
    state: Array,
    z_in,
    z_out,
    field: Any = None,
    *,
    nodes: int = SMOOTH_NODES,
    n_steps: int | None = None,
    map_step_mm: float = 100.0,
) -> jax.Array:
    """Returns what is known without the network: (x, y, tx, ty) [N, 4].

    Args:
        name: one of `NAMES`.
        state: x, y, tx, ty, q/p [1/MeV], shape [N, 5].
        z_in: entry plane in mm, a scalar or [N].
        z_out: exit plane in mm, a scalar or [N].
        field: the field of born and map.
        nodes: quadrature points of born.
        n_steps: RK4 steps of map; needed where the planes are traced.
        map_step_mm: gives the number of steps where it is not given.
    """
    check_field(name, field)
    if name == "absolute":
        return jnp.zeros((state.shape[0], 4), state.dtype)
    if name == "map":
        steps = map_steps(z_in, z_out, map_step_mm) if n_steps is None else n_steps
        x, y, tx, ty, qop = (state[:, column] for column in range(5))
        moved = rk4_transport(field, x, y, tx, ty, qop, z_in, z_out, steps)
        return jnp.stack(moved, axis=1)
    line = straight_line(state, z_in, z_out)
    if name == "born":
        return line + first_order_kick(field, state, z_in, z_out, nodes)
    return line


def scale(name: str, qop: Array) -> Array:
    """Returns the factor [N] of the target for q/p [1/MeV] of shape [N]."""
    if check_name(name) in ("absolute", "straight"):
        return jnp.ones_like(qop)
    charge = 1000 * qop
    return charge * charge if name == "born" else charge


def encode(
    name: str, state: Array, truth: Array, z_in, z_out, field=None, **settings
) -> Array:
    """Returns the target [N, 4] of the network for true exit states.

    Where the scale vanishes (q/p = 0) the target has no meaning; `targets` refuses it.

    Args:
        name: one of `NAMES`.
        state: x, y, tx, ty, q/p [1/MeV], shape [N, 5].
        truth: x, y, tx, ty at z_out, shape [N, 4].
        z_in: entry plane in mm, a scalar or [N].
        z_out: exit plane in mm, a scalar or [N].
        field: the field of born and map.
        **settings: `nodes`, `n_steps` and `map_step_mm` of `baseline`.
    """
    known = baseline(name, state, z_in, z_out, field, **settings)
    return (truth - known) / scale(name, state[:, 4])[:, None]


def decode(
    name: str, state: Array, target: Array, z_in, z_out, field=None, **settings
) -> Array:
    """Returns the exit state (x, y, tx, ty) [N, 4] for a target [N, 4].

    It multiplies only, so a kick with q/p = 0 is exactly the straight line. The
    arguments are those of `encode`.
    """
    known = baseline(name, state, z_in, z_out, field, **settings)
    return known + scale(name, state[:, 4])[:, None] * target


@functools.partial(jax.jit, static_argnames=("name", "nodes", "n_steps"))
def _encode(name, state, truth, z_in, z_out, field, nodes, n_steps):
    return encode(name, state, truth, z_in, z_out, field, nodes=nodes, n_steps=n_steps)


def targets(
    name: str,
    state: np.ndarray,
    truth: np.ndarray,
    z_in,
    z_out,
    field=None,
    *,
    nodes: int = SMOOTH_NODES,
    map_step_mm: float = 100.0,
) -> np.ndarray:
    """Returns the float64 targets [N, 4] of a data set; the arguments are `encode`'s.

    Raises:
        ValueError: a track has q/p = 0, whose target would be a division by zero.
    """
    state = np.asarray(state, np.float64)
    divides = check_name(name) not in ("absolute", "straight")
    if divides and (rows := np.flatnonzero(state[:, 4] == 0)).size:
        raise ValueError(
            f"parametrisation {name}: expected q/p != 0 in training data, got 0 in "
            f"{rows.size} rows, the first is row {rows[0]}"
        )
    steps = map_steps(z_in, z_out, map_step_mm)
    with jax.enable_x64(True):
        planes = (np.asarray(z_in, np.float64), np.asarray(z_out, np.float64))
        truth = np.asarray(truth, np.float64)
        return np.asarray(_encode(name, state, truth, *planes, field, nodes, steps))
