"""Flight of particles through the TrackML detector by the fast simulation of ACTS.

Needs the extra `events`. ACTS speaks CSV: particles go in and hits come out through a
temporary folder. Reference: X. Ai et al. (ACTS), Comput. Softw. Big Sci. 6 (2022) 8.
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np

from jaxphys.hypertrack.data.csv_files import read_columns
from jaxphys.hypertrack.simulation.collisions import Primaries, require_events_extra

FIELD_TESLA = 2.0
LEAST_MOMENTUM_GEV = 0.05  # the default of 0.5 would stop all soft tracks
_BLOCK = 50_000  # particles of one "primary vertex": ACTS counts them in 16 bits
_IDENTITY = tuple(f"particle_id_{n}" for n in ("pv", "part", "gen", "subpart"))
_STATE = ("vx", "vy", "vz", "px", "py", "pz", "q", "particle_type")
_HITS = (*_IDENTITY, "geometry_id", "tx", "ty", "tz", "index")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flight:
    """Particles and the points where they cross the modules.

    Attributes:
        primary: row of the primary that a particle is or comes from, `[M]` int64.
        generation: 0 for the primaries, more for conversions, `[M]` int64.
        sub: number among the products of an interaction, `[M]` int64.
        vertex: `[M, 3]` mm.
        momentum: `[M, 3]` GeV.
        charge: `[M]` e.
        particle_type: `[M]` PDG codes.
        hit_particle: row of the particle of each hit, `[H]` int64.
        hit_index: place along the track, `[H]` int64.
        position: `[H, 3]` mm.
        volume: `[H]` int64; also layer, and sensitive (the number of ACTS).
    """

    primary: np.ndarray
    generation: np.ndarray
    sub: np.ndarray
    vertex: np.ndarray
    momentum: np.ndarray
    charge: np.ndarray
    particle_type: np.ndarray
    hit_particle: np.ndarray
    hit_index: np.ndarray
    position: np.ndarray
    volume: np.ndarray
    layer: np.ndarray
    sensitive: np.ndarray


@functools.cache
def _detector() -> Any:
    """Returns the modules of ACTS, the detector and its geometry, once per process."""
    require_events_extra()
    acts: Any = importlib.import_module("acts")
    examples: Any = importlib.import_module("acts.examples")
    config = examples.GenericDetector.Config()
    for name in ("logLevel", "layerLogLevel", "surfaceLogLevel", "volumeLogLevel"):
        setattr(config, name, acts.logging.ERROR)
    # the geometry lives as long as the detector object
    detector = examples.GenericDetector(config)
    return acts, examples, detector, detector.trackingGeometry()


def module_centres() -> tuple[np.ndarray, np.ndarray]:
    """Returns the modules of the simulated detector.

    Returns:
        Volume, layer and number in the layer, `[18728, 3]` int64; centres,
        `[18728, 3]` float64, mm.
    """
    acts, _, _, geometry = _detector()
    context, found = acts.GeometryContext.dangerouslyDefaultConstruct(), []

    def visit(surface):
        own, centre = surface.geometryId, surface.center(context)
        found.append(
            (own.volume, own.layer, own.sensitive, *(centre[i] for i in range(3)))
        )

    geometry.visitSurfaces(visit)
    table = np.array(found)
    return table[:, :3].astype(np.int64), table[:, 3:]


def fly(primaries: Primaries, seed: int) -> Flight:
    """Flies particles through field and material until they stop or leave.

    Multiple scattering, ionisation, radiation and the conversion of photons are on;
    particles below 0.05 GeV are dropped.

    Args:
        primaries: what starts.
        seed: of all random numbers, 0 to 2^32 - 1.

    Returns:
        The flight; primaries come first, in their order.

    Raises:
        ImportError: the extra `events` is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="fatras_") as folder:
        write_primaries(pathlib.Path(folder) / _file("in"), primaries)
        with _quiet():
            _run(folder, seed)
        particles = read_columns(
            pathlib.Path(folder) / _file("out"), (*_IDENTITY, *_STATE)
        )
        hits = read_columns(pathlib.Path(folder) / _file("hits"), _HITS)
    return _flight(particles, hits)


def _file(kind):
    return f"event000000000-{kind}.csv"


def write_primaries(path, primaries: Primaries) -> None:
    """Writes particles in the CSV format of ACTS."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    number = np.arange(len(primaries))
    nothing = np.zeros(len(primaries), np.int64)
    columns = {
        "particle_id_pv": 1 + number // _BLOCK,
        "particle_id_sv": nothing,
        "particle_id_part": 1 + number % _BLOCK,
        "particle_id_gen": nothing,
        "particle_id_subpart": nothing,
        "particle_type": primaries.particle_type,
        "process": nothing,
        **dict(zip(("vx", "vy", "vz"), primaries.vertex.T, strict=True)),
        "vt": nothing,
        **dict(zip(("px", "py", "pz"), primaries.momentum.T, strict=True)),
        "m": primaries.mass,
        "q": primaries.charge,
    }
    table = pa.table({k: pa.array(np.ascontiguousarray(v)) for k, v in columns.items()})
    # the reader of ACTS knows no quotes, which pyarrow would put around the names
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
    with open(path, "wb") as file:
        file.write((",".join(columns) + "\n").encode())
        arrow_csv.write_csv(table, file, options)


@contextlib.contextmanager
def _quiet():
    """Sends what the C++ code prints to nowhere; errors are exceptions."""
    sys.stdout.flush()
    saved = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _run(folder, seed):
    acts, examples, _, geometry = _detector()
    level, unit = acts.logging.ERROR, acts.UnitConstants
    field = acts.ConstantBField(acts.Vector3(0, 0, FIELD_TESLA * unit.T))
    sequencer = examples.Sequencer(
        events=1, numThreads=1, logLevel=level, trackFpes=False, outputDir=folder
    )
    sequencer.addReader(
        examples.CsvParticleReader(
            level=level, inputDir=folder, inputStem="in", outputParticles="in"
        )
    )
    interactions = ("Scattering", "EnergyLossIonisation", "EnergyLossRadiation")
    sequencer.addAlgorithm(
        examples.FatrasSimulation(
            level=level,
            inputParticles="in",
            outputParticles="out",
            outputSimHits="hits",
            randomNumbers=examples.RandomNumbers(seed=seed),
            trackingGeometry=geometry,
            magneticField=field,
            generateHitsOnSensitive=True,
            emPhotonConversion=True,
            pMin=LEAST_MOMENTUM_GEV * unit.GeV,
            **{f"em{name}": True for name in interactions},
        )
    )
    sequencer.addWriter(
        examples.CsvSimHitWriter(
            level=level, inputSimHits="hits", outputDir=folder, outputStem="hits"
        )
    )
    sequencer.addWriter(
        examples.CsvParticleWriter(
            level=level, inputParticles="out", outputDir=folder, outputStem="out"
        )
    )
    sequencer.run()


def _flight(particles, hits):
    def rows(names):
        return np.column_stack([particles[name] for name in names])

    generation = particles["particle_id_gen"]
    primary = _primary(particles)
    sub = particles["particle_id_subpart"]
    order = np.lexsort((sub, generation, primary, generation > 0))
    keys = _key(particles)[order]
    by_key = np.argsort(keys)
    place = np.searchsorted(keys[by_key], _key(hits))
    identity = hits["geometry_id"]
    return Flight(
        primary=primary[order],
        generation=generation[order],
        sub=sub[order],
        vertex=rows(("vx", "vy", "vz"))[order],
        momentum=rows(("px", "py", "pz"))[order],
        charge=particles["q"][order],
        particle_type=particles["particle_type"][order],
        hit_particle=by_key[place],
        hit_index=hits["index"],
        position=np.column_stack([hits[name] for name in ("tx", "ty", "tz")]),
        volume=(identity >> 56) & 0xFF,
        layer=(identity >> 36) & 0xFFF,
        sensitive=(identity >> 8) & 0xFFFFF,
    )


def _primary(columns):
    block = columns["particle_id_pv"] - 1
    return block * _BLOCK + columns["particle_id_part"] - 1


def _key(columns):
    """Returns one 64-bit number per particle."""
    generation, sub = columns["particle_id_gen"], columns["particle_id_subpart"]
    return (_primary(columns) << 32) | (generation << 16) | sub
