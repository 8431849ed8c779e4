"""The equation of motion of a charged particle in a magnetic field.

With z as independent variable, kappa = 0.299792458 q/p, q/p in 1/MeV, mm and tesla,
T = (tx, ty), N = sqrt(1 + tx^2 + ty^2) and w = ty Bx - tx By:

    dx/dz = tx    dtx/dz = kappa N (tx w - By + ty Bz)
    dy/dz = ty    dty/dz = kappa N (ty w + Bx - tx Bz)
"""

import jax.numpy as jnp

from jaxphys.track_extrapolator.physics.field import Field

KAPPA_PER_QOP = 0.299792458  # 1/(mm T) for q/p in 1/MeV


def acceleration(field: Field, plane, x, y, tx, ty, kappa):
    """Returns (dtx/dz, dty/dz) in 1/mm, see the equation at the top of this file."""
    bx, by, bz = field.at(plane, x, y)
    strength = kappa * jnp.sqrt(1.0 + tx * tx + ty * ty)
    swirl = ty * bx - tx * by
    force_x, force_y = tx * swirl - by, ty * swirl + bx
    if not (isinstance(bz, float) and bz == 0.0):
        force_x, force_y = force_x + ty * bz, force_y - tx * bz
    return strength * force_x, strength * force_y
