"""Small fields for tests, and their values in float64."""

import jax
import numpy as np

from jaxphys.track_extrapolator.physics.field import GridField, MultipoleField


def toy_grid(components=3, outside="clamp"):
    values = np.zeros((6, 4, 5, 3))
    values[..., :components] = np.random.default_rng(1).normal(
        size=(6, 4, 5, components)
    )
    return values, GridField.from_map(
        values, (-100.0, -50.0, 10.0), (50.0, 40.0, 30.0), outside=outside
    )


def in_float64(field, where):
    with jax.enable_x64(True):
        return np.stack([np.asarray(b) for b in field(*where.T)], axis=-1)


def multipole():
    rng = np.random.default_rng(3)
    terms = ((0, 0), (2, 0), (0, 2), (4, 2), (1, 3))
    z = np.linspace(-100.0, 300.0, 9)
    return MultipoleField(z, rng.normal(size=(9, 5)), terms, 40.0, 30.0, -1.0)
