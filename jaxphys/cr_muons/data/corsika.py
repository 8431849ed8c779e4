"""Reads muons of CORSIKA 7 particle files and carries them to depths in ice.

The files (DAT000000, ...) are read by the package corsikaio.
"""

import dataclasses
import glob
import importlib
import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.writers import EventWriter
from jaxphys.cr_muons.physics.energy_loss import carry_to_depths
from jaxphys.cr_muons.physics.events import Events

PREFIX = "corsika:"
MUON_MASS = 0.1056583745  # GeV
ATOMIC_MASS = 0.93149410  # GeV
# GeV; other nuclei: their mass number times the atomic mass, within 0.3 %
MASSES = {1: 0.938272, 4: 3.727379, 14: 13.0402, 27: 25.1331, 56: 52.0898}
_MUONS = (5, 6)  # mu+, mu-
_CM = 0.01  # m
_BLOCKS = {22_932: False, 26_208: True}  # bytes of a record: with weights or not


@dataclasses.dataclass(frozen=True, eq=False)
class Showers:
    """Muons at the surface.

    Attributes:
        primaries: [S, 3] float64 energy GeV, zenith rad, mass GeV.
        showers: [S, 2] uint64, number of the run and of the event.
        num_muons: [S] int64.
        muons: [M, 3] float64 energy GeV and x, y in m, relative to the shower axis and
            perpendicular to it; showers one after the other.
    """

    primaries: np.ndarray
    showers: np.ndarray
    num_muons: np.ndarray
    muons: np.ndarray


def is_corsika(sources: Sequence[str]) -> bool:
    """Tells if paths name files of CORSIKA, by their first bytes."""
    try:
        files = find_files(sources)
    except ValueError:
        return False
    return all(_has_run_header(path) for path in files)


def _has_run_header(path):
    with open(path, "rb") as file:
        return b"RUNH" in file.read(8)  # after the length of the record, if any


def find_files(sources: Sequence[str]) -> list[str]:
    """Returns the files that paths, folders (DAT*) and patterns name.

    Raises:
        ValueError: If there are none.
    """
    found = []
    for source in sources:
        path = os.fspath(source).removeprefix(PREFIX)
        if os.path.isdir(path):
            inside = sorted(pathlib.Path(path).glob("DAT*"))
            files = [str(p) for p in inside if p.suffix in ("", ".gz", ".zst")]
        else:
            files = [p for p in sorted(glob.glob(path)) if os.path.isfile(p)]
        if not files:
            raise ValueError(f"{path}: no file of CORSIKA (DAT000000, ...) there")
        found += files
    return found


def nuclear_mass(particle_id: int, where: str = "") -> float:
    """Returns the mass in GeV of a primary, by CORSIKA's number of the particle.

    Raises:
        ValueError: If it is neither a proton nor a nucleus.
    """
    if particle_id == 14:
        return MASSES[1]
    number = particle_id // 100
    if number < 2:
        raise ValueError(
            f"{where}: expected a proton (14) or a nucleus (100 A + Z) as primary, got "
            f"particle {particle_id}"
        )
    return MASSES.get(number, number * ATOMIC_MASS)


def read_showers(path: str | os.PathLike) -> Iterator[Showers]:
    """Yields the showers of a file one by one.

    Args:
        path: The particle file; muons of its lowest observation level are taken.

    Raises:
        ValueError: If the file is truncated, of another kind or has weights.
    """
    path = os.fspath(path)
    corsikaio = _corsikaio()
    _check_kind(path)
    event = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions; the blocks we read stay
            with corsikaio.CorsikaParticleFile(path) as file:
                for shower in file:
                    event = int(shower.header["event_number"])
                    yield _shower(shower, f"{path}: event {event}")
    except OSError as error:
        raise ValueError(
            f"{path}: after event {event}: the file is truncated or damaged: {error}"
        ) from error


def _check_kind(path):
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file")
    with open(path, "rb") as file:
        first = file.read(8)
    if first[:2] == b"\x1f\x8b" or first[:4] == b"\x28\xb5\x2f\xfd":
        return  # compressed: the reader looks inside
    if b"RUNH" not in first:
        raise ValueError(
            f"{path}: not a particle file of CORSIKA: no RUNH at its start"
        )
    record = int.from_bytes(first[:4], "little")
    if _BLOCKS.get(record, False):
        raise ValueError(
            f"{path}: thinned showers hold weighted particles, which are no bundles: "
            "expected showers without thinning"
        )


def _shower(event, where):
    header, particles = event.header, event.particles
    description = particles["particle_description"].astype(np.int64)
    level = int(header["n_observation_levels"])
    chosen = np.isin(description // 1000, _MUONS) & (description % 10 == level)
    found = particles[chosen]
    names = ("px", "py", "pz")
    square = sum(found[name].astype(np.float64) ** 2 for name in names)
    zenith, azimuth = float(header["zenith"]), float(header["azimuth"])
    x, y = (found[name].astype(np.float64) * _CM for name in ("x", "y"))
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    # the level is horizontal: what lies along the axis is foreshortened
    along = (x * cosine + y * sine) * np.cos(zenith)
    across = y * cosine - x * sine
    mass = nuclear_mass(int(header["particle_id"]), where)
    return Showers(
        np.array([[float(header["total_energy"]), zenith, mass]]),
        np.array([[header["run_number"], header["event_number"]]]).astype(np.uint64),
        np.array([len(found)]),
        np.column_stack([np.sqrt(square + MUON_MASS**2), along, across]),
    )


def carry(showers: Showers, depths: Sequence[float]) -> Events:
    """Carries showers to vertical depths in m with the loss of the simulation."""
    depths_m = np.tile(np.asarray(depths, np.float64), (len(showers.primaries), 1))
    return carry_to_depths(
        showers.primaries, depths_m, showers.num_muons, showers.muons, showers.showers
    )


def convert(
    sources: Sequence[str], output: str | os.PathLike, depths: Sequence[float]
) -> int:
    """Writes the muons of CORSIKA files at some depths in the training schema.

    Showers are cut at an energy at the surface; a bundle is whole only at depths that
    no muon below this cut reaches.

    Args:
        sources: Files, folders, patterns; a leading "corsika:" is taken off.
        output: The Parquet file; it appears when it is whole.
        depths: Vertical depths in m, ascending.

    Returns:
        The number of events.

    Raises:
        ValueError: If a file is wrong or there is no depth.
    """
    if not len(depths) or min(depths) < 0:
        raise ValueError(f"depths: expected vertical depths in m >= 0, got {depths}")
    with EventWriter(output) as writer:
        for path in find_files(sources):
            writer.write(
                Events.concatenate([carry(s, depths) for s in read_showers(path)])
            )
        return writer.num_events


def _corsikaio() -> Any:
    try:
        return importlib.import_module("corsikaio")
    except ImportError as error:
        raise ValueError(
            "files of CORSIKA need another package: pip install 'jaxphys[corsika]'"
        ) from error
