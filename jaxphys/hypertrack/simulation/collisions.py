"""Proton collisions at one bunch crossing: pile-up, and now and then a pair of tops.

Needs the extra `events`. Decays happen where the particles fly, up to the edge of the
tracker, so that kaons and hyperons give displaced tracks.
"""

import dataclasses
import functools
import importlib
from typing import Any

import numpy as np

from jaxphys.data.pythia import MOST_SEED, initialise_pythia, require_packages

_BEAM_MM = np.array([0.017, 0.017, 5.5])  # Gaussian spread of the collisions
LEAST_PT_GEV, MOST_ETA = 0.1, 4.2
FULL_PILE_UP = 200  # mean number of collisions that has one hard collision
PROMPT_MM = 0.01  # what starts farther from the collision is a decay product
PHOTON = 22
_EXTRA = ("pythia8mc", "awkward", "acts")
_COMMON = (
    "Print:quiet = on",
    "Random:setSeed = on",
    "Random:seed = 1",  # of the initialisation: the same for every event
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 300.",
    "ParticleDecays:zMax = 1000.",
)
_PROCESS = {
    "soft": ("SoftQCD:all = on",),
    "hard": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Primaries:
    """What leaves the collisions of an event, charged particles and photons.

    Attributes:
        particle_type: PDG codes, `[M]` int32.
        charge: `[M]` float64, e.
        mass: `[M]` float64, GeV.
        vertex: where they start, `[M, 3]` float64, mm.
        momentum: `[M, 3]` float64, GeV.
        collision: number of the collision, from 1, `[M]` int64.
        displaced: whether they come of a decay away from the collision, `[M]` bool.
    """

    particle_type: np.ndarray
    charge: np.ndarray
    mass: np.ndarray
    vertex: np.ndarray
    momentum: np.ndarray
    collision: np.ndarray
    displaced: np.ndarray

    def __len__(self) -> int:
        return len(self.particle_type)


def require_events_extra() -> None:
    """Raises an ImportError that says what to install if a package is missing."""
    require_packages(_EXTRA, "the simulation of events")


@functools.cache
def generator(kind: str) -> Any:
    """Returns the generator of "soft" or "hard" collisions, one per process."""
    return initialise_pythia([*_COMMON, *_PROCESS[kind]], f"{kind} collisions")


def draw_counts(mu: float, rng: np.random.Generator) -> dict[str, int]:
    """Draws the numbers of soft and hard collisions of an event with any collision.

    Args:
        mu: mean number of soft collisions.
        rng: the draws.

    Returns:
        "soft" -> n, "hard" -> 0 or 1.
    """
    while True:
        soft = int(rng.poisson(mu))
        hard = int(rng.random() < mu / FULL_PILE_UP)
        if soft + hard:
            return {"soft": soft, "hard": hard}


def collide(mu: float, rng: np.random.Generator) -> Primaries:
    """Generates the collisions of one event.

    Args:
        mu: mean number of soft collisions.
        rng: all draws come from it, those of Pythia too: equal generators make equal
            events, whatever was generated before.

    Returns:
        Particles with pT > 0.1 GeV and |eta| < 4.2, in the order of the collisions.

    Raises:
        ImportError: the extra `events` is not installed.
        ValueError: Pythia cannot be started.
    """
    require_events_extra()
    ak: Any = importlib.import_module("awkward")
    counts, parts, first = draw_counts(mu, rng), [], 1
    for kind, count in counts.items():
        seed = int(rng.integers(1, MOST_SEED, endpoint=True))
        if not count:
            continue
        pythia = generator(kind)
        pythia.rndm.init(seed)
        record = pythia.nextBatch(count, "skip").prt
        if not len(record):
            raise ValueError(f"Pythia failed in each of {count} {kind} collisions")
        offset = rng.normal(size=(len(record), 3)) * _BEAM_MM
        parts.append(_final(ak, pythia, record, first, offset))
        first += len(record)
    names = [field.name for field in dataclasses.fields(Primaries)]
    return Primaries(
        **{n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
    )


def _final(ak, pythia, record, first, offset):
    """Returns the particles that are kept of some collisions."""
    size = ak.num(record.id).to_numpy()
    flat = ak.flatten(record)
    types = flat.id.to_numpy()
    momentum = np.column_stack([flat.p[n].to_numpy() for n in ("px", "py", "pz")])
    start = np.column_stack([flat.vProd[n].to_numpy() for n in ("px", "py", "pz")])
    codes, place = np.unique(types, return_inverse=True)
    charge = np.array([pythia.particleData.charge(int(c)) for c in codes])[place]
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    kept = (flat.status.to_numpy() > 0) & ((charge != 0) | (types == PHOTON))
    kept &= pt > LEAST_PT_GEV
    kept &= np.abs(momentum[:, 2]) < np.sinh(MOST_ETA) * pt
    collision = np.repeat(np.arange(len(size)), size)[kept]
    start = start[kept]
    return Primaries(
        particle_type=types[kept].astype(np.int32),
        charge=charge[kept],
        mass=flat.m.to_numpy()[kept].clip(min=0),
        vertex=start + offset[collision],
        momentum=momentum[kept],
        collision=first + collision.astype(np.int64),
        displaced=np.linalg.norm(start, axis=1) > PROMPT_MM,
    )
