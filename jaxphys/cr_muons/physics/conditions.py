"""What a bundle is generated from: primaries and depths, drawn for the simulation."""

import dataclasses

import numpy as np

# mass in GeV of the nuclei of the simulation by their mass number
NUCLEUS_MASS = {1: 0.938272, 4: 3.727379, 14: 13.0402, 27: 25.1331, 56: 52.0898}
DEPTH_GRID_M = np.linspace(1000.0, 2800.0, 100)


@dataclasses.dataclass(frozen=True)
class SimulationSettings:
    """Population of primaries and strength of what happens in a shower.

    Attributes:
        num_depths: Events of a shower, at different depths.
        log10_energy: Lowest and highest log10 of the primary energy in GeV.
        gamma: The flux falls as energy ** -gamma.
        min_cos_zenith: The most inclined shower.
        composition: Mass number and fraction, at equal energy.
        fluctuation: Factor on the variance of the mean number of muons; 0 leaves
            Poisson numbers. This and the next two serve to see what a test notices.
        yield_scale: Factor on the mean number of muons.
        transverse_scale: Factor on the transverse momentum of the muons.
    """

    num_depths: int = 10
    log10_energy: tuple[float, float] = (4.0, 7.5)
    gamma: float = 1.5
    min_cos_zenith: float = 0.3
    composition: tuple[tuple[int, float], ...] = (
        (1, 0.35),
        (4, 0.25),
        (14, 0.2),
        (27, 0.1),
        (56, 0.1),
    )
    fluctuation: float = 1.0
    yield_scale: float = 1.0
    transverse_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.num_depths <= len(DEPTH_GRID_M):
            raise ValueError(
                f"num_depths: expected 1 to {len(DEPTH_GRID_M)}, got {self.num_depths}"
            )
        if not self.log10_energy[0] < self.log10_energy[1]:
            raise ValueError(
                f"log10_energy: expected low < high, got {self.log10_energy}"
            )
        if not 0 < self.min_cos_zenith < 1:
            raise ValueError(
                f"min_cos_zenith: expected 0 < value < 1, got {self.min_cos_zenith}"
            )
        unknown = [a for a, _ in self.composition if a not in NUCLEUS_MASS]
        total = sum(fraction for _, fraction in self.composition)
        if unknown or abs(total - 1) > 1e-9:
            raise ValueError(
                f"composition: expected mass numbers of {list(NUCLEUS_MASS)} and "
                f"fractions that sum to 1, got {self.composition}"
            )
        if self.fluctuation < 0 or min(self.yield_scale, self.transverse_scale) <= 0:
            raise ValueError(
                "fluctuation, yield_scale, transverse_scale: expected >= 0, > 0, > 0, "
                f"got {self.fluctuation}, {self.yield_scale}, {self.transverse_scale}"
            )


DEFAULT = SimulationSettings()
PUBLISHED_LIKE = SimulationSettings(log10_energy=(3.0, 8.0), gamma=1.7)


@dataclasses.dataclass(frozen=True, eq=False)
class Conditions:
    """Showers and the depths at which they are looked at.

    Attributes:
        mass_number: [S] nucleons of the primary, A.
        mass: [S] GeV.
        energy: [S] of the primary, GeV.
        cos_zenith: [S].
        depths_m: [S, K] vertical depths, ascending.
    """

    mass_number: np.ndarray
    mass: np.ndarray
    energy: np.ndarray
    cos_zenith: np.ndarray
    depths_m: np.ndarray

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def primaries(self) -> np.ndarray:
        """[S * K, 4] float32, energy GeV, zenith rad, mass GeV, depth m."""
        num_depths = self.depths_m.shape[1]
        rows = np.empty((self.depths_m.size, 4), np.float32)
        rows[:, 0] = np.repeat(self.energy, num_depths)
        rows[:, 1] = np.repeat(np.arccos(self.cos_zenith), num_depths)
        rows[:, 2] = np.repeat(self.mass, num_depths)
        rows[:, 3] = self.depths_m.ravel()
        return rows

    def rows(self, positions: np.ndarray | slice) -> "Conditions":
        """Returns the showers at positions, repeated where a position is."""
        return Conditions(
            *(getattr(self, f.name)[positions] for f in dataclasses.fields(self))
        )


def draw_conditions(
    settings: SimulationSettings, num_showers: int, seed: int
) -> Conditions:
    """Draws primaries and depths.

    Args:
        settings: The population.
        num_showers: S.
        seed: Of the conditions; the showers have their own.
    """
    if num_showers < 1:
        raise ValueError(f"num_showers: expected at least 1, got {num_showers}")
    random = np.random.default_rng(seed)
    numbers, fractions = (np.array(x) for x in zip(*settings.composition, strict=True))
    mass_number = random.choice(numbers, num_showers, p=fractions)
    low, high = (10.0**x for x in settings.log10_energy)
    uniform = random.random(num_showers)
    if abs(settings.gamma - 1) < 1e-9:
        energy = low * (high / low) ** uniform
    else:
        power = 1.0 - settings.gamma
        energy = (low**power + uniform * (high**power - low**power)) ** (1 / power)
    least = settings.min_cos_zenith**2
    cos_zenith = np.sqrt(least + (1 - least) * random.random(num_showers))
    masses = np.zeros(numbers.max() + 1)
    masses[numbers] = [NUCLEUS_MASS[a] for a in numbers]
    return Conditions(
        mass_number,
        masses[mass_number],
        energy,
        cos_zenith,
        _draw_depths(random, num_showers, settings.num_depths),
    )


def _draw_depths(random, num_showers, num_depths):
    depths = np.empty((num_showers, num_depths))
    block = 50_000  # showers at a time: memory stays flat
    for start in range(0, num_showers, block):
        part = depths[start : start + block]
        order = random.random((len(part), len(DEPTH_GRID_M)))
        if num_depths == 1:
            part[:] = DEPTH_GRID_M[order.argmin(1)][:, None]
        else:
            taken = np.argpartition(order, num_depths - 1, axis=1)[:, :num_depths]
            part[:] = DEPTH_GRID_M[np.sort(taken, axis=1)]
    return depths
