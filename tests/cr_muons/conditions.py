"""Conditions of given primaries."""

import numpy as np

from jaxphys.cr_muons.physics.conditions import NUCLEUS_MASS, Conditions


def conditions_of(primaries: np.ndarray) -> Conditions:
    """Returns one shower and depth for every row of primaries, [N, 4].

    The mass number is the one of the simulation with the closest mass.
    """
    primaries = np.asarray(primaries, np.float64).reshape(-1, 4)
    numbers = np.array(list(NUCLEUS_MASS))
    masses = np.array(list(NUCLEUS_MASS.values()))
    distance = np.abs(np.log(primaries[:, 2:3] / masses))
    return Conditions(
        numbers[distance.argmin(1)],
        primaries[:, 2],
        primaries[:, 0],
        np.cos(primaries[:, 1]),
        primaries[:, 3:],
    )
