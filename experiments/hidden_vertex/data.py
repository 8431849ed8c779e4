"""From flags to a store of events, and from a store to the parts of a run."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.hidden_vertex.config import Config
from jaxphys.data.fingerprint import Fingerprint, of_parts
from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.data.splits import (
    Split,
    check_split,
    split_events,
    split_quotas,
)
from jaxphys.hidden_vertex.data.store import (
    Store,
    check_scale,
    check_store,
    feature_statistics,
    open_store,
)
from jaxphys.hidden_vertex.model.model import ORIGINAL_MEAN, ORIGINAL_STD
from jaxphys.hidden_vertex.physics.graphs import features
from jaxphys.hidden_vertex.simulation import simulation
from jaxphys.hidden_vertex.training.losses import emitted_floor
from jaxphys.hidden_vertex.training.network import Network


def reading(config: Config) -> Reading:
    """Returns how events are read from particles."""
    return Reading(config.k, config.periodic_phi, config.radius, config.jets)


def default_data() -> pathlib.Path:
    """Returns the sample that a run without --data uses."""
    return simulation.sample_path()


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """The events of a run.

    Attributes:
      store: holds them.
      parts: positions of the events of each part; None: all are unseen.
    """

    store: Store
    parts: Split | None

    @property
    def train(self) -> np.ndarray:
        """Positions of the training events; none of unseen ones."""
        return np.zeros(0, int) if self.parts is None else self.parts.train

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the particles and labels, whatever file they were read from."""
        particles = self.store.meta.get("sha256", {}).get("x", "")
        return of_parts(str(self.store.folder), self.store.fingerprint, particles)


def load(config: Config, known: Network | None = None) -> Events:
    """Returns the labelled events of a run, prepared if they are not, in parts.

    Raises:
      ValueError: bad data, or a part would be empty.
    """
    del known
    network = config.network()
    store = open_events(config, network, config.data, folder=config.prepared)
    parts = split(config, network, store)
    check_sizes(config, store, parts)
    statistics = feature_statistics(store, parts.train)
    check_scale(float(statistics["max"][0]), config.allow_unscaled)
    print_features(statistics)
    return Events(store, parts)


def load_unseen(config: Config) -> Events:
    """Returns all events of --data, which may have no labels."""
    network = config.network()
    return Events(
        open_events(config, network, config.data, allow_unlabelled=True), None
    )


def check_sizes(config: Config, store: Store, parts: Split) -> None:
    """Refuses events above --chamfer_max_nodes where all particles are compared.

    Raises:
      ValueError: names the event and the flag.
    """
    if config.loss != "chamfer" or config.model != "node":
        return
    positions = np.concatenate([parts.train, parts.val, parts.test])
    sizes = store.sizes[positions]
    worst = int(sizes.argmax())
    if sizes[worst] > config.chamfer_max_nodes:
        raise ValueError(
            f"{store.folder}: event {store.event_id[positions[worst]]} has "
            f"{sizes[worst]} particles, --chamfer_max_nodes={config.chamfer_max_nodes}"
        )


def print_features(statistics: Mapping[str, np.ndarray]) -> None:
    """Prints mean, standard deviation and mean square of the features."""
    mean = ", ".join(f"{v:.4f}" for v in statistics["mean"])
    std = ", ".join(f"{v:.4f}" for v in statistics["std"])
    print(
        f"features (log pT, eta, phi): mean {mean}; std {std}; mean square "
        f"{float(statistics['mean_square']):.3f}",
        file=sys.stderr,
    )


def prepare_store(config: Config, folder: str) -> None:
    """Converts --data to a store and says what is in it."""
    store = prepare(
        config.data,
        folder,
        reading(config).recipe(
            config.contents or (config.network().sees,), read_rows=config.read_rows
        ),
        subset_size=config.subset_size or config.scan_limit,
        workers=config.workers,
        progress=True,
        allow_unscaled=config.allow_unscaled,
    )
    seen = store.meta["statistics"]["all"]
    print_features({name: np.asarray(value) for name, value in seen.items()})
    print(
        f"{store.folder}: {len(store)} events, labels {store.label_counts}; "
        f"{store.meta['empty_events']} rows without particles left out"
    )


def open_events(
    config: Config,
    network: Network,
    path: str = "",
    *,
    folder: str | pathlib.Path = "",
    allow_unlabelled: bool = False,
) -> Store:
    """Opens a store, or makes it of a raw file first.

    Args:
      config: the flags.
      network: what has to be in the store.
      path: store or raw file; empty: the embedded sample.
      folder: where the store of a raw file goes; empty: below the workdir.
      allow_unlabelled: accept events without labels.

    Raises:
      ValueError: the data is not there, bad, or made for something else.
    """
    source = pathlib.Path(path) if path else default_data()
    if source.is_dir():
        store = open_store(source)
        check_store(store)
    else:
        rows = open_source(source, allow_unlabelled)
        # two files of one name are two stores
        name = f"{source.stem}-{rows.describe()['sha256'][:8]}"
        where = pathlib.Path(folder or f"{config.workdir}/prepared/{name}")
        if jax.process_index() == 0:
            store = prepare(
                rows,
                where,
                reading(config).recipe(
                    config.contents or (network.sees,), read_rows=config.read_rows
                ),
                subset_size=config.scan_limit,
                workers=config.workers,
                progress=True,
                allow_unscaled=config.allow_unscaled,
            )
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("prepared")
        store = open_store(where)
    check_contents(config, network, store)
    if store.label is None and not allow_unlabelled:
        raise ValueError(f"{source}: no labels: training and evaluation need them")
    return store


def check_contents(config: Config, network: Network, store: Store) -> None:
    """Refuses a store that was made for another kind of network.

    Raises:
      ValueError: names the flag and both values.
    """
    needed = {"knn": "neighbour", "radius": "edge", "jets": "jets", "event": "event"}
    if getattr(store, needed[network.sees]) is None:
        raise ValueError(
            f"{store.folder}: was prepared without what --model={network.kind} sees: "
            f"prepare it again with --contents={network.sees}"
        )
    flags = {"knn": ("k", "periodic_phi"), "radius": ("radius",), "jets": ("jets",)}
    request = store.meta["request"]
    for name in flags.get(network.sees, ()):
        made, asked = request.get(name), getattr(config, name)
        if made != asked:
            raise ValueError(
                f"{store.folder}: was prepared with --{name}={made}, the run has "
                f"--{name}={asked}"
            )


def enough_particles(
    network: Network, store: Store, positions: np.ndarray
) -> np.ndarray:
    """Returns the events that have as many particles as the network needs."""
    return positions[store.sizes[positions] >= network.least_particles]


def split(config: Config, network: Network, store: Store) -> Split:
    """Returns the events of each part; prints their numbers and what was checked.

    Raises:
      ValueError: there is signal in training, a part is empty, or a quota too large.
    """
    label, event_id = np.asarray(store.label), np.asarray(store.event_id)
    if config.train_target:
        parts = _quotas(config, label, event_id)
    else:
        parts = split_events(
            label,
            config.split_seed,
            config.train_fraction,
            config.val_fraction,
            config.subset_size,
            config.max_train_events,
            config.contamination,
            event_id,
        )
    names = ("train", "val", "test_background", "test_signal")
    kept = {
        name: enough_particles(network, store, getattr(parts, name)) for name in names
    }
    parts = dataclasses.replace(parts, **kept)
    for name, line in check_split(parts, label, event_id).items():
        print(f"{name}: {line}", file=sys.stderr)
    empty = [name for name in names[:3] if not len(kept[name])]
    if empty:
        raise ValueError(
            f"{store.folder}: {len(store)} events leave none for {', '.join(empty)} "
            "(--train_fraction, --val_fraction, --subset_size, --train_target)"
        )
    return parts


def _quotas(config: Config, label: np.ndarray, event_id: np.ndarray) -> Split:
    """Splits by the original's quotas; validation takes the background behind them."""
    parts = split_quotas(
        label,
        config.train_target,
        config.test_bg_target,
        config.test_sig_target,
        event_id,
    )
    taken = config.train_target + config.test_bg_target
    count = round(config.train_target * config.val_fraction / config.train_fraction)
    left = np.flatnonzero(label == 0)[taken : taken + count]
    if not len(left):
        raise ValueError(
            f"--train_target={config.train_target}: no background row is left behind "
            "the quotas for validation"
        )
    return dataclasses.replace(parts, val=left)


def standardise(config: Config, network: Network, store: Store, train) -> Network:
    """Returns the network with the statistics of its features where it has them."""
    if network.kind != "node":
        return network
    mean, std = ORIGINAL_MEAN, ORIGINAL_STD
    if config.feature_stats == "train":
        found = feature_statistics(store, train)
        mean, std = found["mean"], found["std"]
    return dataclasses.replace(
        network, mean=tuple(map(float, mean)), std=tuple(map(float, std))
    )


def floor(network: Network, store: Store, positions: np.ndarray) -> float | None:
    """Returns the least loss of a network that emits one vector per event, or None."""
    if not network.has_floor:
        return None
    total, count = 0.0, 0
    for start in range(0, len(positions), 4096):
        rows, offset = store.rows(positions[start : start + 4096])
        x = features(store.x[rows])
        total += emitted_floor(x, np.diff(offset)) * len(x)
        count += len(x)
    return total / count
