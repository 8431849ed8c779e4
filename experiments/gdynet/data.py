"""From flags to trajectories, and from trajectories to the pairs of each part."""

import dataclasses
import json
import pathlib
import sys
import warnings
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.gdynet.config import Config
from jaxphys.gdynet.data import prepare
from jaxphys.gdynet.data.dataset import (
    Pairs,
    Trajectories,
    all_pairs,
    open_trajectories,
    split_blocks,
)
from jaxphys.gdynet.simulation import cases, simulation

ABOUT = "case.json"  # what is known exactly of simulated data


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
    """

    train: Part
    val: Part
    test: Part
    exact: dict[str, Any]


def load(config: Config) -> Parts:
    """Opens, checks and splits the data that the flags name; simulates it if none is.

    Raises:
      FileNotFoundError: names everything that is missing.
      ValueError: names file, first offending place and value.
    """
    if config.train_fnames:
        names = (config.train_fnames, config.val_fnames)
        train, val = (open_checked(n, config.ferro, config.cutoff) for n in names)
        test = val
        if config.test_fnames:
            test = open_checked(config.test_fnames, config.ferro, config.cutoff)
        check_alike(train, val, test)
        first = Part(train, all_pairs(train, config.tau, config.stride))
        rest = [Part(found, all_pairs(found, config.tau)) for found in (val, test)]
        return Parts(first, rest[0], rest[1], {})
    place = place_of(config)
    trajectories = open_checked(place, config.ferro, config.cutoff)
    blocks = split_blocks(
        trajectories,
        config.split,
        config.tau,
        block=config.split_block,
        seed=config.data_seed,
    )
    strides = (config.stride, 1, 1)
    train, val, test = (
        Part(trajectories, Pairs(found, config.tau, stride))
        for found, stride in zip(
            (blocks[0], blocks[1], blocks[-1]), strides, strict=True
        )
    )
    known = place / ABOUT if place.is_dir() else None
    exact = json.loads(known.read_text()) if known and known.is_file() else {}
    return Parts(train, val, test, exact)


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


def place_of(config: Config) -> pathlib.Path:
    """Returns the folder or archive of --data; makes the folder of a case first."""
    source = pathlib.Path(config.data) if config.data else None
    if source is not None and not cases.is_case(source):
        return source
    folder = pathlib.Path(config.workdir) / "data"
    if jax.process_index() == 0 and not (folder / ABOUT).is_file():
        write_case(config, folder, source)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("data")
    return folder


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
