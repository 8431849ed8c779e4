"""Proton collisions by Pythia, the detector's answer, and the trigger on a hard jet.

Needs the extra `events` (pythia8mc, fastjet). Reference: C. Bierlich et al. (Pythia
8.3), SciPost Phys. Codebases 8 (2022); M. Cacciari, G. Salam, G. Soyez (FastJet),
EPJC 72 (2012) 1896.
"""

import dataclasses
import importlib
from typing import Any

import numpy as np

from jaxphys.data.pythia import MOST_SEED, initialise_pythia, require_packages
from jaxphys.hidden_vertex.simulation.response import Truth, detect, thin

KINDS = ("background", "signal")  # the place in this list is the label
NOMINAL = (3500.0, 500.0, 100.0)
JET_RADIUS, MIN_JET_PT = 1.0, 1200.0
BATCH = 64  # tries that share their random numbers: never change, it defines the events
_MOST_TRIES = 100  # per wanted event, before a process is called hopeless
_GIVE_UP_AFTER = 20_000  # tries, however few events are wanted
_EXTRA = ("pythia8mc", "fastjet", "awkward", "vector")


@dataclasses.dataclass(frozen=True)
class Process:
    """What is collided.

    Attributes:
        kind: "background" (QCD dijets) or "signal" (V -> X Y, both to quark pairs).
        m_v: GeV, mass of V (signal); as the next two.
        m_x: GeV.
        m_y: GeV.
        mpi: Several parton pairs per collision (the LHC Olympics had none).
    """

    kind: str = "background"
    m_v: float = NOMINAL[0]
    m_x: float = NOMINAL[1]
    m_y: float = NOMINAL[2]
    mpi: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {KINDS}, got {self.kind!r}")
        # the lowest mass of each window must leave room for its decay
        if self.m_x < 30 or self.m_y < 15 or self.m_v - 525 < self.m_x + self.m_y:
            raise ValueError(
                "m_v, m_x, m_y: expected m_x >= 30, m_y >= 15 and m_x + m_y <= m_v - "
                f"525 in GeV, got {self.m_v}, {self.m_x}, {self.m_y}"
            )

    @property
    def label(self) -> int:
        """Returns 0 for background, 1 for signal."""
        return KINDS.index(self.kind)


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
    """Accepted events of one sequence of random numbers.

    Attributes:
        particles: [N, 3] float32 pT in GeV, eta, phi.
        offset: [E + 1].
        tries: Collisions that were needed for them.
    """

    particles: np.ndarray
    offset: np.ndarray
    tries: int


def require_events_extra() -> None:
    """Raises an ImportError that says what to install if a package is missing."""
    require_packages(_EXTRA, "the event simulation")


def pythia_settings(process: Process, seed: int) -> list[str]:
    """Returns the settings of Pythia for a process; seed in 1 ... 900,000,000."""
    if not 1 <= seed <= MOST_SEED:
        raise ValueError(f"seed of Pythia: expected 1 to {MOST_SEED}, got {seed}")
    common = [
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        "Beams:idA = 2212",
        "Beams:idB = 2212",
        "Beams:eCM = 13000.",
        f"PartonLevel:MPI = {'on' if process.mpi else 'off'}",
        "ParticleDecays:limitTau0 = on",
        "ParticleDecays:tau0Max = 10.",
    ]
    if process.kind == "background":
        return [*common, "HardQCD:all = on", "PhaseSpace:pTHatMin = 1125."]
    return common + _signal_settings(process)


def _signal_settings(process):
    # a charged vector stands for V: a Z' with this decay does not initialise
    v, x, y, scalar, neutral = 34, 9000001, 9000002, 1, 0
    m_v, m_x, m_y = process.m_v, process.m_x, process.m_y
    return [
        "NewGaugeBoson:ffbar2Wprime = on",
        f"{x}:new = X Xbar {scalar} 3 0 {m_x} 1. {m_x - 20} {m_x + 20} 0.",
        f"{y}:new = Y void {scalar} {neutral} 0 {m_y} 0.5 {m_y - 5} {m_y + 5} 0.",
        *(f"{id_}:isResonance = on" for id_ in (x, y)),
        f"{x}:addChannel = 1 0.5 100 2 -1",
        f"{x}:addChannel = 1 0.5 100 4 -3",
        *(f"{y}:addChannel = 1 0.25 100 {q} -{q}" for q in (1, 2, 3, 4)),
        f"{v}:m0 = {m_v}",
        f"{v}:mWidth = {0.01 * m_v}",
        f"{v}:mMin = {m_v - 500}",
        f"{v}:mMax = {m_v + 500}",
        f"{v}:oneChannel = 1 1. 100 {x} {y}",
        *(f"{id_}:doForceWidth = on" for id_ in (v, x, y)),
    ]


def start_pythia(process: Process, seed: int) -> Any:
    """Returns an initialised generator.

    Raises:
        ImportError: If the extra `events` is not installed.
        ValueError: If Pythia refuses a setting or the process.
    """
    require_events_extra()
    return initialise_pythia(pythia_settings(process, seed), str(process))


def final_particles(pythia, tries: int) -> Truth:
    """Collides so many times; failed collisions are left out."""
    ak: Any = importlib.import_module("awkward")
    record = pythia.nextBatch(tries, "skip").prt
    record = record[record.status > 0]
    size = ak.num(record.id).to_numpy()
    flat = ak.flatten(record)
    columns = [flat.p[name].to_numpy() for name in ("px", "py", "pz", "e")]
    return Truth(
        flat.id.to_numpy(),
        np.stack(columns, axis=1),
        np.concatenate([[0], np.cumsum(size)]),
    )


def trigger(particles: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Returns which events have an anti-kT R = 1.0 jet above 1,200 GeV.

    Args:
        particles: [N, 3] pT in GeV, eta, phi.
        offset: [E + 1].

    Returns:
        [E] bool.
    """
    require_events_extra()
    ak, fastjet = map(importlib.import_module, ("awkward", "fastjet"))
    pt, eta, phi = particles.astype(np.float64).T
    event = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    # a jet is never harder than all particles together
    passed = np.bincount(event, pt, len(offset) - 1) > MIN_JET_PT
    if not passed.any():
        return passed
    kept = passed[event]
    pt, eta, phi = pt[kept], eta[kept], phi[kept]
    columns = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": pt * np.cosh(eta),
    }
    flat = ak.zip(columns, with_name="Momentum4D")
    events = ak.unflatten(flat, np.diff(offset)[passed])
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    jets = fastjet.ClusterSequence(events, definition).inclusive_jets(min_pt=MIN_JET_PT)
    passed[passed] = ak.num(jets).to_numpy() > 0
    return passed


def chunk_seed(seed: int, kind: str, chunk: int) -> np.random.SeedSequence:
    """Returns the origin of all random numbers of a chunk."""
    if seed < 0 or chunk < 0:
        raise ValueError(f"seed, chunk: expected >= 0, got {seed}, {chunk}")
    return np.random.SeedSequence([seed, KINDS.index(kind), chunk])


def accepted_events(
    process: Process,
    seed: int,
    chunk: int,
    count: int,
) -> Chunk:
    """Returns the first accepted events of an endless list.

    Args:
        process: What is collided.
        seed: Any number >= 0.
        chunk: Number of the list; lists of other chunks, kinds or seeds are
            independent.
        count: Events; fewer are the beginning of more.

    Raises:
        ValueError: If hardly any collision is accepted.
    """
    origin, draws = chunk_seed(seed, process.kind, chunk).spawn(2)
    number = 1 + int(origin.generate_state(1, np.uint64)[0] % MOST_SEED)
    pythia, rng = start_pythia(process, number), np.random.default_rng(draws)
    parts, sizes, found, tries = [], [], 0, 0
    while found < count:
        if tries > max(_GIVE_UP_AFTER, _MOST_TRIES * count):
            raise ValueError(
                f"{process}: {found} of {tries} collisions have a jet above "
                f"{MIN_JET_PT:g} GeV: too few to generate {count}"
            )
        particles, offset = detect(final_particles(pythia, BATCH), rng)
        passed = trigger(particles, offset)
        size = np.diff(offset)
        particles = particles[np.repeat(passed, size)]
        offset = np.concatenate([[0], np.cumsum(size[passed])])
        particles, offset = thin(particles, offset, rng)
        parts.append(particles)
        sizes.append(np.diff(offset))
        found, tries = found + int(passed.sum()), tries + BATCH
    offset = np.concatenate([[0], np.cumsum(np.concatenate(sizes)[:count])])
    return Chunk(np.concatenate(parts)[: offset[-1]], offset.astype(np.int64), tries)
