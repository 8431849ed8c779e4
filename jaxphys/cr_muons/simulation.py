"""A parametric simulation of muon bundles under ice, the embedded default data.

The number of muons of a shower follows Elbert's formula with fluctuations of a
negative binomial, the energies its derivative, and the distance to the axis the
transverse momentum at production. The constants were fitted to CORSIKA showers with
the Sibyll model above 1 TeV.

Reference: J. Elbert, Proc. DUMAND Summer Workshop 2 (1978) 101; D. Chirkin,
hep-ph/0407078 (effective zenith angle of the curved atmosphere).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.cr_muons.physics.conditions import (
    DEFAULT,
    Conditions,
    SimulationSettings,
    draw_conditions,
)
from jaxphys.cr_muons.physics.energy_loss import (
    carry_to_depths,
    overburden,
    surface_energy_needed,
)
from jaxphys.cr_muons.physics.events import Events

MIN_THRESHOLD = 30.0  # GeV at the surface
KAON_DECAY = 105.0  # GeV, critical energy of pion decay in the vertical
_YIELD, _SLOPE, _END = 14.5, 0.757, 5.25  # GeV, powers of x and of 1 - x
_DRAWN, _CARRIED = 100_000, 20_000  # showers at a time
_CHIRKIN = (0.102573, -0.068287, 0.958633, 0.0407253, 0.817285)


@dataclasses.dataclass(frozen=True, eq=False)
class SurfaceMuons:
    """Muons of showers before they enter the ice.

    Attributes:
        num_muons: [S] muons of a shower.
        energy: [M] GeV.
        radius_m: [M] distance to the axis, perpendicular to it.
        angle: [M] rad, around the axis.
    """

    num_muons: np.ndarray
    energy: np.ndarray
    radius_m: np.ndarray
    angle: np.ndarray


def effective_cos_zenith(cos_zenith: ArrayLike) -> np.ndarray:
    """Returns the cosine of the zenith angle where muons are produced."""
    p1, p2, p3, p4, p5 = _CHIRKIN
    c = np.asarray(cos_zenith, np.float64)
    return np.sqrt((c**2 + p1**2 + p2 * c**p3 + p4 * c**p5) / (1 + p1**2 + p2 + p4))


def threshold(conditions: Conditions) -> np.ndarray:
    """Returns [S] the energy in GeV that reaches the shallowest depth."""
    shallowest = overburden(conditions.depths_m[:, 0], conditions.cos_zenith)
    return np.maximum(surface_energy_needed(shallowest), MIN_THRESHOLD)


def expected_muons(
    conditions: Conditions,
    energy_threshold: np.ndarray,
    settings: SimulationSettings = DEFAULT,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean number of muons above a threshold and its fluctuation.

    Args:
        conditions: S showers.
        energy_threshold: [S] GeV at the surface.
        settings: Factors on mean and fluctuation.

    Returns:
        mu [S], and k [S] of the negative binomial with variance mu + mu ** 2 / k
        (infinite without fluctuation).
    """
    nucleons = conditions.mass_number
    slant = energy_threshold * effective_cos_zenith(conditions.cos_zenith)
    x = np.minimum(nucleons * energy_threshold / conditions.energy, 1.0)
    per_nucleon = _YIELD / slant * x**-_SLOPE * (1 - x) ** _END
    mean = nucleons * 1.2045 * per_nucleon * (1 + per_nucleon / 15.585) ** 0.1772
    mean = mean * 1.105 / (1 + KAON_DECAY / slant) * settings.yield_scale
    if settings.fluctuation == 0:
        return mean, np.full(len(mean), np.inf)
    return mean, 11.85 * nucleons**0.573 / settings.fluctuation


def draw_surface_muons(
    conditions: Conditions,
    energy_threshold: np.ndarray,
    random: np.random.Generator,
    settings: SimulationSettings = DEFAULT,
) -> SurfaceMuons:
    """Draws all muons of showers above a threshold.

    Args:
        conditions: S showers.
        energy_threshold: [S] GeV.
        random: Source of random numbers.
        settings: Factors on yield, fluctuation and transverse momentum.
    """
    mean, k = expected_muons(conditions, energy_threshold, settings)
    if settings.fluctuation:
        mean = random.standard_gamma(k) * (mean / k)
    num_muons = random.poisson(mean)
    total = int(num_muons.sum())

    def of_muon(values):
        return np.repeat(values, num_muons)

    cosine = effective_cos_zenith(conditions.cos_zenith)
    highest = conditions.energy / conditions.mass_number  # GeV per nucleon
    fraction, energy = _draw_energies(
        of_muon(highest),
        of_muon(np.minimum(energy_threshold / highest, 1.0)),
        of_muon(KAON_DECAY / (cosine * highest)),
        random,
    )
    scale = np.clip(-5.0 - 24.0 * np.log10(fraction), 15.0, 150.0)  # g / cm^2
    cosine = of_muon(cosine)
    depth = random.standard_gamma(2.0, total) * scale * cosine
    height_km = 6.4 * np.log(1030.0 / np.clip(depth, 5.0, 1000.0))
    momentum = random.standard_gamma(2.0, total) * (0.21 * settings.transverse_scale)
    radius = height_km * 1000.0 / cosine * momentum / energy
    angle = random.random(total) * (2 * np.pi)
    return SurfaceMuons(num_muons, energy, radius, angle)


def _draw_energies(highest, least, decay, random):
    """Returns x = E / highest and E of muons with E > least * highest.

    The spectrum above E goes with E^-1.757 (1 - x)^5.25 / (1 + decay / x). With
    x = 1 / (1 + exp(-v)) its logarithm falls with v and is concave, so that Newton's
    method converges from everywhere.
    """
    power = 1 + _SLOPE

    def log_spectrum(v):
        rest = 1 / (1 + np.exp(v))  # 1 - x without cancellation
        x = 1 - rest
        log_x = -np.logaddexp(0, -v)
        value = -power * log_x + _END * (log_x - v) - np.log1p(decay / x)
        slope = rest * (decay / (x + decay) - power) - _END * x
        return value, slope

    with np.errstate(divide="ignore"):
        v = np.minimum(np.log(least) - np.log1p(-least), 30.0)
    share = np.maximum(random.random(len(v)), 1e-300)
    target = np.log(share) + log_spectrum(v)[0]
    for _ in range(40):
        value, slope = log_spectrum(v)
        step = (target - value) / slope
        v = v + step
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    x = 1 / (1 + np.exp(-v))
    return x, x * highest


def simulate_conditions(
    conditions: Conditions,
    random: np.random.Generator,
    settings: SimulationSettings = DEFAULT,
    first_shower: int = 0,
    minor: int = 0,
) -> Iterator[Events]:
    """Yields simulated events, one shower for each condition, in parts.

    Args:
        conditions: S showers with K depths each.
        random: Source of the showers' random numbers.
        settings: Factors on yield, fluctuation and transverse momentum.
        first_shower: Major number of the first shower.
        minor: Minor number of all.

    Yields:
        S * K events in total, all depths of a shower together.
    """
    surface = draw_surface_muons(conditions, threshold(conditions), random, settings)
    muons = np.empty((len(surface.energy), 3))
    muons[:, 0] = surface.energy
    muons[:, 1] = surface.radius_m * np.cos(surface.angle)
    muons[:, 2] = surface.radius_m * np.sin(surface.angle)
    primaries = np.stack(
        [conditions.energy, np.arccos(conditions.cos_zenith), conditions.mass], axis=1
    )
    showers = np.full((len(conditions), 2), minor, np.uint64)
    showers[:, 0] = np.arange(first_shower, first_shower + len(conditions))
    last = np.cumsum(surface.num_muons)
    for start in range(0, len(conditions), _CARRIED):
        part = slice(start, start + _CARRIED)
        num_muons = surface.num_muons[part]
        stop = last[part][-1]
        yield carry_to_depths(
            primaries[part],
            conditions.depths_m[part],
            num_muons,
            muons[stop - num_muons.sum() : stop],
            showers[part],
        )


def simulate_chunks(
    settings: SimulationSettings, num_showers: int, seed: int, shower_seed: int = 0
) -> Iterator[Events]:
    """Yields simulated events in order, a part of the showers at a time.

    Args:
        settings: Population of primaries, depths.
        num_showers: Showers in total; each has `settings.num_depths` events.
        seed: Of primaries and depths; also the minor number of the showers.
        shower_seed: Another one gives new showers of the same primaries and depths.
    """
    conditions = draw_conditions(settings, num_showers, seed)
    random = np.random.default_rng([seed, 1, shower_seed])
    for start in range(0, num_showers, _DRAWN):
        part = conditions.rows(slice(start, start + _DRAWN))
        yield from simulate_conditions(part, random, settings, start, seed)


def simulate(
    settings: SimulationSettings, num_showers: int, seed: int, shower_seed: int = 0
) -> Events:
    """Returns all events of `simulate_chunks`."""
    chunks = simulate_chunks(settings, num_showers, seed, shower_seed)
    return Events.concatenate(list(chunks))
