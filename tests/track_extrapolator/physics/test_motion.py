"""The equation of motion against its vector form."""

import numpy as np
import pytest

from jaxphys.track_extrapolator.physics.field import Field, UniformField
from jaxphys.track_extrapolator.physics.motion import KAPPA_PER_QOP, acceleration


def lorentz(b, tx, ty, kappa):
    """Returns d(tx, ty)/dz from dp/ds = q v x B, for one unit of momentum."""
    norm = np.sqrt(1 + tx * tx + ty * ty)
    direction = np.array([tx, ty, 1.0]) / norm
    turn = kappa * np.cross(direction, b)  # d(direction)/ds
    dz = direction[2]  # dz/ds
    return (turn[:2] - np.array([tx, ty]) * turn[2]) / dz / dz


@pytest.mark.parametrize("bz", [0.0, 0.7])
def test_acceleration_is_the_lorentz_force_along_z(bz):
    rng = np.random.default_rng(0)
    for _ in range(20):
        b = np.array([*rng.normal(size=2), bz])
        tx, ty, qop = *rng.normal(size=2), rng.normal() * 1e-4
        field: Field = UniformField(*b.tolist())
        found = acceleration(field, None, 0.0, 0.0, tx, ty, KAPPA_PER_QOP * qop)
        expected = lorentz(b, tx, ty, KAPPA_PER_QOP * qop)
        np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_kappa_turns_one_gev_in_one_tesla_on_its_radius():
    radius_mm = 1 / (KAPPA_PER_QOP * 1e-3)
    assert radius_mm == pytest.approx(1e3 / 0.299792458, rel=1e-12)
