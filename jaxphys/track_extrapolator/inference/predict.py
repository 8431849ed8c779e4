"""A trained run: its network, and predictions for tracks of one's own."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.track_extrapolator.data import dataset_files
from jaxphys.track_extrapolator.inference.export import binary
from jaxphys.track_extrapolator.model.surrogate import STATE_NAMES, Surrogate
from jaxphys.track_extrapolator.physics.propagate import track_ok
from jaxphys.track_extrapolator.training import step
from jaxphys.training.best import read_weights

MODEL_FILE = "model.bin"  # layout v2: everything but the weights of later steps


def save_description(workdir: str | pathlib.Path, surrogate: Surrogate) -> None:
    """Writes what a run's network is (statistics, planes, field) into its workdir."""
    binary.write(pathlib.Path(workdir) / MODEL_FILE, surrogate)


def read_description(workdir: str | pathlib.Path) -> Surrogate:
    """Reads what `save_description` wrote.

    Raises:
      ValueError: there is no run.
    """
    path = pathlib.Path(workdir) / MODEL_FILE
    if not path.exists():
        raise ValueError(f"{workdir}: no {MODEL_FILE}: not a run, or not begun")
    return binary.read(path)


def load(workdir: str | pathlib.Path, weights: str = "best") -> Surrogate:
    """Loads the network of a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best" by the validation loss, the last ones while there are none; or
        "last". Averaged ones where the run averages.

    Returns:
      The network with `predict(state [N, 5]) -> [N, 4]` and `jacobian`; it says in
      `weights` which it has and in its metadata of which step.

    Raises:
      ValueError: there is no run or no checkpoint.
    """
    workdir = pathlib.Path(workdir)
    surrogate = read_description(workdir)
    found, progress = read_weights(workdir, weights, step.evaluated)
    facts = {"step": progress.step, **found.facts()}
    return with_weights(surrogate, found.params, **facts)


def with_weights(surrogate: Surrogate, params, **facts) -> Surrogate:
    """Returns the network with other weights; `facts` go to its metadata."""
    dense = params["network"]
    order = [dense[f"dense_{i}"] for i in range(len(dense))]
    layers = tuple((np.asarray(d["kernel"]), np.asarray(d["bias"])) for d in order)
    metadata = {**surrogate.metadata, **facts}
    return dataclasses.replace(surrogate, layers=layers, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class States:
    """Entry states of a user's file.

    Attributes:
      path: of the file.
      state: x, y [mm], tx, ty, q/p [1/MeV], shape [N, 5].
      z_in: entry planes in mm [N], or None where the file has none.
      dz: distances to the exit planes in mm [N], or None.
      table: the file's own columns where it is a table, else None.
    """

    path: pathlib.Path
    state: np.ndarray
    z_in: np.ndarray | None = None
    dz: np.ndarray | None = None
    table: Any = None


def read_states(path: str | pathlib.Path) -> States:
    """Reads entry states.

    Args:
      path: .npy `[N, 5]` (x, y, tx, ty, q/p) or `[N, 6]` with dz as in the original's
        X_<name>.npy; .parquet or .csv with the columns x, y, tx, ty, qop and, if
        there, z_in and dz; .npz with pairs of states.

    Raises:
      ValueError: unknown ending, missing columns, or a row that is not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix == ".npz":
        tracks = dataset_files.read_pairs(path)
        shape = (len(tracks),)
        z_in, z_out = (np.broadcast_to(z, shape) for z in (tracks.z_in, tracks.z_out))
        return States(path, tracks.state, z_in, z_out - z_in)
    if path.suffix == ".npy":
        return _from_array(path)
    if path.suffix in (".parquet", ".csv"):
        return _from_table(path)
    raise ValueError(f"{path}: expected .npy, .parquet, .csv or .npz")


def _from_array(path: pathlib.Path) -> States:
    found = dataset_files.load_npy(path)
    if found.ndim != 2 or found.shape[1] not in (5, 6):
        raise ValueError(f"{path}: expected [N, 5] or [N, 6], got {found.shape}")
    found = found.astype(np.float64)
    dataset_files.require_finite(path, found)
    return States(path, found[:, :5], dz=found[:, 5] if found.shape[1] == 6 else None)


def _from_table(path: pathlib.Path) -> States:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    parquet = path.suffix == ".parquet"
    try:
        read = pyarrow.parquet.read_table if parquet else pyarrow.csv.read_csv
        table = read(path)
        missing = [name for name in STATE_NAMES if name not in table.column_names]
        if missing:
            raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
        planes = [name for name in ("z_in", "dz") if name in table.column_names]
        data = {
            name: table[name].cast(pyarrow.float64()).to_numpy()
            for name in (*STATE_NAMES, *planes)
        }
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from error
    dataset_files.require_finite(path, np.stack(list(data.values()), axis=1))
    state = np.stack([data[name] for name in STATE_NAMES], axis=1)
    return States(path, state, data.get("z_in"), data.get("dz"), table)


def planes_of(surrogate: Surrogate, states: States) -> tuple[Any, Any]:
    """Returns the planes (z_in, z_out) to predict between, numbers or [N].

    Raises:
      ValueError: a row's planes are not the trained ones, or the network needs planes
        that the file does not have.
    """
    trained = {"z_in": surrogate.z_in, "dz": surrogate.z_out - surrogate.z_in}
    given = {"z_in": states.z_in, "dz": states.dz}
    if surrogate.dz_mode == "uniform":
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise ValueError(
                f"{states.path}: the network was trained with planes as inputs: "
                f"columns missing: {', '.join(missing)}"
            )
        return states.z_in, np.asarray(states.z_in) + np.asarray(states.dz)
    for name, value in given.items():
        rows = np.flatnonzero(value != trained[name]) if value is not None else []
        if value is not None and len(rows):
            raise ValueError(
                f"{states.path}: row {rows[0]}: {name} is {value[rows[0]]} mm, the "
                f"network was trained at {trained[name]} mm ({len(rows)} such rows)"
            )
    return None, None


def training_range(state: np.ndarray) -> dict[str, list[float]]:
    """Returns [smallest, largest] of x, y, tx, ty and |q/p| of training states."""
    columns = state.T.copy()
    columns[4] = np.abs(columns[4])
    return {
        name: [float(column.min()), float(column.max())]
        for name, column in zip(STATE_NAMES, columns, strict=True)
    }


def in_training_range(surrogate: Surrogate, state: np.ndarray) -> np.ndarray:
    """Returns [N] booleans: whether the training held tracks like this one.

    A network knows nothing outside: its error there is not the reported one. True
    everywhere where the range is unknown (files of other programs).
    """
    ranges = surrogate.metadata.get("training_range", {})
    inside = np.ones(len(state), bool)
    for column, name in enumerate(STATE_NAMES):
        if name not in ranges:
            continue
        value = np.abs(state[:, 4]) if name == "qop" else state[:, column]
        low, high = ranges[name]
        slack = 1e-3 * (high - low)  # the drawn sample does not touch its limits
        inside &= (value >= low - slack) & (value <= high + slack)
    return inside


def write_prediction(
    path: str | pathlib.Path, surrogate: Surrogate, states: States
) -> dict[str, int]:
    """Predicts exit states and writes them to Parquet or CSV.

    The file has x_out, y_out [mm], tx_out, ty_out, ok (finite and inside the detector)
    and in_range (see `in_training_range`), in the order of the input's rows, behind
    the input's own columns where that is a table.

    Args:
      path: of the file, ending in .parquet or .csv.
      surrogate: the network.
      states: of `read_states`.

    Returns:
      Numbers of rows: "tracks", "not_ok", "out_of_range".

    Raises:
      ValueError: another ending, or planes that do not fit the network.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    path = pathlib.Path(path)
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{path}: expected a name that ends in .parquet or .csv")
    found = surrogate.predict(states.state, *planes_of(surrogate, states))
    columns: dict[str, np.ndarray] = dict(
        zip(("x_out", "y_out", "tx_out", "ty_out"), found.T, strict=True)
    )
    columns["ok"] = track_ok(found)
    columns["in_range"] = in_training_range(surrogate, states.state)
    kept = {}
    if states.table is not None:
        names = [n for n in states.table.column_names if n not in columns]
        kept = {name: states.table[name] for name in names}
    table = pyarrow.table({**kept, **columns})
    with replace_file(path) as file:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, file)
        else:
            pyarrow.parquet.write_table(table, file)
    return {
        "tracks": len(found),
        "not_ok": int((~columns["ok"]).sum()),
        "out_of_range": int((~columns["in_range"]).sum()),
    }
