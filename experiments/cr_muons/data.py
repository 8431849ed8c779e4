"""From flags to files of events, and from files to the batches of a run."""

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
import sys
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import tqdm
from jax.experimental import multihost_utils

from experiments.cr_muons.config import Config
from jaxphys.cr_muons.batches.batches import MuonBatches
from jaxphys.cr_muons.data.event_files import find_files, read_events
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.index import DataIndex, scan
from jaxphys.cr_muons.data.outliers import write_bad_rows
from jaxphys.cr_muons.data.remote import RemoteCache, pelican_options
from jaxphys.cr_muons.data.schema import row_showers
from jaxphys.cr_muons.data.writers import ROWS_PER_GROUP, EventWriter
from jaxphys.cr_muons.physics.conditions import (
    DEFAULT,
    PUBLISHED_LIKE,
    SimulationSettings,
)
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.physics.normalise import MOST_MUONS, FeatureNorm, fit_feature_norm
from jaxphys.cr_muons.simulation import simulate_chunks
from jaxphys.data.files import write_json
from jaxphys.data.fingerprint import Fingerprint, of_files, of_parts
from jaxphys.training.mesh import make_mesh

SPECTRA = {"default": DEFAULT, "published_like": PUBLISHED_LIKE}
ABOUT = "simulation.json"
_FILE_EVENTS = 500_000  # of a simulated file
_ORDER_SEED = 42  # of the order of events, plus --seed
_REPORT_SEED = 99  # plus --data_seed: of what is simulated to compare with


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """What a run is trained on and chosen by.

    Attributes:
      train: batches of the adversarial training.
      numbers: of the multiplicity network where it is trained before.
      val: that choose the best weights.
      norm: of the muons' features.
      fingerprint: of the files.
    """

    train: MuonBatches
    numbers: MuonBatches
    val: MuonBatches
    norm: FeatureNorm
    fingerprint: Fingerprint


class Unseen(NamedTuple):
    """Events that a run was not trained on.

    Attributes:
      events: all of --data.
      fingerprint: of the files.
    """

    events: Events
    fingerprint: Fingerprint


def fingerprint(index: DataIndex) -> Fingerprint:
    """Returns that of the files; of remote ones, of what their index says."""
    paths = [str(file.file.path) for file in index.files]
    if any("://" in path for path in paths):
        return of_parts(",".join(paths), index.fingerprint)
    return of_files(paths)


def report_seed(config: Config) -> int:
    """Returns the seed of what is drawn for a report."""
    return _REPORT_SEED + config.data_seed


def population(config: Config) -> SimulationSettings:
    """Returns the simulated population that the flags name."""
    return dataclasses.replace(SPECTRA[config.spectrum], num_depths=config.n_depths)


def cache(config: Config) -> RemoteCache:
    """Returns what opens addresses."""
    return RemoteCache(
        prefetch_dir=config.prefetch_dir,
        delete_after_use=config.prefetch_delete_after_use,
        max_files=config.prefetch_max_files,
        ahead=config.prefetch_ahead,
        memory_cache_mb=config.memory_cache_mb,
        options=pelican_options(config.federation_url, config.token),
    )


def simulate(config: Config, folder: str | pathlib.Path) -> pathlib.Path:
    """Writes simulated events as Parquet files unless the folder holds just these.

    Raises:
      ValueError: the folder holds something else.
    """
    folder = pathlib.Path(folder)
    names = ("n_showers", "n_depths", "spectrum", "data_seed")
    wanted = {name: getattr(config, name) for name in names}
    about = folder / ABOUT
    if about.is_file():
        # earlier versions had a second seed, 0 unless it was given
        if json.loads(about.read_text()) in (wanted, {**wanted, "shower_seed": 0}):
            return folder
        raise ValueError(f"{folder}: holds other simulated events ({about})")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty, and no simulation of ours")
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    total = config.n_showers * config.n_depths
    chunks = simulate_chunks(population(config), config.n_showers, config.data_seed)
    with tqdm.tqdm(total=total, unit="event", disable=config.plain_log) as bar:
        number, writer = 0, None
        for events in chunks:
            if writer is None:
                writer = EventWriter(draft / f"events-{number:04d}.parquet")
            writer.write(events)
            bar.update(len(events))
            if writer.num_events >= _FILE_EVENTS:
                writer.close()
                number, writer = number + 1, None
        if writer is not None:
            writer.close()
    write_json(draft / ABOUT, wanted)
    if folder.exists():
        folder.rmdir()
    draft.rename(folder)
    return folder


def places(config: Config) -> tuple[str, ...]:
    """Returns files of the run's events; simulates them if the flags name none."""
    if config.sources:
        return config.sources
    folder = pathlib.Path(config.workdir) / "simulated"
    if jax.process_index() == 0:
        simulate(config, folder)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("simulated")
    return (str(folder),)


def with_parts(config: Config) -> Config:
    """Returns the flags with --parts resolved: one part per device and pass."""
    devices = make_mesh(config.mesh).size
    parts = config.parts or devices * config.grad_accum_steps
    if parts % (devices * config.grad_accum_steps):
        raise ValueError(
            f"--parts={parts}: expected a multiple of {devices} devices times "
            f"--grad_accum_steps={config.grad_accum_steps}"
        )
    return cast(Config, config.replace(parts=parts))


def checked(config: Config, opened: RemoteCache, index_dir: str = "") -> DataIndex:
    """Reads and checks every row of the run's events, see `scan`."""
    bad_rows = "set_aside" if config.skip_bad_rows else "raise"
    return scan(find_files(places(config), opened), opened, index_dir, bad_rows)


def convert(config: Config, index: DataIndex, aside: str | os.PathLike) -> int:
    """Writes checked events to the Parquet file --output; returns their number.

    Args:
      config: the flags.
      index: the events.
      aside: file for the rows with impossible numbers, if there are some.

    Raises:
      ValueError: some files name their showers and some do not, or a file to write is
        one of those that are read.
    """
    named = {
        file.has_showers: file.file.path for file in index.files if file.file.num_rows
    }
    if len(named) > 1:
        raise ValueError(
            f"{named[False]}: names no showers, but {named[True]} does: convert them "
            "one by one"
        )
    inputs = {os.path.realpath(file.file.path) for file in index.files}
    for path in (config.output, aside):
        if os.path.realpath(path) in inputs:
            raise ValueError(f"--output={config.output}: {path} is among --data")
    write_bad_rows(index, aside)
    with (
        EventWriter(config.output) as writer,
        tqdm.tqdm(total=index.num_rows, unit="event", disable=config.plain_log) as bar,
    ):
        for file in index.files:
            good = file.good_rows(np.ones(file.file.num_rows, bool))
            for start, stop in itertools.pairwise(_steps(file.file.group_start)):
                block = file.file.read(start, stop).select(good[start:stop])
                if not file.has_showers:  # this is said by the numbers of the rows
                    rows = row_showers(writer.num_events, len(block))
                    block = dataclasses.replace(block, showers=rows)
                writer.write(block)
                bar.update(stop - start)
        return writer.num_events


def _steps(edges: np.ndarray) -> list[int]:
    """Returns edges of blocks of whole groups, so that each is decoded once."""
    steps = [0]
    for edge in edges[1:].tolist():
        if edge - steps[-1] >= ROWS_PER_GROUP:
            steps.append(edge)
    last = int(edges[-1])
    return steps if steps[-1] == last else [*steps, last]


def load(config: Config, norm: FeatureNorm | None = None) -> Data:
    """Opens and checks the events of a run and splits them by shower.

    Args:
      config: the flags.
      norm: of the features, of a run that goes on; None takes it from the data.

    Raises:
      ValueError: bad data, naming file and row, or a part without events.
    """
    index = checked(config, cache(config), f"{config.workdir}/index")
    split = {"val_fraction": config.val_fraction, "split_seed": config.split_seed}
    shared: dict[str, Any] = {
        "index": index,
        "batch_size": config.batch_size,
        "prefetch": config.prefetch_batches,
        "workers": config.read_threads,
        **(split if config.val_fraction else {}),
    }
    limits: dict[str, Any] = {
        "max_muons_per_event": config.max_muons_per_event,
        "max_muons_per_batch": config.max_muons_per_batch,
    }
    own: dict[str, Any] = {
        "subset": "train" if config.val_fraction else "all",
        "parts": config.parts,
        "muon_budget": config.muon_budget or config.max_muons_per_batch,
        "shuffle": config.shuffle,
        "shuffle_seed": _ORDER_SEED + config.seed,
        "shuffle_window": config.shuffle_window,
        "multi_file_shuffle": config.multi_file_shuffle,
    }
    train = MuonBatches(
        **shared,
        **own,
        filters=Filters(
            drop_empty=config.drop_empty_events,
            thin_above=config.thin_above,
            **limits,
        ),
    )
    numbers = train
    if config.multiplicity_epochs:
        numbers = MuonBatches(**shared, **own, filters=Filters(**limits))
    val = MuonBatches(
        **shared,
        subset="validation" if config.val_fraction else "all",
        parts=config.parts // config.grad_accum_steps,
        filters=Filters(**limits),
        most_events=config.val_events,
    )
    for name, found in (("training", train), ("validation", val)):
        words = ", ".join(f"{key} {value:,}" for key, value in found.counts().items())
        print(f"{name}: {words}; places {found.buckets}", file=sys.stderr)
    if jax.process_index() == 0:
        _set_aside(config, train)
    if norm is None:
        norm = fit_feature_norm(train.events(MOST_MUONS).muons, config.feature_norm)
    return Data(train, numbers, val, norm, fingerprint(index))


def load_unseen(config: Config) -> Unseen:
    """Returns all events of --data."""
    index = checked(config, cache(config))
    return Unseen(events_of(config, config.sources), fingerprint(index))


def _set_aside(config: Config, train: MuonBatches) -> None:
    """Writes the events that are not trained on because of their contents."""
    if config.outliers_dir:
        written = train.write_outliers(config.outliers_dir)
        print(f"{written} events set aside in {config.outliers_dir}", file=sys.stderr)
    if config.skip_bad_rows:
        path = f"{config.workdir}/bad_rows.parquet"
        written = write_bad_rows(train.index, path)
        where = f", written to {path}" if written else ""
        print(f"{written} rows with impossible numbers{where}", file=sys.stderr)


def events_of(config: Config, places: str | tuple[str, ...]) -> Events:
    """Reads all events of files into memory."""
    return read_events(places, cache(config))
