"""A trained run: bundles of muons for primaries of one's own."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.primaries_table import PrimariesTable, read_primaries
from jaxphys.cr_muons.inference import sampling
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.physics.normalise import FeatureNorm, normalise_conditions
from jaxphys.cr_muons.training import step
from jaxphys.data.files import write_json
from jaxphys.training.best import read_weights
from jaxphys.training.loaded import Loaded

NETWORK_FILE = "network.json"
COUNTS_MODES = ("predict", "column", "constant")


@dataclasses.dataclass(frozen=True, eq=False)
class Generator(Loaded):
    """A trained generator.

    Attributes:
      settings: what the weights belong to.
      params: weights of the generator.
      norm: of the muons' features.
      depth_kind: of the conditions, "vertical" or "slant".
      metadata: of the run.
    """

    settings: GanSettings
    params: Any
    norm: FeatureNorm = dataclasses.field(default_factory=FeatureNorm)
    depth_kind: str = "vertical"
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def sample(
        self,
        primaries: np.ndarray,
        seed: int = 0,
        num_muons: np.ndarray | None = None,
        *,
        max_muons_per_event: int = 0,
        showers: np.ndarray | None = None,
    ) -> Events:
        """Generates one event for each primary.

        Args:
          primaries: [N, 4] energy GeV, zenith rad, mass GeV, vertical depth m.
          seed: of the random numbers.
          num_muons: [N] muons of each event; None: the generator decides.
          max_muons_per_event: cap on the number of muons; 0: none.
          showers: [N, 2] numbers of the showers; None: 0 and the row.

        Returns:
          The events in the order of the rows, with all their muons.
        """
        primaries = np.asarray(primaries, np.float32).reshape(-1, 4)
        conditions = normalise_conditions(primaries, self.depth_kind)
        counts, features = sampling.sample(
            self.params,
            conditions,
            settings=self.settings,
            seed=seed,
            num_muons=num_muons,
            max_muons_per_event=max_muons_per_event,
        )
        if showers is None:
            showers = np.zeros((len(primaries), 2), np.uint64)
            showers[:, 1] = np.arange(len(primaries))
        muons = muons_of_features(self.norm, features, seed)
        return Events(primaries, np.asarray(counts, np.int32), muons, showers)

    def predict(
        self,
        table: PrimariesTable | np.ndarray | str | os.PathLike,
        counts_mode: str = "predict",
        *,
        counts_column: str = "",
        count_constant: int = 0,
        max_muons_per_event: int = 0,
        seed: int = 0,
    ) -> Events:
        """Generates one event for each row of a table.

        Args:
          table: primaries, [N, 4] or a file as `read_primaries` takes it.
          counts_mode: where the numbers of muons come from: "predict", "column" or
            "constant".
          counts_column: the column of a file, for "column".
          count_constant: the number, for "constant".
          max_muons_per_event: cap on the number; 0: none.
          seed: of the random numbers.

        Returns:
          The events in the order of the rows.

        Raises:
          ValueError: of the flags, or of a row of the file.
        """
        if counts_mode not in COUNTS_MODES:
            raise ValueError(
                f"--counts_mode={counts_mode}: expected one of "
                f"{', '.join(COUNTS_MODES)}"
            )
        column = counts_column if counts_mode == "column" else ""
        if isinstance(table, str | os.PathLike):
            table = read_primaries(table, column)
        elif not isinstance(table, PrimariesTable):
            rows = np.asarray(table, np.float32).reshape(-1, 4)
            showers = np.zeros((len(rows), 2), np.uint64)
            showers[:, 1] = np.arange(len(rows))
            table = PrimariesTable(rows, showers)
        counts = None
        if counts_mode == "column":
            if table.num_muons is None:
                raise ValueError(
                    "--counts_mode=column: expected --counts_column and a table with "
                    "that column, got none"
                )
            counts = table.num_muons
        elif counts_mode == "constant":
            if count_constant < 0:
                raise ValueError(f"--count_constant={count_constant}: expected >= 0")
            counts = np.full(len(table.primaries), count_constant, np.int32)
        return self.sample(
            table.primaries,
            seed,
            counts,
            max_muons_per_event=max_muons_per_event,
            showers=table.showers,
        )


def muons_of_features(norm: FeatureNorm, features: np.ndarray, seed: int) -> np.ndarray:
    """Returns muons [M, 3] in GeV and m of features [M, 2 or 3].

    Features without a direction get a uniform angle around the axis.

    Args:
      norm: of the features.
      features: as a generator gives them.
      seed: of the angles.
    """
    features = np.asarray(features, np.float32)
    if features.shape[1] != 2:
        return np.asarray(norm.invert(features), np.float32)
    random = np.random.default_rng([seed, 5])
    angle = random.uniform(0, 2 * np.pi, len(features)).astype(np.float32)
    return np.asarray(norm.invert(features, angle), np.float32)


# names of settings in runs of earlier versions
_EARLIER = {
    "lr": "learning_rate",
    "lr_critic": "learning_rate_critic",
    "lr_multiplicity": "learning_rate_multiplicity",
}


def save_network(
    workdir: str | os.PathLike,
    settings: GanSettings,
    norm: FeatureNorm,
    depth_kind: str = "vertical",
    **facts: Any,
) -> None:
    """Writes what a run's networks are, and facts about the run, into its workdir."""
    content = {
        "settings": dataclasses.asdict(settings),
        "feature_norm": json.loads(norm.to_json()),
        "depth_kind": depth_kind,
    }
    write_json(pathlib.Path(workdir) / NETWORK_FILE, {**content, **facts})


def read_network(workdir: str | os.PathLike) -> dict[str, Any]:
    """Reads what `save_network` wrote: settings, norm, depth_kind and the facts.

    Raises:
      ValueError: there is no such file, or it is damaged.
    """
    path = pathlib.Path(workdir) / NETWORK_FILE
    if not path.is_file():
        raise ValueError(f"{workdir}: no {NETWORK_FILE}: not a run, or not begun")
    try:
        found = json.loads(path.read_text())
        saved: dict[str, Any] = found.pop("settings")
        settings = GanSettings(**{_EARLIER.get(n, n): v for n, v in saved.items()})
        norm = FeatureNorm.from_json(json.dumps(found.pop("feature_norm")))
        return {"depth_kind": "vertical", **found, "settings": settings, "norm": norm}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def load(workdir: str | os.PathLike, weights: str = "best") -> Generator:
    """Loads the generator of a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best" by the distances of the validation, the last ones while there
        are none; or "last". Both are averaged weights where the run averages.

    Raises:
      ValueError: there is no run or no checkpoint.
    """
    facts = read_network(workdir)
    found, progress = read_weights(workdir, weights, step.sampled)
    settings, norm = facts.pop("settings"), facts.pop("norm")
    kind = facts.pop("depth_kind")
    about = {**facts, "step": progress.step, "history": progress.history}
    return Generator(settings, found.params, norm, kind, {**about, **found.facts()})


def load_params(workdir: str | os.PathLike) -> dict[str, Any]:
    """Returns the latest weights of a run, generator and critic.

    Raises:
      ValueError: there is no run or no checkpoint.
    """
    read_network(workdir)
    return dict(read_weights(workdir, "last")[0].params)
