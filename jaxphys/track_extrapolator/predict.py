"""A trained run: its network, and predictions for tracks of one's own."""

import dataclasses
import pathlib

import numpy as np

from jaxphys.track_extrapolator import dataset_files
from jaxphys.track_extrapolator.export import binary
from jaxphys.track_extrapolator.propagate import track_ok
from jaxphys.track_extrapolator.surrogate import STATE_NAMES, Surrogate
from jaxphys.training.checkpoint import Checkpointer

MODEL_FILE = "model.bin"  # layout v2: everything but the weights of later steps


def save_description(workdir: str | pathlib.Path, surrogate: Surrogate) -> None:
    """Writes what a run's network is (statistics, planes, field) into its workdir."""
    binary.write(pathlib.Path(workdir) / MODEL_FILE, surrogate)


def load(workdir: str | pathlib.Path, weights: str = "best") -> Surrogate:
    """Loads the network of a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best" (by the validation loss) or "last".

    Returns:
      The network with `predict(state [N, 5]) -> [N, 4]` and `jacobian`.

    Raises:
      ValueError: there is no run or no checkpoint.
    """
    if weights not in ("best", "last"):
        raise ValueError(f"weights={weights!r}: expected best or last")
    workdir = pathlib.Path(workdir)
    if not (workdir / MODEL_FILE).exists():
        raise ValueError(f"{workdir}: no {MODEL_FILE}: not a run, or not begun")
    surrogate = binary.read(workdir / MODEL_FILE)
    state, progress = Checkpointer(
        workdir / "checkpoints", read_only=True
    ).read_latest()
    extra = state["extra"]
    last = extra.get("ema_params", state["params"])
    params = extra["best_params"] if weights == "best" else last
    return with_weights(surrogate, params, step=progress.step, weights=weights)


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
      state: x, y [mm], tx, ty, q/p [1/MeV], shape [N, 5].
      z_in: entry planes in mm [N], or None where the file has none.
      z_out: exit planes in mm [N], or None.
    """

    state: np.ndarray
    z_in: np.ndarray | None = None
    z_out: np.ndarray | None = None


def read_states(path: str | pathlib.Path) -> States:
    """Reads entry states.

    Args:
      path: .npy `[N, 5]` (x, y, tx, ty, q/p) or `[N, 6]` with dz as in the original's
        X_<name>.npy; .parquet with the columns x, y, tx, ty, qop and, where planes
        differ by track, z_in and dz; .csv with the same columns in its first line;
        .npz with pairs of states.

    Raises:
      ValueError: unknown ending, missing columns, or a row that is not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix == ".npz":
        tracks = dataset_files.read_pairs(path)
        shape = (len(tracks),)
        planes = (np.broadcast_to(z, shape) for z in (tracks.z_in, tracks.z_out))
        return States(tracks.state, *planes)
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
    return States(found[:, :5])


def _from_table(path: pathlib.Path) -> States:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    read = pyarrow.parquet.read_table if path.suffix == ".parquet" else None
    try:
        table = (read or pyarrow.csv.read_csv)(path)
        names = [*STATE_NAMES, "z_in", "dz"]
        missing = [name for name in STATE_NAMES if name not in table.column_names]
        if missing:
            raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
        have = [name for name in names if name in table.column_names]
        columns = [table[name].cast(pyarrow.float64()).to_numpy() for name in have]
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from error
    data = np.stack(columns, axis=1)
    dataset_files.require_finite(path, data)
    if have != names:
        return States(data[:, :5])
    return States(data[:, :5], data[:, 5], data[:, 5] + data[:, 6])


def write_prediction(
    path: str | pathlib.Path, surrogate: Surrogate, states: States
) -> tuple[int, int]:
    """Predicts exit states and writes them to Parquet.

    Args:
      path: of the file; columns x_out, y_out [mm], tx_out, ty_out, ok, in the order of
        the input's rows.
      surrogate: the network.
      states: of `read_states`; their planes count only if the network was trained
        with planes as inputs, otherwise they must be the trained ones.

    Returns:
      (number of rows, number of rows that are flagged as not ok).
    """
    import pyarrow
    import pyarrow.parquet

    found = surrogate.predict(states.state, states.z_in, states.z_out)
    ok = track_ok(found)
    names = ("x_out", "y_out", "tx_out", "ty_out")
    columns = {name: found[:, i] for i, name in enumerate(names)}
    table = pyarrow.table({**columns, "ok": ok})
    with dataset_files.replace_file(path) as file:
        pyarrow.parquet.write_table(table, file)
    return len(found), int((~ok).sum())
