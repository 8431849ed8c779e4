"""Reads recorded trajectories of cases with known answers (A, B, C, D)."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from jaxphys.gdynet.data.sources import map_npz
from jaxphys.gdynet.physics import exact
from jaxphys.gdynet.simulation.simulation import (
    Case,
    alanine_arrays,
    dipole_arrays,
    distance_arrays,
    lithium_arrays,
)


def read_case(
    path: str | os.PathLike,
    *,
    trajectories: int = 0,
    step: int = 1,
    n_nbrs: int = 20,
    distinct: bool = True,
    workers: int = 1,
) -> Case:
    """Reads an archive whose `meta` names one of the cases.

    Args:
        path: Of the .npz file.
        trajectories: Only the first of them; 0: all.
        step: Only every step-th frame.
        n_nbrs: Neighbours of an atom, case A.
        distinct: See `alanine_arrays`, case D.
        workers: Processes for the neighbour lists of case A.

    Returns:
        Arrays and what an ideal analysis finds, timescales in the file's unit.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of the cases or lacks an array.
    """
    if trajectories < 0 or step < 1:
        raise ValueError(
            f"trajectories, step: expected >= 0 and >= 1, got {trajectories}, {step}"
        )
    found = map_npz(path)
    try:
        meta = json.loads(str(found["meta"]))
        name = meta["case"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected an array meta with a case") from error
    readers = {"A": _lithium, "B": _dipoles, "C": _two_atoms, "D": _alanine}
    if name not in readers:
        raise ValueError(f"{path}: case {name!r}: expected one of {', '.join(readers)}")
    options = {"n_nbrs": n_nbrs, "distinct": distinct, "workers": workers}
    try:
        return readers[name](found, meta, trajectories or None, step, options)
    except KeyError as error:
        raise ValueError(f"{path}: case {name} without array {error}") from error


def is_case(path: str | os.PathLike) -> bool:
    """Returns whether a file is an archive that `read_case` reads."""
    if pathlib.Path(path).suffix != ".npz" or not pathlib.Path(path).is_file():
        return False
    try:
        return "case" in json.loads(str(map_npz(path)["meta"]))
    except (KeyError, TypeError, ValueError):
        return False


def _lithium(found, meta, most, step, options: dict[str, Any]) -> Case:
    # fraction = value / 65536, which float32 holds exactly
    fraction = np.asarray(found["li_frac"][:most, ::step], np.float32) / 65536
    arrays = lithium_arrays(fraction, options["n_nbrs"], options["workers"])
    octahedral = exact.lithium_p_octahedral()
    return Case(
        "A",
        arrays,
        meta["frame"] * step,
        meta["unit"],
        exact.lithium_timescales(),
        (octahedral, 1 - octahedral),
    )


def _dipoles(found, meta, most, step, options) -> Case:
    del options
    dipole = np.asarray(found["dipole_z"][:most, ::step], np.float32)
    arrays = dipole_arrays(
        dipole,
        np.asarray(found["atom_types"], np.int32),
        found["nbr_lists"],
        found["nbr_dists"],
    )
    times = tuple(exact.dipole_timescales(meta["b"]).tolist())
    return Case("B", arrays, meta["frame"] * step, meta["unit"], times, (0.5, 0.5))


def _two_atoms(found, meta, most, step, options) -> Case:
    del options
    x = np.asarray(found["x"][:most, ::step], np.float32)
    return Case(
        "C",
        distance_arrays(x, meta["scale"], meta["offset"]),
        float(step),
        "frames",
        tuple(exact.prinz_timescales().tolist()),
        tuple(exact.prinz_populations().tolist()),
    )


def _alanine(found, meta, most, step, options) -> Case:
    del most
    coordinates = np.asarray(found["coordinates"][::step])
    arrays = alanine_arrays(coordinates, options["distinct"], found["atom_types"])
    mean, _ = meta["psi_lag2_bootstrap"]
    return Case("D", arrays, meta["frame"] * step, meta["unit"], (mean,))
