"""From flags to events, voxels and the graphs of each part."""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import cast

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.hypertrack.config import Config
from jaxphys.command_line import read_flagfile
from jaxphys.data.fingerprint import Fingerprint, of_files, of_parts
from jaxphys.hypertrack.batches.bucket_choice import (
    evaluation_buckets,
    training_buckets,
)
from jaxphys.hypertrack.batches.graph_batches import GraphBatches
from jaxphys.hypertrack.batches.graph_draws import DrawSettings, GraphDraws
from jaxphys.hypertrack.batches.graphs import Bucket
from jaxphys.hypertrack.data.event_source import (
    EventSource,
    describe_ids,
    open_events,
    sample_prefix,
    select_events,
)
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.inference.predict import VOXEL_FILE
from jaxphys.hypertrack.model.edge_layout import with_pairs
from jaxphys.hypertrack.model.voxel_training import (
    VoxelSettings,
    gather_tracks,
    train_voxels,
)
from jaxphys.hypertrack.model.voxels import (
    VoxelModel,
    read_voxels,
    require_match,
    write_voxels,
)
from jaxphys.hypertrack.physics.events import Event
from jaxphys.options import part_of
from jaxphys.training.app import CONFIG_FILE

SAMPLE = "the sample of the package"


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """Some events of a data set.

    Attributes:
      source: the data set.
      event_ids: [E] their numbers.
      name: of the data set.
    """

    source: EventSource
    event_ids: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.event_ids)

    def __getitem__(self, index: int) -> Event:
        return self.source.read(int(self.event_ids[index]))

    def describe(self) -> str:
        """Returns number and ids in words."""
        return f"{len(self)} events of {self.name} ({describe_ids(self.event_ids)})"


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The events of a run.

    Attributes:
      voxels: data sets that train the voxels.
      train: that train the net.
      val: that validate and are reported.
    """

    voxels: tuple[Chosen, ...]
    train: Chosen
    val: Chosen


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The data of a run.

    Attributes:
      parts: its events.
      voxels: that make candidate edges; None where nothing is trained.
      fingerprint: of the files.
      unseen: the validation events are data that the run has never seen.
    """

    parts: Parts
    voxels: VoxelModel | None
    fingerprint: Fingerprint
    unseen: bool = False


def load(config: Config, known: object = None) -> Data:
    """Returns the events of a run, and its voxels, trained first if there are none."""
    del known
    parts = choose(config)
    return Data(parts, voxels_of(config, parts), fingerprint(config))


def load_unseen(config: Config) -> Data:
    """Returns the events of a run with those of --data or --val_data to evaluate.

    All of them, unless ranges are given with them. Their fingerprint is that of the
    run if some of them trained it.
    """
    own = cast(Config, read_flagfile(Config, f"{config.workdir}/{CONFIG_FILE}"))
    if config.data and config.val_data:
        raise ValueError("--data and --val_data are given both: which is evaluated?")
    place = config.data or config.val_data
    chosen = _select(place, config.event_val_start, config.event_val_end)
    print(f"evaluated: {chosen.describe()}", file=sys.stderr)
    parts = dataclasses.replace(choose(own), val=chosen)
    source, trained = fingerprint(own), (parts.train, *parts.voxels)
    if not any(_shared(place, chosen, other) for other in trained):
        ids = describe_ids(parts.val.event_ids)
        source = of_parts(
            f"{place} ({ids})", of_files([place or sample_prefix()]).digest
        )
    return Data(parts, None, source, unseen=True)


def _shared(place: str, events: Chosen, other: Chosen) -> bool:
    """Returns whether events of a place are among others, wherever these lie."""
    if not len(np.intersect1d(events.event_ids, other.event_ids)):
        return False
    own = "" if other.name == SAMPLE else other.name
    return of_files([place or sample_prefix()]).same(of_files([own or sample_prefix()]))


def fingerprint(config: Config) -> Fingerprint:
    """Returns that of all files that the flags name."""
    named = (config.data, config.val_data, *config.voxel_data, config.voxdyn)
    places = [place for place in named if place]
    return of_files(places or [sample_prefix()])


def _select(path: str, starts: Sequence[int], ends: Sequence[int]) -> Chosen:
    source = open_events(path, need_truth=True)
    ids = select_events(source.event_ids, tuple(starts), tuple(ends))
    return Chosen(source, np.asarray(ids), path or SAMPLE)


def choose(config: Config) -> Parts:
    """Opens the data sets and chooses the events of each part; prints them.

    Raises:
      ValueError: no events in a part, or truth is missing.
    """
    whole = _select(config.data, (), ())
    order = np.sort(whole.event_ids)
    own_voxels = not (config.voxdyn or config.voxel_data or config.voxel_event_start)
    if config.split_seed:
        order = np.random.default_rng(config.split_seed).permutation(order)
    shares = np.array(config.fractions)
    if not own_voxels:
        shares = np.array([0.0, shares[0] + shares[1], shares[2]])
    edges = np.round(np.cumsum(shares) * len(order)).astype(int)
    blocks = np.split(order, edges)[:3]
    parts = [dataclasses.replace(whole, event_ids=block) for block in blocks]
    if config.event_start:
        parts[1] = _select(config.data, config.event_start, config.event_end)
    if config.event_val_start or config.val_data:
        parts[2] = _select(
            config.val_data or config.data, config.event_val_start, config.event_val_end
        )
    voxels: tuple[Chosen, ...] = (parts[0],) if own_voxels else ()
    if config.voxel_event_start or config.voxel_data:
        ranges = (config.voxel_event_start, config.voxel_event_end)
        names = config.voxel_data or (config.data,)
        voxels = tuple(_select(name, *ranges) for name in names)
    found = Parts(voxels, parts[1], parts[2])
    for name, chosen in (("training", found.train), ("validation", found.val)):
        if not len(chosen):
            raise ValueError(
                f"{whole.name}: {len(whole)} events leave none for {name} "
                "(--train_fraction, --event_start, --event_val_start)"
            )
        print(f"{name}: {chosen.describe()}", file=sys.stderr)
    _warn_of_overlap(found)
    return found


def _warn_of_overlap(parts: Parts) -> None:
    for name in ("train", "val"):
        chosen = getattr(parts, name)
        for other in parts.voxels:
            same = other.name == chosen.name
            shared = np.intersect1d(other.event_ids, chosen.event_ids)
            if same and len(shared):
                print(
                    f"warning: {len(shared)} events of {name} train the voxels too: "
                    "their graphs hold every true edge, those of other events do not",
                    file=sys.stderr,
                )


def make_voxels(
    config: Config, sources: Sequence[Chosen], ncell: int, path: str | pathlib.Path
) -> VoxelModel:
    """Trains voxels and writes them.

    Raises:
      ValueError: there are no events to train them.
    """
    if not sum(len(chosen) for chosen in sources):
        raise ValueError(
            "voxels: no events to train them (--voxel_fraction, --voxel_data, "
            "--voxel_event_start, or --voxdyn for a trained file)"
        )
    begin = time.monotonic()
    tracks = gather_tracks(chosen[i] for chosen in sources for i in range(len(chosen)))
    model = train_voxels(
        tracks,
        ncell,
        seed=config.draw_seed,
        **dataclasses.asdict(part_of(config, VoxelSettings)),
    )
    write_voxels(path, model)
    words = "; ".join(chosen.describe() for chosen in sources)
    print(
        f"voxels: {model.num_cells} cells of {model.num_hits} hits, density "
        f"{model.density:.5f}, {time.monotonic() - begin:.0f} s ({words})",
        file=sys.stderr,
    )
    return model


def voxels_of(config: Config, parts: Parts) -> VoxelModel:
    """Returns the voxels of a run: a given file, those in the workdir, or new ones.

    Raises:
      ValueError: the file belongs to another --node2node or --ncell.
    """
    own = pathlib.Path(config.workdir) / VOXEL_FILE
    path = pathlib.Path(config.voxdyn) if config.voxdyn else own
    if not config.voxdyn and not own.is_file():
        if jax.process_index() == 0:
            make_voxels(config, parts.voxels, config.ncell[0], own)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("voxels")
    model = read_voxels(path)
    require_match(
        model,
        config.node2node,
        config.ncell[0],
        config.allow_voxels_mismatch,
        where=str(path),
    )
    return model


def _draws(config: Config, events: Chosen, model: VoxelModel, train: bool):
    bounds = (config.rfactor_start, config.rfactor_end)
    if not train:
        bounds = (config.eval_rfactor, config.eval_rfactor)
    settings = DrawSettings(
        *bounds,
        noise_ratio=config.noise_ratio,
        reduce=config.reduce,
        period=config.period if train else 1.0,
        seed=config.draw_seed,
    )
    mode = "" if config.allow_voxels_mismatch else config.node2node
    return GraphDraws(events, model, settings, mode, config.cricket_compat)


def train_batches(config: Config, events: Chosen, model: VoxelModel) -> GraphBatches:
    """Returns the training graphs."""
    draws = _draws(config, events, model, train=True)
    given = zip(
        config.node_buckets, config.edge_buckets, config.track_buckets, strict=True
    )
    buckets = tuple(Bucket(*sizes) for sizes in given)
    return GraphBatches(
        draws,
        config.batch_size,
        buckets or training_buckets(draws, config.buckets, config.iterations),
        iterations=config.round_iterations,
        layout=with_pairs,
        workers=config.read_threads,
    )


def val_batches(config: Config, events: Chosen, model: VoxelModel) -> GraphBatches:
    """Returns the graphs of an evaluation: as many of every event."""
    count = min(len(events), config.val_graphs)
    some = dataclasses.replace(events, event_ids=events.event_ids[:count])
    draws = _draws(config, some, model, train=False)
    return GraphBatches(
        draws,
        config.batch_size,
        evaluation_buckets(draws, min(config.buckets, 2)),
        iterations=0,
        repeats=max(1, config.val_graphs // count),
        layout=with_pairs,
        workers=config.read_threads,
    )


def reported_events(config: Config, events: Chosen) -> list[Event]:
    """Returns the validation events as the report reconstructs them, reduced."""
    return list(_reduced_events(config, events, config.report_events, 99))


def tuning_events(
    config: Config, events: Chosen, least: int, tracks: int
) -> list[Event]:
    """Returns training events, reduced in the same way.

    Args:
      config: the flags.
      events: of the training.
      least: number of events, as far as there are so many.
      tracks: more events are taken until they have so many tracks.
    """
    found: list[Event] = []
    for event in _reduced_events(config, events, len(events), 98):
        if len(found) >= least and sum(e.num_tracks for e in found) >= tracks:
            break
        found.append(event)
    return found


def further_events(config: Config, path: str) -> list[Event]:
    """Returns the first events of another data set, whole.

    Raises:
      ValueError: there are no events, or they have no truth.
    """
    source = open_events(path, need_truth=True)
    count = min(len(source), config.report_events)
    return [source.read(int(number)) for number in source.event_ids[:count]]


def _reduced_events(
    config: Config, events: Chosen, most: int, purpose: int
) -> Iterator[Event]:
    for number in range(min(len(events), most)):
        event = events[number]
        if config.eval_rfactor < 1 or config.noise_ratio >= 0:
            rng = np.random.default_rng([config.draw_seed, purpose, number])
            draw = (config.eval_rfactor, config.noise_ratio, rng, config.reduce)
            event = reduce(event, *draw)
        yield event
