"""From flags to tracks, and from tracks to what the network is fed."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from experiments.track_extrapolator.config import Config
from jaxphys.data.fingerprint import UNKNOWN, Fingerprint, of_files
from jaxphys.track_extrapolator import simulation
from jaxphys.track_extrapolator.data import dataset_files
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.data.field_files import make_field
from jaxphys.track_extrapolator.model import parametrisation
from jaxphys.track_extrapolator.model.model import STATS, statistics
from jaxphys.track_extrapolator.model.surrogate import STATE_NAMES, features
from jaxphys.track_extrapolator.physics.field import Field, GridField
from jaxphys.track_extrapolator.physics.propagate import propagate

_PAIRS_SEED = 20  # of the permutation, plus --split_seed


@dataclasses.dataclass(frozen=True)
class Splits:
    """The three parts of a data set.

    Attributes:
      train: tracks that the weights and the statistics are made from.
      val: tracks that choose learning rates and the best weights.
      test: tracks for the report.
      failed: tracks of train and val that were left out because the truth failed.
      fingerprint: of where they come from.
    """

    train: TrackSet
    val: TrackSet
    test: TrackSet
    failed: int
    fingerprint: Fingerprint = UNKNOWN


def truth_field(config: Config) -> Field | None:
    """Returns the field that makes the truth; None where the truth is given."""
    if config.train_pairs:
        return None
    return make_field(config.field, config.field_file, config.polarity)


def approximate_field(config: Config) -> Field | None:
    """Returns the field that the parametrisation uses; None where it uses none."""
    if config.parametrisation not in parametrisation.NEEDS_FIELD:
        return None
    if not config.approximate_field:
        return truth_field(config)
    return make_field(
        config.approximate_field, config.approximate_field_file, config.polarity
    )


def sampling(config: Config) -> simulation.Sampling:
    """Returns the ranges in which tracks are drawn."""
    names = ("x_max", "y_max", "tx_max", "ty_max", "p_min", "p_max")
    names += ("z_in", "z_out", "dz_mode")
    names += ("z_in_min", "z_in_max", "dz_min", "dz_max")
    return simulation.Sampling(**{name: getattr(config, name) for name in names})


def simulate(config: Config, folder: pathlib.Path) -> None:
    """Writes the simulated data set, or what is missing of it, into a folder.

    Parquet shards in float64; a data set in one shard is also written as the
    original's X_, Y_ and P_<name>.npy.
    """
    if jax.process_index() == 0:
        field = make_field(config.field, config.field_file, config.polarity)
        _check_coverage(config, field)
        paths = simulation.generate_shards(
            folder,
            config.dataset,
            field,
            config.samples,
            shards=max(config.shards, 1),
            shard=None if config.shard < 0 else config.shard,
            seed=config.data_seed,
            sampling=sampling(config),
            step=config.step_mm,
            dtype=config.dtype,
            method=config.integrator,
            progress=True,
        )
        if config.shards <= 1:
            tracks = dataset_files.read_dataset(folder, config.dataset)
            dataset_files.write_legacy(folder, config.dataset, tracks)
        print(f"{config.samples} tracks in {paths[0].parent}", file=sys.stderr)
        if config.shard < 0:
            _warn_of_leaving(field, dataset_files.read_dataset(folder, config.dataset))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("simulated")


def _check_coverage(config: Config, field: Field) -> None:
    """Refuses planes beyond a map: there its edge value would go on."""
    if not isinstance(field, GridField):
        return
    low = float(field.minimum[2])
    high = low + float(field.spacing[2]) * (field.values.shape[0] - 1)
    planes = (config.z_in, config.z_out)
    if config.dz_mode == "uniform":
        far = (config.z_in_min + config.dz_min, config.z_in_max + config.dz_max)
        planes = (config.z_in_min, config.z_in_max, *far)
    if min(planes) < low or max(planes) > high:
        raise ValueError(
            f"--field_file={config.field_file}: the map reaches from z = {low:g} to "
            f"{high:g} mm, the tracks from {min(planes):g} to {max(planes):g} mm "
            "(--z_in, --z_out; are the coordinates in mm?)"
        )


def _warn_of_leaving(field: Field, tracks: TrackSet) -> None:
    """Says how many tracks begin or end beside a map, where its edge value goes on."""
    if not isinstance(field, GridField):
        return
    outside = np.zeros(len(tracks), bool)
    for xy, z in ((tracks.state, tracks.z_in), (tracks.target, tracks.z_out)):
        plane = np.broadcast_to(np.asarray(z, np.float64), len(tracks))
        outside |= ~field.contains(np.column_stack([xy[:, :2], plane]))
    if outside.any():
        print(
            f"warning: {outside.sum()} of {len(tracks)} tracks begin or end beside the "
            "field map; its value at the edge was used there",
            file=sys.stderr,
        )


def load(config: Config, known: object = None) -> Splits:
    """Returns the tracks of a run in three parts; none named: simulates them first."""
    del known
    if config.train_pairs:
        tracks = dataset_files.read_pairs(config.train_pairs)
        return _known(config, tracks, config.train_pairs)
    if config.data:
        return _known(config, read(config), config.data)
    folder = pathlib.Path(config.workdir) / "data"
    simulate(config, folder)
    tracks = dataset_files.read_dataset(folder, config.dataset)
    return _known(config, tracks, folder)


def _known(config: Config, tracks: TrackSet, place: str | pathlib.Path) -> Splits:
    return dataclasses.replace(split(config, tracks), fingerprint=of_files([place]))


def load_unseen(config: Config) -> Splits:
    """Returns all tracks of --data to test on."""
    tracks = read(config)
    none = tracks.rows(np.zeros(0, int))
    return Splits(none, none, tracks, 0, of_files([config.data]))


def read(config: Config) -> TrackSet:
    """Returns all tracks of --data.

    Raises:
      ValueError: there is no such file, or it is none of tracks.
    """
    path = pathlib.Path(config.data)
    if path.suffix == ".npz":
        return dataset_files.read_pairs(path)
    if path.suffix == ".parquet":
        return dataset_files.read_table(path)
    if not path.is_dir():
        raise ValueError(
            f"--data={path}: expected a folder with the data set --dataset="
            f"{config.dataset}, or a .parquet or .npz file with tracks and their truth"
        )
    return dataset_files.read_dataset(path, config.dataset)


def split(config: Config, tracks: TrackSet) -> Splits:
    """Splits tracks by --train_fraction and --val_fraction.

    A data set in order unless --split_seed is given, pairs always by a permutation.

    Raises:
      ValueError: a part would be empty.
    """
    count = len(tracks.state)
    rows = np.arange(count)
    if config.train_pairs or config.split_seed:
        rows = np.random.default_rng(_PAIRS_SEED + config.split_seed).permutation(rows)
    ends = [int(share * count) for share in np.round(np.cumsum(config.fractions), 12)]
    parts = [rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] :]]
    if min(len(part) for part in parts) == 0:
        raise ValueError(
            f"{count} tracks are too few to split into train, val and test"
        )
    good = [part[tracks.ok[part]] for part in parts[:2]]
    failed = sum(len(p) for p in parts[:2]) - sum(len(p) for p in good)
    if failed:
        print(
            f"{failed} tracks of the training and validation parts are left out: "
            "the truth left the detector or is not finite",
            file=sys.stderr,
        )
    if min(len(part) for part in good) == 0:
        raise ValueError(f"all {len(good[0])} training tracks failed")
    train, val, test = (tracks.rows(part) for part in (*good, parts[2]))
    return Splits(train, val, test, failed)


def input_names(config: Config) -> tuple[str, ...]:
    """Returns the columns that the network is fed."""
    if config.dz_mode == "uniform":
        return (*STATE_NAMES, "z_in", "dz")
    return (*STATE_NAMES, "dz") if config.use_dz else STATE_NAMES


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Turns tracks into arrays for the network; statistics are in float64.

    Attributes:
      config: the flags.
      field: of the parametrisation.
      stats: input_mean, input_std, output_mean, output_std of the training tracks.
    """

    config: Config
    field: Field | None
    stats: Mapping[str, np.ndarray]

    @classmethod
    def fit(
        cls,
        config: Config,
        train: TrackSet,
        stats: Mapping[str, np.ndarray] | None = None,
    ) -> "Preparation":
        """Takes given statistics, or computes those of the training tracks."""
        field = approximate_field(config)
        if stats is not None:
            return cls(config, field, stats)
        empty = cls(config, field, {})
        inputs = statistics(empty._inputs(train))
        outputs = statistics(empty._targets(train))
        values = (*inputs, *outputs)
        return cls(
            config, field, {str(n): v for n, v in zip(STATS, values, strict=True)}
        )

    def _inputs(self, tracks: TrackSet) -> np.ndarray:
        with jax.enable_x64(True):
            names = input_names(self.config)
            state = jnp.asarray(tracks.state)
            return np.asarray(features(names, state, tracks.z_in, tracks.z_out))

    def _targets(self, tracks: TrackSet) -> np.ndarray:
        return parametrisation.targets(
            self.config.parametrisation,
            tracks.state,
            tracks.target,
            tracks.z_in,
            tracks.z_out,
            self.field,
            nodes=parametrisation.default_nodes(self.field),
            map_step_mm=self.config.map_step_mm,
        )

    def arrays(self, tracks: TrackSet, *, training: bool) -> dict[str, np.ndarray]:
        """Returns the arrays of a batch source (see `step`), without the weight."""
        inputs, target = self._inputs(tracks), self._targets(tracks)
        kind = np.float64 if self.config.precision == "float64" else np.float32
        if self.config.loss == "raw":
            return {"inputs": inputs.astype(kind), "target": target.astype(kind)}
        stats = self.stats
        found = {
            "inputs": (inputs - stats["input_mean"]) / stats["input_std"],
            "target": (target - stats["output_mean"]) / stats["output_std"],
        }
        qop = tracks.state[:, 4]
        if training and self.config.momentum_weight:
            importance = np.abs(qop) ** self.config.momentum_weight
            found["importance"] = importance / importance.mean()
        if training and self.config.jacobian_weight:
            found["slopes"] = self._slopes(tracks)
        if not training:
            factor = np.asarray(parametrisation.scale(self.config.parametrisation, qop))
            found["scale"] = factor[:, None] * stats["output_std"]
        return {name: value.astype(kind) for name, value in found.items()}

    def _slopes(self, tracks: TrackSet) -> np.ndarray:
        """Returns d(normalised target)/d(normalised inputs), [N, 4, 5], exactly."""
        config = self.config
        field = truth_field(config)
        if field is None:
            raise ValueError("--jacobian_weight needs the field of the truth")
        planes = (tracks.z_in, tracks.z_out)
        _, jacobian = propagate(
            field, tracks.state, *planes, config.step_mm, return_jacobian=True
        )
        nodes = parametrisation.default_nodes(self.field)

        def encode(state, truth):
            return parametrisation.encode(
                config.parametrisation,
                state,
                truth,
                *planes,
                self.field,
                nodes=nodes,
                map_step_mm=config.map_step_mm,
            )

        @jax.jit
        def column(state, truth, direction, change):
            tangents = (jnp.broadcast_to(direction[None], state.shape), change)
            return jax.jvp(encode, (state, truth), tangents)[1]

        with jax.enable_x64(True):
            columns = [
                np.asarray(
                    column(
                        tracks.state,
                        tracks.target,
                        np.eye(5)[k],
                        jacobian[:, :4, k],
                    )
                )
                for k in range(5)
            ]
        slopes = np.stack(columns, axis=2)  # [N, 4, 5]
        per_input = self.stats["input_std"][None, None, :5]
        slopes = slopes * per_input / self.stats["output_std"][None, :, None]
        extra = len(self.stats["input_mean"]) - 5  # the constant dz changes nothing
        return np.pad(slopes, ((0, 0), (0, 0), (0, extra)))

    def online(self, epoch: int) -> dict[str, np.ndarray]:
        """Returns the arrays of fresh tracks, keyed by (seed, epoch)."""
        config = self.config
        field = truth_field(config)
        if field is None:
            raise ValueError("--online_data needs the field of the truth")
        count = int(0.85 * config.samples)
        tracks = simulation.online_tracks(
            field, count, epoch, config.seed, sampling(config)
        )
        return self.arrays(tracks, training=True)
