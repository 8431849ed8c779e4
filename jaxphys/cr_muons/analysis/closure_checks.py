"""The simulation against recorded showers and against a parametrisation.

One is a set of CORSIKA showers at the surface; the constants of the simulation were
fitted to half of the showers of that source, so it is no independent check. The other
is the MuonGun parametrisation of muon bundles of the whole primary flux.
"""

import csv
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from jaxphys.cr_muons.physics.conditions import DEFAULT, NUCLEUS_MASS, Conditions
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.simulation import (
    draw_surface_muons,
    expected_muons,
    threshold,
)

SURFACE_THRESHOLD = 1000.0  # GeV, of the CORSIKA showers
ENERGY_BANDS = ((4.0, 6.0), (6.0, 7.5), (7.5, 8.5), (8.5, 9.0))  # lg E0
RADIUS_QUANTILES = (0.16, 0.5, 0.84, 0.99)
SLOPE_RANGE = (5, 20)  # muons
# flux at 1 TeV in 1 / (m^2 s sr TeV), index, charge of mass number 1, 4, 14, 27, 56
_FLUX = {
    1: (8.73e-2, 2.71, 1),
    4: (5.71e-2, 2.64, 2),
    14: (3.24e-2, 2.58, 7),
    27: (3.16e-2, 2.67, 13),
    56: (2.18e-2, 2.58, 26),
}
_KNEE, _STEEPER, _SHARPNESS = 4490.0, 2.1, 1.9  # TeV a charge


@dataclasses.dataclass(frozen=True)
class SurfaceBand:
    """Showers of a band of primary energies, real and simulated.

    Attributes:
        log10_energy: Limits of lg E0.
        showers: Number of real ones.
        muons: Mean number above 1 TeV, real and simulated.
        radius_m: Quantiles 16, 50, 84, 99 % of the distance to the axis, real.
        simulated_radius_m: The same of the simulation.
        energy: Median energy in GeV, real and simulated.
    """

    log10_energy: tuple[float, float]
    showers: int
    muons: tuple[float, float]
    radius_m: tuple[float, ...]
    simulated_radius_m: tuple[float, ...]
    energy: tuple[float, float]


def compare_with_corsika(
    path: str | pathlib.Path, repeat: int = 20, seed: int = 0
) -> tuple[list[SurfaceBand], float]:
    """Compares the simulation with CORSIKA showers at the surface.

    Args:
        path: corsika_surface.npz.
        repeat: Simulated showers for each real one.
        seed: Of the simulation.

    Returns:
        The bands of primary energy, and the mean of (N - mu)^2 / variance over the
        real showers with mu > 1, 1 if the fluctuations are those of the simulation.
    """
    with np.load(path) as data:
        real = {name: data[name] for name in data.files}
    conditions = Conditions(
        real["A"].astype(np.int64),
        real["mass_GeV"].astype(np.float64),
        real["energy_GeV"].astype(np.float64),
        np.cos(real["zenith_rad"].astype(np.float64)),
        np.ones((len(real["A"]), 1)),
    )
    mean, k = expected_muons(conditions, np.full(len(conditions), SURFACE_THRESHOLD))
    several = mean > 1
    mean, number = mean[several], real["counts"][several]
    pull = (number - mean) ** 2 / (mean + mean**2 / k[several])
    rows = np.repeat(np.arange(len(conditions)), repeat)
    made = draw_surface_muons(
        conditions.rows(rows),
        np.full(len(rows), SURFACE_THRESHOLD),
        np.random.default_rng([seed, 6]),
    )
    distance = np.hypot(real["muons"][:, 1], real["muons"][:, 2])
    level = np.log10(conditions.energy)
    bands = []
    for limits in ENERGY_BANDS:
        inside = (level >= limits[0]) & (level < limits[1])
        theirs = np.repeat(inside, real["counts"])
        ours = np.repeat(inside[rows], made.num_muons)
        found = SurfaceBand(
            limits,
            int(inside.sum()),
            _both(np.mean, real["counts"][inside], made.num_muons[inside[rows]]),
            tuple(np.quantile(distance[theirs], RADIUS_QUANTILES).tolist()),
            tuple(np.quantile(made.radius_m[ours], RADIUS_QUANTILES).tolist()),
            _both(np.median, real["muons"][theirs, 0], made.energy[ours]),
        )
        bands.append(found)
    return bands, float(pull.mean())


def _both(statistic, real, simulated) -> tuple[float, float]:
    return float(statistic(real)), float(statistic(simulated))


def primary_flux(mass_number: int, energy: np.ndarray) -> np.ndarray:
    """Returns the flux of a group of nuclei in 1 / (m^2 s sr TeV), energy in GeV.

    Reference: J. Hoerandel, Astropart. Phys. 19 (2003) 193, in five groups of nuclei.
    """
    norm, index, charge = _FLUX[mass_number]
    tera = np.asarray(energy) / 1000.0
    bend = 1 + (tera / (_KNEE * charge)) ** _SHARPNESS
    return norm * tera**-index * bend ** (-_STEEPER / _SHARPNESS)


def bundle_flux(
    cos_zenith: float,
    depth_m: float,
    most: int = 20,
    log10_energy: tuple[float, float] = (2.5, 10.5),
) -> np.ndarray:
    """Returns the flux of bundles of 1 to `most` muons of the simulation, without MC.

    Args:
        cos_zenith: Direction.
        depth_m: Vertical depth.
        most: Largest bundle.
        log10_energy: Range of the primary energies in GeV.

    Returns:
        [most] in 1 / (m^2 s sr).
    """
    energy = np.logspace(*log10_energy, 1601)
    number = np.arange(1, most + 1)
    flux = np.zeros(most)
    for mass_number, mass in NUCLEUS_MASS.items():
        same = np.ones(len(energy))
        conditions = Conditions(
            (mass_number * same).astype(np.int64),
            mass * same,
            energy,
            cos_zenith * same,
            depth_m * same[:, None],
        )
        mean, k = expected_muons(conditions, threshold(conditions), DEFAULT)
        chance = stats.nbinom.pmf(number, k[:, None], (k / (k + mean))[:, None])
        chance = np.where(mean[:, None] > 0, chance, 0.0)
        weight = primary_flux(mass_number, energy) * energy / 1000.0
        flux += np.trapezoid(chance * weight[:, None], np.log(energy), axis=0)
    return flux


def slope_of(flux: np.ndarray, number: np.ndarray) -> float:
    """Returns -d ln flux / d ln N of a straight line through the points."""
    return float(-np.polyfit(np.log(number), np.log(flux), 1)[0])


def sampled_slope(
    sampler: Callable[[np.ndarray, int], Events],
    cos_zenith: float,
    depth_m: float,
    num_events: int = 40_000,
    seed: int = 0,
    log10_energy: tuple[float, float] = (4.0, 7.5),
) -> tuple[float, float]:
    """Returns the slope of a generator's bundles of 5 to 20 muons, and its error.

    Primaries are drawn evenly in lg E0 and weighted to the flux.

    Args:
        sampler: primaries [N, 4] and a seed -> events.
        cos_zenith: Direction.
        depth_m: Vertical depth.
        num_events: Drawn.
        seed: Of the primaries and the generator.
        log10_energy: Range of the primary energies, that of the training.
    """
    random = np.random.default_rng([seed, 7])
    numbers = np.array(list(NUCLEUS_MASS))
    mass_number = random.choice(numbers, num_events)
    energy = 10.0 ** random.uniform(*log10_energy, num_events)
    weight = np.empty(num_events)
    for a in numbers:
        weight[mass_number == a] = primary_flux(a, energy[mass_number == a])
    weight *= energy
    primaries = np.empty((num_events, 4), np.float32)
    primaries[:, 0], primaries[:, 1] = energy, np.arccos(cos_zenith)
    primaries[:, 2] = [NUCLEUS_MASS[a] for a in mass_number]
    primaries[:, 3] = depth_m
    found = sampler(primaries, seed).num_muons
    number = np.arange(SLOPE_RANGE[0], SLOPE_RANGE[1] + 1)
    slopes = []
    # events in groups: the spread of the slopes is the error
    for part in [slice(None), *(slice(i, None, 10) for i in range(10))]:
        inside = found[part] <= SLOPE_RANGE[1]
        flux = np.bincount(
            found[part][inside], weight[part][inside], SLOPE_RANGE[1] + 1
        )
        seen = flux[number] > 0
        if seen.sum() < 3:
            return float("nan"), float("nan")
        slopes.append(slope_of(flux[number][seen], number[seen]))
    return slopes[0], float(np.std(slopes[1:], ddof=1) / np.sqrt(10))


def compare_with_muongun(
    path: str | pathlib.Path,
    sampler: Callable[[np.ndarray, int], Events] | None = None,
) -> list[dict[str, Any]]:
    """Compares slopes of the number of muons with the MuonGun parametrisation.

    Args:
        path: muongun_reference.csv.
        sampler: A generator; None leaves it out.

    Returns:
        For each direction and depth: cos_zenith, depth_km, reference, truth (the
        simulation), ratio_2_1 and reference_ratio_2_1 (flux of two over one muon) and,
        with a generator, model and model_error.
    """
    rows = []
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            cosine, depth = float(line["cos_zenith"]), float(line["depth_km"])
            flux = bundle_flux(cosine, depth * 1000.0)
            number = np.arange(SLOPE_RANGE[0], SLOPE_RANGE[1] + 1)
            row = {
                "cos_zenith": cosine,
                "depth_km": depth,
                "reference": float(line["slope_5_20"]),
                "truth": slope_of(flux[number - 1], number),
                "reference_ratio_2_1": float(line["flux_ratio_2_1"]),
                "ratio_2_1": float(flux[1] / flux[0]),
            }
            if sampler is not None:
                row["model"], row["model_error"] = sampled_slope(
                    sampler, cosine, depth * 1000.0
                )
            rows.append(row)
    return rows
