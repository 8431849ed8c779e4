"""An independent oracle: classical RK4, one track at a time, small numpy arrays.

It works like the per-track generators that the propagator replaces and is therefore
the baseline of tests/benchmarks/propagator.py, too.
"""

import numpy as np


class GaussSeedReference:
    """The analytic seed field, from its formula."""

    def __init__(self, polarity=1.0):
        self.polarity = polarity

    def __call__(self, x, y, z):
        profile = self.polarity * np.exp(-0.5 * ((z - 5250.0) / 2500.0) ** 2)
        by = profile * (1.0 - 1e-4 * (x**2 + y**2) / 1e6)
        return -0.01 * by * x / 1000.0, by, 0.0


class GridReference:
    """Trilinear interpolation of values [nz, ny, nx, 3], clamped at the edge."""

    def __init__(self, values, minimum, spacing):
        self.values = np.asarray(values, np.float64)
        self.minimum = np.asarray(minimum, np.float64)
        self.spacing = np.asarray(spacing, np.float64)
        self.last = np.array(self.values.shape[2::-1]) - 2

    def __call__(self, x, y, z):
        f = (np.array([x, y, z]) - self.minimum) / self.spacing
        i = np.clip(f.astype(int), 0, self.last)
        u = np.clip(f - i, 0.0, 1.0)
        cell = self.values[i[2] : i[2] + 2, i[1] : i[1] + 2, i[0] : i[0] + 2]
        for axis in (2, 1, 0):  # z, then y, then x
            cell = cell[0] * (1.0 - u[axis]) + cell[1] * u[axis]
        return cell


def derivative(field, z, state):
    """Returns d(state)/dz for state = (x, y, tx, ty, q/p)."""
    x, y, tx, ty, qop = state
    bx, by, bz = field(x, y, z)
    factor = 0.299792458 * qop * np.sqrt(1.0 + tx**2 + ty**2)
    return np.array(
        [
            tx,
            ty,
            factor * (tx * ty * bx - (1.0 + tx**2) * by + ty * bz),
            factor * ((1.0 + ty**2) * bx - tx * ty * by - tx * bz),
            0.0,
        ]
    )


def transport_track(field, state, z0, z1, step):
    """Returns one state [5] at z1 after ceil(|z1 - z0| / step) equal steps."""
    count = int(np.ceil(abs(z1 - z0) / step))
    h = (z1 - z0) / max(count, 1)
    z = z0
    for _ in range(count):
        k1 = derivative(field, z, state)
        k2 = derivative(field, z + h / 2, state + h / 2 * k1)
        k3 = derivative(field, z + h / 2, state + h / 2 * k2)
        k4 = derivative(field, z + h, state + h * k3)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        z += h
    return state


def transport(field, states, z0, z1, step):
    """Returns states [N, 5] at z1, track after track; z0 and z1 scalars or [N]."""
    starts = np.broadcast_to(z0, len(states)).tolist()
    ends = np.broadcast_to(z1, len(states)).tolist()
    moved = [
        transport_track(field, state, a, b, step)
        for state, a, b in zip(states, starts, ends, strict=True)
    ]
    return np.array(moved).reshape(-1, 5)
