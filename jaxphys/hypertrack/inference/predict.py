"""A trained run: the tracks of events of one's own."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxphys.data.files import replace_file, write_json
from jaxphys.hypertrack.data.event_source import open_events, select_events
from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.inference.tracker import Reconstruction, Tracker
from jaxphys.hypertrack.inference.tuned import best_simple, read_tuned
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.hypertrack.model.voxels import VoxelModel, read_voxels, write_voxels
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.helix_fit import fit_helices
from jaxphys.training.best import read_weights
from jaxphys.training.loaded import Loaded

NETWORK_FILE = "network.json"
VOXEL_FILE = "voxels.npz"
NETS = {"tune-5": TrackNet, "fast": FastNet}
_DTYPES = {"bfloat16": jnp.bfloat16, "float16": jnp.float16}
_FITTED = ("pt", "eta", "phi", "d0", "z0")


@dataclasses.dataclass(frozen=True, eq=False)
class Tracks:
    """The tracks of an event.

    Attributes:
      event_id: number of the event.
      hit_id: of each hit, [N].
      position: of each hit, mm, [N, 3].
      reconstruction: track of each hit, edges, time and memory.
    """

    event_id: int
    hit_id: np.ndarray
    position: np.ndarray
    reconstruction: Reconstruction

    @property
    def labels(self) -> np.ndarray:
        """Track of each hit, 0..K-1, or -1, [N] int32."""
        return self.reconstruction.labels


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor(Loaded):
    """A trained run.

    Attributes:
      tracker: what it learned.
      metadata: of the run.
    """

    tracker: Tracker
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def predict(
        self,
        events: str | os.PathLike | Iterable[Event],
        starts: Iterable[int] = (),
        ends: Iterable[int] = (),
        seed: int | None = None,
    ) -> Iterator[Tracks]:
        """Yields the tracks of events, one event at a time.

        Args:
          events: what `open_events` takes (a compact Parquet prefix or a folder of CSV
            files; truth is not needed), or events.
          starts: first event number of each range of a data set; none: all events.
          ends: last event number of each range.
          seed: of the random seeds of the pivots, together with the event's number;
            None takes that of the run.
        """
        if seed is None:
            seed = int(self.metadata.get("seed", 0))
        if isinstance(events, (str, os.PathLike)):
            source = open_events(events)
            wanted = select_events(source.event_ids, tuple(starts), tuple(ends))
            events = (source.read(int(number)) for number in wanted)
        for event in events:
            own = seed + int(event.event_id)
            found = self.tracker.reconstruct(event.position, own)
            yield Tracks(event.event_id, event.hit_id, event.position, found)


def save_network(
    workdir: str | pathlib.Path,
    net: Any,
    transformer: SetTransformer | None,
    settings: ClusterSettings,
    algorithm: str,
    voxels: VoxelModel | None = None,
    **facts: Any,
) -> None:
    """Writes what a run's networks are, and facts about the run, into its workdir.

    Args:
      workdir: of the run.
      net: a `TrackNet` or a `FastNet`.
      transformer: None if the run never trains one.
      settings: of the clustering.
      algorithm: of the clustering; see `Tracker`.
      voxels: of the run, written beside; None leaves the file that is there.
      **facts: of the run, for JSON.
    """
    folder = pathlib.Path(workdir)
    if voxels is not None:
        write_voxels(folder / VOXEL_FILE, voxels)
    kind = next(name for name, made in NETS.items() if type(net) is made)
    content = {
        "net": {"kind": kind, **_described(net)},
        "transformer": None if transformer is None else _described(transformer),
        "settings": dataclasses.asdict(settings),
        "algorithm": algorithm,
    }
    write_json(folder / NETWORK_FILE, {**content, **facts})


def _described(module: Any) -> dict[str, Any]:
    fields = {
        f.name: getattr(module, f.name)
        for f in dataclasses.fields(module)
        if f.name not in ("parent", "name", "dtype")
    }
    names = {made: name for name, made in _DTYPES.items()}
    return {**fields, "dtype": names.get(module.dtype, "")}


def _made(kind: Any, described: dict[str, Any]) -> Any:
    dtype = _DTYPES.get(described.pop("dtype"))
    listed = {n: tuple(v) if isinstance(v, list) else v for n, v in described.items()}
    return kind(**listed, dtype=dtype)


def load(
    workdir: str | pathlib.Path,
    weights: str = "best",
    cluster: str = "",
    settings: ClusterSettings | None = None,
    **options: Any,
) -> Predictor:
    """Loads a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best" by the AUC of the validation, the last ones while there are none;
        or "last".
      cluster: algorithm; empty takes that of the run, and in its place the best simple
        one while the transformer is not trained (jaccard until a report has chosen).
      settings: of the transformer's clustering; None takes those of the run.
      **options: of a simple algorithm, in place of those that the end of the run chose.

    Raises:
      ValueError: there is no run, no checkpoint, or the transformer is asked for and
        not trained.
    """
    folder = pathlib.Path(workdir)
    for name in (NETWORK_FILE, VOXEL_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: no {name}: not a run, or not begun")
    found = json.loads((folder / NETWORK_FILE).read_text())
    described = found.pop("net")
    net = _made(NETS[described.pop("kind")], described)
    transformer = found.pop("transformer")
    if transformer is not None:
        transformer = _made(SetTransformer, transformer)
    saved = found.pop("settings")
    if "tau" in saved:  # its name in earlier versions
        saved["soft_width"] = saved.pop("tau")
    own = ClusterSettings(**saved)
    algorithm = found.pop("algorithm")
    read, progress = read_weights(folder, weights)
    if read.phase != "joint":
        transformer = None
    stored = read_tuned(folder)
    tuned = {} if stored is None else stored.tuned
    if not cluster:
        missing = algorithm == "transformer" and transformer is None
        cluster = (best_simple(tuned) or "jaccard") if missing else algorithm
    chosen, _ = tuned.get(cluster, ({}, 0.0))
    params = read.params
    tracker = Tracker(
        voxels=read_voxels(folder / VOXEL_FILE),
        net=net,
        variables={"params": params["net"], "batch_stats": read.batch_stats},
        transformer=transformer,
        transformer_params=params.get("transformer"),
        soft_threshold=float(params["thr"]["value"]),
        algorithm=cluster,
        settings=own if settings is None else settings,
        options={**chosen, **options},
    )
    facts = {**found, "step": progress.step, "phase": progress.phase}
    facts["joint_step"] = progress.extra.get("joint_step")
    facts |= read.facts()
    return Predictor(tracker, {**facts, "history": progress.history})


def load_variables(workdir: str | pathlib.Path) -> dict[str, Any]:
    """Returns the last weights of a run, as `step.initial_variables` makes them.

    Args:
      workdir: of the run.

    Returns:
      params: {net, transformer, thr}; batch_stats: running statistics of the net.

    Raises:
      ValueError: there is no checkpoint.
    """
    found, _ = read_weights(workdir, "last")
    return {"params": found.params, "batch_stats": found.batch_stats}


def track_table(tracks: Tracks) -> pa.Table:
    """Returns the tracks of an event, a row each.

    Columns: event_id, track, num_hits, hit_id (a list), and pt (GeV), eta, phi, charge,
    d0 and z0 (mm) of a helix through the hits.
    """
    labels = tracks.labels
    count = int(labels.max(initial=-1)) + 1
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    size = np.bincount(labels[order], minlength=count)
    offset = pa.array(np.concatenate([[0], np.cumsum(size)]).astype(np.int32))
    hits = pa.array(np.asarray(tracks.hit_id)[order].astype(np.int64))
    fitted = fit_helices(tracks.position, labels, count)
    values = fitted._asdict()
    return pa.table(
        {
            "event_id": np.full(count, tracks.event_id, np.int32),
            "track": np.arange(count, dtype=np.int32),
            "num_hits": size.astype(np.int16),
            "hit_id": pa.ListArray.from_arrays(offset, hits),
            "charge": fitted.charge.astype(np.int8),
            **{name: values[name].astype(np.float32) for name in _FITTED},
        }
    )


def hit_table(tracks: Tracks) -> pa.Table:
    """Returns the hits of an event, a row each: event_id, hit_id and track_id.

    The track of a hit is -1 where it belongs to none.
    """
    count = len(tracks.labels)
    return pa.table(
        {
            "event_id": np.full(count, tracks.event_id, np.int32),
            "hit_id": np.asarray(tracks.hit_id, np.int64),
            "track_id": tracks.labels.astype(np.int32),
        }
    )


def write_tracks(
    path: str | os.PathLike, found: Iterable[Tracks], per_hit: bool = False
) -> int:
    """Writes tracks to Parquet, a row group per event.

    Args:
      path: of the file, which is whole or not there.
      found: tracks of events; they are written as they come.
      per_hit: rows are hits (see `hit_table`) instead of tracks (`track_table`).

    Returns:
      Number of events.

    Raises:
      ValueError: there is no event.
    """
    path = pathlib.Path(path)
    if path.suffix != ".parquet":
        raise ValueError(f"--output={path}: expected a .parquet file")
    count, writer = 0, None
    with replace_file(path) as file:
        for tracks in found:
            table = hit_table(tracks) if per_hit else track_table(tracks)
            if writer is None:
                writer = pq.ParquetWriter(file, table.schema)
            writer.write_table(table, row_group_size=max(len(table), 1))
            count += 1
        if writer is None:
            raise ValueError("events: expected at least one, got none")
        writer.close()
    return count
