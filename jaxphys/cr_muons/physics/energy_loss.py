"""Energy loss of muons in ice: dE/dX = -(a + b E), and showers carried to depths.

Scattering (0.3 to 1 m) and the fluctuations of the loss are neglected. Depths are
vertical and in m, the overburden is along the track and in metres of water (mwe).
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.cr_muons.physics.events import Events

IONISATION = 0.259  # a, GeV / mwe
RADIATION = 3.63e-4  # b, 1 / mwe
CRITICAL_ENERGY = IONISATION / RADIATION  # GeV
ICE_DENSITY = 0.917  # m of water per m of ice


def overburden(depth_m: ArrayLike, cos_zenith: ArrayLike) -> np.ndarray:
    """Returns the ice along the track in mwe, of a vertical depth in m (flat Earth)."""
    return np.asarray(depth_m) * ICE_DENSITY / np.asarray(cos_zenith)


def surface_energy_needed(overburden_mwe: ArrayLike) -> np.ndarray:
    """Returns the energy in GeV at which a muon stops just at this overburden."""
    return CRITICAL_ENERGY * np.expm1(RADIATION * np.asarray(overburden_mwe))


def energy_below(energy: ArrayLike, overburden_mwe: ArrayLike) -> np.ndarray:
    """Returns the energy left of a muon of the surface, GeV; <= 0: it has stopped."""
    left = np.exp(-RADIATION * np.asarray(overburden_mwe))
    return np.asarray(energy) * left - CRITICAL_ENERGY * (1.0 - left)


def carry_to_depths(
    primaries: np.ndarray,
    depths_m: np.ndarray,
    num_muons: np.ndarray,
    muons: np.ndarray,
    showers: np.ndarray,
) -> Events:
    """Carries the muons of showers from the surface to several depths.

    The distance to the shower axis stays what it was. All depths of the first shower
    come first, then those of the second.

    Args:
        primaries: [S, 3] energy GeV, zenith rad, mass GeV.
        depths_m: [S, K] vertical depths.
        num_muons: [S] muons of a shower at the surface.
        muons: [M, 3] energy GeV, x m, y m at the surface, showers in order.
        showers: [S, 2] major and minor number.

    Returns:
        S * K events with the muons that have not stopped.

    Raises:
        ValueError: Lengths do not agree.
    """
    primaries = np.asarray(primaries, np.float64)
    depths_m = np.asarray(depths_m, np.float64)
    num_muons = np.asarray(num_muons, np.int64)
    num_showers = len(primaries)
    if depths_m.ndim != 2 or len(depths_m) != num_showers:
        raise ValueError(
            f"carry_to_depths, depths_m: expected shape ({num_showers}, K), got "
            f"{depths_m.shape}"
        )
    if num_muons.shape != (num_showers,) or num_muons.sum() != len(muons):
        raise ValueError(
            f"carry_to_depths, num_muons: expected {num_showers} numbers with the sum "
            f"{len(muons)}, got shape {num_muons.shape} with {num_muons.sum()}"
        )
    num_depths = depths_m.shape[1]
    thickness = overburden(depths_m, np.cos(primaries[:, 1])[:, None]).ravel()
    candidates = np.repeat(num_muons, num_depths)  # [S * K]
    first = np.repeat(np.cumsum(num_muons) - num_muons, num_depths)
    before = np.cumsum(candidates) - candidates
    source = np.repeat(first - before, candidates) + np.arange(candidates.sum())
    left = np.exp(-RADIATION * thickness)
    lost = CRITICAL_ENERGY * (1.0 - left)
    surface = np.asarray(muons[:, 0], np.float64)[source]
    energy = surface * np.repeat(left, candidates) - np.repeat(lost, candidates)
    reached = energy > 0
    cumulative = np.concatenate([[0], np.cumsum(reached)])
    counts = cumulative[before + candidates] - cumulative[before]
    found = np.empty((cumulative[-1], 3), np.float32)
    found[:, 0] = energy[reached]
    found[:, 1:] = np.asarray(muons, np.float32)[:, 1:][source[reached]]
    rows = np.empty((num_showers * num_depths, 4), np.float32)
    rows[:, :3] = np.repeat(primaries, num_depths, axis=0)
    rows[:, 3] = depths_m.ravel()
    return Events(
        rows,
        counts.astype(np.int32),
        found,
        np.repeat(np.asarray(showers, np.uint64), num_depths, axis=0),
    )
