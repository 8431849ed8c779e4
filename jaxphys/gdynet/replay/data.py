"""Replays the golden files about data: readers, pairs, batches, errors, neighbours."""

import collections
import pathlib
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.data.batches import sequential
from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.gdynet.batches import PairBatches
from jaxphys.gdynet.data.dataset import (
    Trajectories,
    all_pairs,
    from_arrays,
    open_trajectories,
)
from jaxphys.gdynet.data.sources import FILES, MinimumImageDistances
from jaxphys.gdynet.physics.neighbours import neighbours

Outputs = Mapping[str, Any]
FERRO = "gdynet_ferro"
ACCEPTED = "accepted"
SWAP = 5e-5  # A, neighbours closer than this to each other may change places


def replay_dataset(golden: Golden) -> Outputs:
    """Pairs and batches of recorded arrays, or which errors the reader raises."""
    if "cases" in golden.meta:
        return _errors(golden)
    if "n_trajectories" in golden.config:
        return _several(golden)
    return _one(golden)


def _one(golden: Golden) -> Outputs:
    config = golden.config
    tau, size = config["tau"], config["batch_size"]
    ferro = config["model"] == FERRO
    names = FILES if ferro else FILES[:4]
    arrays = {name: golden.inputs[name] for name in names}
    data = from_arrays(arrays, directions=ferro)
    pairs = all_pairs(data, tau)
    positions = np.arange(pairs.size)
    outputs: dict[str, Any] = {
        "n_samples": np.int64(pairs.size),
        "pairs": np.stack(pairs.frames(positions), axis=1),
        "n_batches_train": np.int64(pairs.num_batches(size, drop_last=True)),
        "n_batches_predict": np.int64(pairs.num_batches(size, drop_last=False)),
    }
    single = PairBatches(data, pairs, 1, sequential(pairs.size), directions=ferro)
    outputs.update(_sparse(golden, single, 1, "sample1", frames=False))
    batches = PairBatches(data, pairs, size, sequential(pairs.size), directions=ferro)
    for i in range(batches.num_batches(0)):
        outputs.update(_sparse(golden, batches, i, f"batch{i}", frames=True))
    return outputs


def _sparse(golden, batches, index, prefix, frames) -> Outputs:
    """Returns a batch as the original has it: one list of edges, padding left out."""
    data, config = batches.trajectories, golden.config
    rows = batches.rows(0, index, slice(None))
    batch = batches.expand(batches.resident(0), batches.batch(0, index, slice(None)))
    real = rows["weight"] > 0
    count, atoms = int(real.sum()), data.num_atoms
    shift = atoms * np.arange(count)
    outputs = {}
    for time in ("0", "t"):
        lists = np.asarray(batch[f"nbr_lists_{time}"], np.int64)[real]
        centres = np.broadcast_to(np.arange(atoms)[:, None], lists.shape)
        edges = np.stack([centres, lists]) + shift[:, None, None]
        dists = np.asarray(batch[f"nbr_dists_{time}"])[real].reshape(-1)
        found = {
            "x": np.tile(data.atom_types, count).astype(np.int64),
            "edge_index": edges.reshape(2, -1),
            "edge_attr": _gaussians(dists, config),
            "target": (data.target_index + shift[:, None]).reshape(-1),
        }
        if frames:
            found["frame"] = rows["frame_0"][real]  # both name the pair
        if batches.directions:
            directions = np.asarray(batch[f"directions_{time}"])[real]
            found["atom_direction"] = directions.reshape(-1, 3)
        outputs.update({f"{prefix}_{time}/{k}": v for k, v in found.items()})
    return outputs


def _gaussians(dists, config):
    centres = np.linspace(
        0, config["cutoff"], config["num_gaussians"], dtype=np.float32
    )
    width = centres[1] - centres[0]
    return np.exp(-((dists[:, None] - centres) ** 2) / (2 * width**2))


def _several(golden: Golden) -> Outputs:
    """Trajectories of one leading axis, one after the other."""
    config = golden.config
    arrays = {name: golden.inputs[name] for name in FILES[:4]}
    count, frames = arrays["nbr_lists"].shape[:2]
    for name in ("nbr_lists", "nbr_dists"):
        arrays[name] = arrays[name].reshape(-1, *arrays[name].shape[2:])
    arrays["trajectory_lengths"] = np.full(count, frames)
    data = from_arrays(arrays)
    pairs, size = all_pairs(data, config["tau"]), config["batch_size"]
    batches = PairBatches(data, pairs, size, sequential(pairs.size))
    frame_0, frame_t = pairs.frames(np.arange(pairs.size))
    which = data.trajectory_of(frame_0)
    outputs: dict[str, Any] = {
        "trajectory": which,
        "frame_0": frame_0 - data.starts[which],
        "frame_t": frame_t - data.starts[which],
        "n_samples": np.int64(pairs.size),
        "n_batches": np.int64(batches.num_batches(0)),
    }
    for i in range(batches.num_batches(0)):
        sent = batches.batch(0, i, slice(None))
        batch = batches.expand(batches.resident(0), sent)
        real = sent["weight"] > 0
        for name in ("nbr_lists", "nbr_dists"):
            for time in ("0", "t"):
                key = f"{name}_{time}"
                outputs[f"batch{i}/{key}"] = np.asarray(batch[key])[real]
    return outputs


def _errors(golden: Golden) -> Outputs:
    """What the reader says to every recorded case, one output per case."""
    if not golden.meta["cases"]:
        raise ValueError(f"{golden.path}: meta.cases is empty: nothing to compare")
    with tempfile.TemporaryDirectory() as folder:
        return {
            f"required/{case['name']}": np.array(
                _verdict(golden, case, pathlib.Path(folder) / case["name"])
            )
            for case in golden.meta["cases"]
        }


def _verdict(golden: Golden, case, folder: pathlib.Path) -> str:
    """Returns the class of the exception or warning, or `ACCEPTED`."""
    config, ferro = golden.config, case["model"] == FERRO
    names = list(FILES if ferro else FILES[:4])
    folder.mkdir()
    for name in names:
        own = f"{case['name']}/{name}"
        array = golden.inputs.get(own, golden.inputs[f"base/{name}"])
        np.save(folder / f"{name}.npy", array)
    removed = {"missing_file": "nbr_dists", "missing_directions": "atom_directions"}
    if case["name"] in removed:
        (folder / f"{removed[case['name']]}.npy").unlink()
    if case["name"] == "three_files":
        del names[3:]
    paths = [folder / f"{name}.npy" for name in names]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            data = open_trajectories(
                paths, directions=ferro, cutoff=config.get("cutoff", 0.0)
            )
            _pass_over(data, case["tau"], config["batch_size"], ferro)
        except (ValueError, OSError, LookupError, TypeError) as error:
            return type(error).__name__
    return said[0].category.__name__ if said else ACCEPTED


def _pass_over(data: Trajectories, tau: int, size: int, ferro: bool) -> None:
    pairs = all_pairs(data, tau)
    batches = PairBatches(data, pairs, size, sequential(pairs.size), directions=ferro)
    for i in range(batches.num_batches(0)):
        batches.batch(0, i, slice(None))


def replay_preprocess(golden: Golden) -> Outputs:
    """Neighbour lists of coordinates; the original casts them to float32 first."""
    config, inputs = golden.config, golden.inputs
    positions = inputs["traj_coords"].astype(np.float32)
    cells = inputs["lattices"].astype(np.float32)
    outputs: dict[str, Any] = {
        "traj_coords": positions,
        "atom_types": inputs["atom_types"],
        "target_index": inputs["target_index"],
    }
    found = neighbours(positions, cells, config["n_nbrs"], float(config["radius"]))
    outputs["nbr_dists"] = found.dists
    lists = found.lists
    if config["backend"] == "kdtree":
        lengths = np.diagonal(cells, axis1=1, axis2=2)
        outputs["lattices"] = lengths
        # what the reader of that form computes
        outputs["nbr_dists"] = MinimumImageDistances(positions, lengths, lists)[:]
    reference = golden.outputs["nbr_lists"]
    outputs["nbr_lists"] = lists
    if reference.shape == lists.shape and (reference != lists).any():
        # with some more neighbours: one as far as the last may stand in its place
        wider = neighbours(positions, cells, lists.shape[2] + 8, "auto")
        outputs["nbr_lists"] = _undo_swaps(lists, wider, reference)
    return outputs


def _dataset_outputs(golden: Golden) -> Names:
    if "cases" in golden.meta:
        return ("required/*",)
    if "n_trajectories" in golden.config:
        names = ("trajectory", "frame_0", "frame_t", "n_samples", "n_batches")
        return (*names, "batch*/nbr_lists_*", "batch*/nbr_dists_*")
    names = ("pairs", "n_samples", "n_batches_train", "n_batches_predict")
    pairs = len(golden.inputs["nbr_lists"]) - golden.config["tau"]
    last = -(-pairs // golden.config["batch_size"]) - 1
    return (*names, "sample1_*/*", "batch0_*/*", f"batch{last}_*/*")


def _preprocess_outputs(golden: Golden) -> Names:
    names = ("nbr_lists", "nbr_dists", "traj_coords", "atom_types", "target_index")
    return (*names, "lattices") if golden.config["backend"] == "kdtree" else names


def _undo_swaps(lists, wider, reference):
    """Orders neighbours of nearly one distance (5e-5 A) as the record has them."""
    lists, width = lists.copy(), lists.shape[2]
    for f, i in np.argwhere((lists != reference).any(axis=-1)).tolist():
        gaps = np.flatnonzero(np.diff(wider.dists[f, i]) >= SWAP) + 1
        for group in np.split(np.arange(wider.lists.shape[2]), gaps):
            places = group[group < width]
            recorded = collections.Counter(reference[f, i, places].tolist())
            if not recorded - collections.Counter(wider.lists[f, i, group].tolist()):
                lists[f, i, places] = reference[f, i, places]
    return lists


CASES = {
    "dataset": Case(replay_dataset, _dataset_outputs),
    "preprocess": Case(replay_preprocess, _preprocess_outputs),
}
