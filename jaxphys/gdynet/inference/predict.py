"""A trained run: probabilities of the states of atoms, frame by frame."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxphys.data.files import replace_file, write_json
from jaxphys.gdynet.data.dataset import Trajectories, open_trajectories
from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.physics.neighbours import neighbours
from jaxphys.gdynet.training import step
from jaxphys.training.best import Weights, read_weights
from jaxphys.training.loaded import Loaded

NETWORK_FILE = "network.json"
_CHUNK_BYTES = 2**27  # of the features of the edges of a chunk
_DTYPES = {"bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor(Loaded):
    """A trained network of one lobe.

    Attributes:
      model: of a lobe.
      variables: params and batch_stats.
      atom_types: atomic numbers of the training data, [N].
      target_index: its atoms whose states were wanted, [n].
      n_nbrs: neighbours of an atom in the training data.
      metadata: of the run: tau, time_unit, time_unit_name and so on.
    """

    model: GDyNet
    variables: Mapping[str, Any]
    atom_types: np.ndarray
    target_index: np.ndarray
    n_nbrs: int
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def ferro(self) -> bool:
        """Whether frames need directions."""
        return self.model.variant == "ferro"

    def probabilities(
        self,
        nbr_lists: np.ndarray,
        nbr_dists: np.ndarray,
        directions: np.ndarray | None = None,
        *,
        atom_types: np.ndarray | None = None,
        target_index: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the probabilities of the states, [F, n, S] float32.

        Args:
          nbr_lists: [F, N, M], or [1, N, M] where the neighbours never change.
          nbr_dists: [F, N, M] or [1, N, M], angstrom.
          directions: [F, N, 3], of the ferro variant.
          atom_types: [N]; None takes those of the training.
          target_index: [n]; None takes those of the training.

        Raises:
          ValueError: arrays that do not fit, or directions missing.
        """
        types = self.atom_types if atom_types is None else np.asarray(atom_types)
        targets = self.target_index if target_index is None else target_index
        arrays = {"nbr_lists": nbr_lists, "nbr_dists": nbr_dists}
        if self.ferro:
            if directions is None:
                raise ValueError("directions: the ferro variant needs them, got none")
            arrays["directions"] = directions
        frames = max(len(a) for a in arrays.values())
        for name, array in arrays.items():
            if len(array) not in (1, frames) or array.shape[1] != len(types):
                raise ValueError(
                    f"{name}: expected [{frames} or 1, {len(types)}, ...], got "
                    f"{list(array.shape)}"
                )

        def read(name: str, rows: np.ndarray) -> np.ndarray:
            array = arrays[name]
            return np.asarray(array[np.zeros(1, int) if len(array) == 1 else rows])

        width = nbr_lists.shape[2]
        found = self._chunks(read, list(arrays), frames, width, types, targets)
        return np.concatenate(list(found))

    def from_positions(
        self,
        positions: np.ndarray,
        cell: np.ndarray | None,
        atom_types: np.ndarray | None = None,
        target_index: np.ndarray | None = None,
        directions: np.ndarray | None = None,
        radius: float | str = "auto",
    ) -> np.ndarray:
        """Returns the probabilities for positions, [F, n, S] float32.

        Args:
          positions: [F, N, 3] angstrom.
          cell: [F, 3, 3] or [3, 3], rows are the vectors; None without periodicity.
          atom_types: see `probabilities`.
          target_index: see `probabilities`.
          directions: see `probabilities`.
          radius: of the neighbour search, angstrom or "auto".
        """
        found = neighbours(positions, cell, self.n_nbrs, radius)
        return self.probabilities(
            found.lists,
            found.dists,
            directions,
            atom_types=atom_types,
            target_index=target_index,
        )

    def predict(
        self, data: Trajectories | str | os.PathLike | Sequence[str]
    ) -> list[np.ndarray]:
        """Returns the probabilities of every trajectory, [F_r, n, S] float32 each.

        Args:
          data: trajectories, or what `open_trajectories` takes. Atoms, targets and
            numbers of frames may differ from those of the training.
        """
        if not isinstance(data, Trajectories):
            data = open_trajectories(data, directions=self.ferro)
        names = ["nbr_lists", "nbr_dists", *(["directions"] if self.ferro else [])]
        static = {name: data.static(name) for name in names}

        def read(name: str, rows: np.ndarray) -> np.ndarray:
            held = static[name]
            return data.read(name, rows) if held is None else held

        chunks = self._chunks(
            read,
            names,
            data.num_frames,
            data.num_neighbours,
            data.atom_types,
            data.target_index,
        )
        whole = np.concatenate(list(chunks))
        return np.split(whole, data.starts[1:])

    def _chunks(
        self, read, names, frames, width, atom_types, target_index
    ) -> Iterator[np.ndarray]:
        """Yields [frames of a chunk, n, S]; one compilation for all."""
        lobes = step.Lobes(self.model, np.asarray(atom_types), np.asarray(target_index))
        per_frame = 4 * len(atom_types) * width * self.model.atom_fea_len
        size = int(np.clip(_CHUNK_BYTES // per_frame, 1, frames))

        @jax.jit
        def run(variables, arrays):
            return step.probabilities(lobes, variables, arrays)

        for start in range(0, frames, size):
            # the last chunk repeats its last frame
            rows = np.minimum(np.arange(start, start + size), frames - 1)
            arrays = {name: jnp.asarray(read(name, rows)) for name in names}
            found = np.asarray(run(self.variables, arrays), np.float32)
            found = np.broadcast_to(found, (size, *found.shape[1:]))
            yield found[: min(size, frames - start)]


def save_network(
    workdir: str | pathlib.Path, lobes: step.Lobes, n_nbrs: int, **facts: Any
) -> None:
    """Writes what a run's networks are, and facts about the run, into its workdir."""
    fields = {
        f.name: getattr(lobes.model, f.name)
        for f in dataclasses.fields(lobes.model)
        if f.name not in ("parent", "name", "dtype")
    }
    dtype = {v: k for k, v in _DTYPES.items()}.get(lobes.model.dtype, "")
    content = {
        "model": fields,
        "dtype": dtype,
        "atom_types": np.asarray(lobes.atom_types).tolist(),
        "target_index": np.asarray(lobes.target_index).tolist(),
        "n_nbrs": n_nbrs,
    }
    write_json(pathlib.Path(workdir) / NETWORK_FILE, {**content, **facts})


def load(
    workdir: str | pathlib.Path, weights: str = "best", lobe: str = "lobe_0"
) -> Predictor:
    """Loads a network of a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best" by the rule of the run, the last ones while there are none; or
        "last".
      lobe: "lobe_0", or "lobe_t" of a run with separate lobes.

    Raises:
      ValueError: there is no run, no checkpoint or no such lobe.
    """
    folder = pathlib.Path(workdir)
    if not (folder / NETWORK_FILE).is_file():
        raise ValueError(f"{folder}: no {NETWORK_FILE}: not a run, or not begun")
    found = json.loads((folder / NETWORK_FILE).read_text())
    model = GDyNet(**found.pop("model"), dtype=_DTYPES.get(found.pop("dtype")))
    read, progress = read_weights(folder, weights)
    variables = _by_lobe(read)
    if lobe not in variables:
        raise ValueError(f"{folder}: no {lobe}, there is {', '.join(variables)}")
    types, targets = (
        np.asarray(found.pop(name)) for name in ("atom_types", "target_index")
    )
    n_nbrs = found.pop("n_nbrs")
    facts = {**found, "epochs": progress.round, "history": progress.history}
    facts |= read.facts()
    return Predictor(model, variables[lobe], types, targets, n_nbrs, facts)


def load_variables(
    workdir: str | pathlib.Path, weights: str = "best"
) -> dict[str, Any]:
    """Returns params and batch_stats of every network of a run; see `load`."""
    return _by_lobe(read_weights(workdir, weights)[0])


def _by_lobe(found: Weights) -> dict[str, Any]:
    return {
        name: {"params": params, "batch_stats": found.batch_stats[name]}
        for name, params in found.params.items()
    }


def write_prediction(
    path: str | pathlib.Path, predictions: Sequence[np.ndarray], targets: np.ndarray
) -> None:
    """Writes probabilities as .npy or Parquet, by the name of the file.

    Parquet has a row per frame and target: trajectory, frame, atom, state (the most
    probable one), p_0, p_1, ...; .npy holds [F, n, S] of all trajectories in order.
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".parquet"):
        raise ValueError(f"--output={path}: expected a .parquet or .npy file")
    with replace_file(path) as file:
        if path.suffix == ".npy":
            np.save(file, np.concatenate(predictions))
            return
        schema, writer = None, None
        for number, p in enumerate(predictions):
            table = _table(number, p, np.asarray(targets))
            if writer is None:
                schema = table.schema
                writer = pq.ParquetWriter(file, schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _table(number: int, p: np.ndarray, targets: np.ndarray) -> pa.Table:
    frames, count, states = p.shape
    flat = p.reshape(-1, states)
    columns = {
        "trajectory": np.full(len(flat), number, np.int32),
        "frame": np.repeat(np.arange(frames, dtype=np.int32), count),
        "atom": np.tile(targets.astype(np.int32), frames),
        "state": flat.argmax(axis=1).astype(np.uint8),
        **{f"p_{i}": flat[:, i] for i in range(states)},
    }
    return pa.table(columns)


def save_arrays(
    folder: str | pathlib.Path, name: str, predictions: Sequence[np.ndarray]
) -> None:
    """Writes the original's files: one array, or one per trajectory.

    Args:
      folder: made when missing.
      name: of the array, without its ending.
      predictions: [F_r, n, S] of each trajectory.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if len(predictions) == 1:
        np.save(folder / f"{name}.npy", predictions[0])
        return
    np.save(folder / f"{name}.npy", np.concatenate(predictions))
    np.save(folder / f"{name}_lengths.npy", [len(p) for p in predictions])
