"""From flags to trajectories, and from trajectories to the pairs of each part."""

import dataclasses
import json
import pathlib
import shutil
import sys
import warnings
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.gdynet.config import Config
from jaxphys.data.files import read_json, write_json
from jaxphys.data.fingerprint import Fingerprint, of_files
from jaxphys.gdynet.data import directions, prepare, trajectories
from jaxphys.gdynet.data.dataset import (
    Pairs,
    Trajectories,
    all_pairs,
    open_trajectories,
    split_blocks,
)
from jaxphys.gdynet.simulation import cases, simulation

ABOUT = "case.json"  # what is known exactly of simulated data
MADE_FROM = "made_from.json"  # the flags and the file that a case was made from


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Pairs of one part of the data.

    Attributes:
      trajectories: where the frames are.
      pairs: which of them go together.
    """

    trajectories: Trajectories
    pairs: Pairs


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The data of a run.

    Attributes:
      train, val, test: what weights are made from, what chooses the best epoch, and
        what takes no part.
      exact: `simulation.Case.describe()` of simulated or recorded cases, else empty.
      fingerprint: of the files, or of the recorded case that they were made from.
      unseen: nothing of it trained the run; train, val and test are all pairs.
    """

    train: Part
    val: Part
    test: Part
    exact: dict[str, Any]
    fingerprint: Fingerprint
    unseen: bool = False


def load(config: Config, known: object = None) -> Parts:
    """Opens, checks and splits the data that the flags name; simulates it if none is.

    Raises:
      FileNotFoundError: names everything that is missing.
      ValueError: names file, first offending place and value.
    """
    del known
    if config.train_fnames:
        names = (config.train_fnames, config.val_fnames)
        train, val = (open_checked(n, config.ferro, config.cutoff) for n in names)
        test = val
        if config.test_fnames:
            test = open_checked(config.test_fnames, config.ferro, config.cutoff)
        check_alike(train, val, test)
        first = Part(train, all_pairs(train, config.tau, config.stride))
        rest = [Part(found, all_pairs(found, config.tau)) for found in (val, test)]
        named = (*config.train_fnames, *config.val_fnames, *config.test_fnames)
        source = dataclasses.replace(
            of_files(named), trained=of_files(config.train_fnames).trained
        )
        return Parts(first, rest[0], rest[1], {}, source)
    place = place_of(config, pathlib.Path(config.workdir) / "data")
    opened = open_checked(place, config.ferro, config.cutoff)
    blocks = split_blocks(
        opened,
        config.fractions,
        config.tau,
        block=config.split_block,
        seed=config.split_seed,
    )
    strides = (config.stride, 1, 1)
    train, val, test = (
        Part(opened, Pairs(found, config.tau, stride))
        for found, stride in zip(
            (blocks[0], blocks[1], blocks[-1]), strides, strict=True
        )
    )
    return Parts(train, val, test, exact_of(place), of_files([config.data or place]))


def load_unseen(config: Config) -> Parts:
    """Returns all pairs of --data, or of --test_fnames, as data to test on."""
    if config.data:
        source = of_files([config.data])
        # beside the data of the run, which may be a case too
        folder = pathlib.Path(config.workdir) / f"data-{source.digest[:12]}"
        place = place_of(config, folder)
        found, exact = open_checked(place, config.ferro, config.cutoff), exact_of(place)
    else:
        source = of_files(config.test_fnames)
        found = open_checked(config.test_fnames, config.ferro, config.cutoff)
        exact = {}
    part = Part(found, all_pairs(found, config.tau))
    return Parts(part, part, part, exact, source, unseen=True)


def exact_of(place: pathlib.Path) -> dict[str, Any]:
    """Returns what is known exactly of the data in a folder; empty: nothing."""
    about = place / ABOUT
    return read_json(about) if place.is_dir() and about.is_file() else {}


def check_alike(*sets: Trajectories) -> None:
    """Refuses validation or test data of other atoms.

    Raises:
      ValueError: names the first trajectory of the set that differs.
    """
    first = sets[0]
    for other in sets[1:]:
        for name in ("atom_types", "target_index"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise ValueError(
                    f"{other.names[0]}: {name} is not that of {first.names[0]}"
                )


def open_checked(places: Any, ferro: bool, cutoff: float = 0.0) -> Trajectories:
    """Opens and checks trajectories; prints what is suspicious, a line each.

    Args:
      places: see `open_trajectories`.
      ferro: directions are needed.
      cutoff: last Gaussian centre in angstrom; 0: no warnings about distances.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        opened = open_trajectories(
            places, directions=ferro, cutoff=cutoff, progress=True
        )
    for entry in found:
        print(f"warning: {entry.message}", file=sys.stderr)
    return opened


def place_of(config: Config, folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder or archive of --data.

    Args:
      config: the flags.
      folder: receives the frames of a case, simulated or recorded; made again when
        it holds those of other flags.
    """
    source = pathlib.Path(config.data) if config.data else None
    if source is not None and not cases.is_case(source):
        return source
    wanted = request_of(config, source)
    made = folder / MADE_FROM
    if jax.process_index() == 0 and not (made.is_file() and read_json(made) == wanted):
        if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
            raise ValueError(f"{folder}: is not empty, and no case of ours")
        shutil.rmtree(folder, ignore_errors=True)
        write_case(config, folder, source)
        write_json(made, wanted)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("data")
    return folder


def request_of(config: Config, source: pathlib.Path | None) -> dict[str, Any]:
    """Returns what the frames of a case depend on."""
    if source is None:
        names = ("case", "data_seed", "trajectories", "frames", "barrier")
        return {name: getattr(config, name) for name in names}
    names = ("trajectories", "frame_step", "n_nbrs")
    asked = {name: getattr(config, name) for name in names}
    return {"source": of_files([source]).digest, **asked}


def write_case(
    config: Config, folder: pathlib.Path, source: pathlib.Path | None = None
) -> None:
    """Writes a case with a known answer as a folder: recorded, or simulated here."""
    if source is not None:
        case = cases.read_case(
            source,
            trajectories=config.trajectories,
            step=config.frame_step,
            n_nbrs=config.n_nbrs,
            workers=config.workers,
        )
    else:
        print(f"simulating case {config.case}", file=sys.stderr)
        case = simulation.simulate(
            config.case,
            config.data_seed,
            config.trajectories,
            config.frames,
            config.barrier,
        )
    prepare.write_folder(folder, case.arrays)
    (folder / ABOUT).write_text(json.dumps(case.describe(), indent=2) + "\n")


def prepare_trajectory(config: Config, folder: pathlib.Path) -> pathlib.Path:
    """Converts the file --trajectory to a folder of frames with neighbours."""
    path = pathlib.Path(config.trajectory)
    if path.suffix == ".npz":
        source, targets = trajectories.open_npz_frames(path)
    else:
        source = trajectories.open_trajectory(path, config.topology)
        if not config.target:
            raise ValueError("--target: needed, the atoms whose states are wanted")
        targets = None
    if config.target:
        select = getattr(source, "select", None)
        targets = trajectories.parse_targets(config.target, source.atom_types, select)
    recipe = prepare.Recipe(
        n_nbrs=config.n_nbrs,
        radius=config.search_radius(),
        backend=config.backend,
        pbc=config.pbc,
        directions=directions.parse_directions(config.directions),
    )
    return prepare.prepare(
        source,
        np.asarray(targets),
        folder,
        recipe,
        workers=config.workers,
        progress=True,
    )
