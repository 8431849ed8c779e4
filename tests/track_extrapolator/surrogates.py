"""Random surrogates and their inputs, shared by the tests of this folder."""

import itertools

import numpy as np

from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.model.surrogate import Surrogate, input_names_for
from jaxphys.track_extrapolator.physics.field import GaussSeed


def random_surrogate(
    parametrisation="kick", n_in=5, hidden=(9, 7), activation="silu", **settings
):
    """Returns an untrained network with statistics of the size of real ones."""
    rng = np.random.default_rng(len(hidden) + n_in)
    widths = (n_in, *hidden, 4)
    layers = tuple(
        (rng.normal(size=(rows, columns)) / np.sqrt(rows), rng.normal(size=columns))
        for rows, columns in itertools.pairwise(widths)
    )
    tail = {5: [], 6: [4000.0], 7: [3000.0, 4000.0]}[n_in]
    tail_std = {5: [], 6: [1.0], 7: [200.0, 300.0]}[n_in]
    if parametrisation in par.NEEDS_FIELD:
        settings.setdefault("field", GaussSeed())
    return Surrogate(
        activation=activation,
        layers=layers,
        input_mean=np.array([1.0, -2.0, 0.01, -0.02, 1e-6, *tail]),
        input_std=np.array([520.0, 430.0, 0.17, 0.14, 2e-4, *tail_std]),
        output_mean=np.array([3.0, 1.0, 0.02, -0.01]),
        output_std=np.array([150.0, 60.0, 0.1, 0.04]),
        parametrisation=parametrisation,
        input_names=input_names_for(n_in),
        dz_mode="uniform" if n_in == 7 else "fixed",
        **settings,
    )


def random_states(count, seed=0):
    """Returns [count, 5] states of the usual ranges, q/p in 1/MeV."""
    rng = np.random.default_rng(seed)
    high = np.array([900, 750, 0.3, 0.25, 4e-4])
    return rng.uniform(-high, high, (count, 5))


def random_columns(surrogate, count, seed=0):
    """Returns network inputs [count, n_in] and the planes that they mean."""
    state = random_states(count, seed)
    if surrogate.n_in == 5:
        return state, {}
    rng = np.random.default_rng(seed + 1)
    if surrogate.n_in == 6:
        dz = np.full(count, surrogate.z_out - surrogate.z_in)
        return np.column_stack([state, dz]), {}
    z_in, dz = rng.uniform(2800, 3200, count), rng.uniform(3700, 4300, count)
    planes = {"z_in": z_in, "z_out": z_in + dz}
    return np.column_stack([state, z_in, dz]), planes
