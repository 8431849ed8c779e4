"""Binds the flags to the two lobes, their update steps and the pairs of frames."""

import functools
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gdynet.config import Config
from experiments.gdynet.data import Part, Parts
from jaxphys.data.batches import Batches
from jaxphys.data.files import write_json
from jaxphys.gdynet import batches
from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.model.settings import MODEL_TYPES
from jaxphys.gdynet.training import accumulate, score_warnings, step
from jaxphys.training import optimizers
from jaxphys.training.app import compute_dtype, weight_dtype
from jaxphys.training.task import Progress, Task, TrainState

METRICS_FILE = "metrics.json"
WARNINGS_FILE = "warnings.json"
BEST = {"val_vamp2": ("val_vamp2_full", "max"), "val_loss": ("val_loss_avg", "min")}


def make_model(config: Config) -> GDyNet:
    """Returns the network of a lobe that the flags describe."""
    return GDyNet(
        atom_fea_len=config.atom_fea_len,
        n_conv=config.n_conv,
        state_len=config.state_len,
        num_gaussians=config.num_gaussians,
        cutoff=config.cutoff,
        variant=MODEL_TYPES[config.model_type],
        gaussian=config.gaussian,
        null_gradients=config.null_gradients,
        bn_momentum=config.bn_momentum,
        bn_eps=config.bn_eps,
        remat=config.remat,
        dtype=compute_dtype(config) if config.precision == "bfloat16" else None,
    )


def make_lobes(config: Config, part: Part) -> step.Lobes:
    """Returns the networks for the atoms of the data."""
    return step.Lobes(
        make_model(config),
        np.asarray(part.trajectories.atom_types),
        np.asarray(part.trajectories.target_index),
        config.lobes,
        config.epsilon,
        config.vamp_mode,
        config.score_loss_scale,
    )


def stays_on_device(config: Config, part: Part) -> bool:
    """Returns whether the frames of a part are kept on the device."""
    size = batches.device_bytes(part.trajectories, config.ferro)
    return config.device_data and size <= config.device_data_gb * 1e9


def batches_of(config: Config, part: Part, train: bool) -> Batches:
    """Returns the batches of a part."""
    resident = stays_on_device(config, part)
    if train:
        return batches.train_batches(
            part.trajectories,
            part.pairs,
            config.batch_size,
            config.seed,
            directions=config.ferro,
            on_device=resident,
        )
    return batches.eval_batches(
        part.trajectories,
        part.pairs,
        config.eval_batch_size or config.batch_size,
        directions=config.ferro,
        on_device=resident,
    )


def phase_of(config: Config, finished: int) -> str:
    """Returns the loss of the epoch after so many finished ones."""
    number = min(finished // config.epochs, len(config.loss_schedule) - 1)
    return config.loss_schedule[number]


def make_task(
    config: Config,
    lobes: step.Lobes,
    parts: Parts,
    variables: Mapping[str, Any] | None = None,
) -> Task:
    """Builds the task of a run.

    Args:
      config: the flags.
      lobes: networks.
      parts: pairs of frames.
      variables: weights and statistics of each network to start from; None draws.
    """
    train_data = batches_of(config, parts.train, train=True)
    steps = config.total_epochs * train_data.num_batches(0)
    rate: Any = config.learning_rate
    if config.lr_schedule != "constant":
        rate = optimizers.warmup_schedule(config.lr_schedule, rate, steps)
    optimizer = optimizers.make_optimizer("adam", rate)
    kind = weight_dtype(config)

    def init(key: jax.Array) -> TrainState:
        start = step.initial_variables(key, lobes) if variables is None else variables
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, kind), dict(start))
        return step.initial_state(start, objective=lobes, optimizer=optimizer)

    def advance(progress: Progress, scalars: Mapping[str, float]) -> Progress:
        now: Any = rate(progress.step) if callable(rate) else rate
        del scalars
        progress = progress.with_extra(learning_rate=float(now))
        return progress.replace(phase=phase_of(config, progress.round))

    about = circumstances(config, lobes)
    return Task(
        init=init,
        train_step=functools.partial(
            step.train_step, objective=lobes, optimizer=optimizer
        ),
        eval_step=functools.partial(step.eval_step, objective=lobes),
        summarize=functools.partial(step.summarize, objective=lobes),
        train_data=train_data,
        eval_data=batches_of(config, parts.val, train=False),
        first_phase=config.loss_schedule[0],
        advance=advance,
        on_resume=lambda progress: progress.replace(
            phase=phase_of(config, progress.round)
        ),
        best=BEST[config.best_rule],
        report_last=True,
        announce=Announcer(config, about),
    )


def circumstances(config: Config, lobes: step.Lobes) -> score_warnings.Circumstances:
    """Returns what the warnings about scores depend on."""
    targets = np.asarray(lobes.target_index)
    return score_warnings.Circumstances(
        num_states=config.state_len,
        rows=config.batch_size * len(targets),
        epsilon=config.epsilon,
        float64=config.precision == "float64",
        num_species=len(np.unique(np.asarray(lobes.atom_types)[targets])),
        lag=float(config.tau),
    )


class Announcer:
    """Prints the lines of an epoch; writes metrics.json and warnings.json."""

    def __init__(self, config: Config, about: score_warnings.Circumstances):
        self._config, self._about = config, about
        self._folder = pathlib.Path(config.workdir)
        self._warned = dict(score_warnings.warnings_at_start(about))
        self._said: set[str] = set()

    def __call__(self, progress: Progress, entry: Mapping[str, Any]) -> str:
        """Returns the original's lines, and the scores of the whole set."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._folder / METRICS_FILE, original_metrics(progress.history))
        lines = [
            f"Train Epoch: {progress.round}, Loss Type: {entry['phase']}",
            f"Train Loss - Last: {entry['train_loss_last']:.6f}, "
            f"Avg: {entry['train_loss']:.6f}",
            "Train Metrics - "
            f"VAMP1 ({entry['train_vamp1_last']:.4f}, {entry['train_vamp1']:.4f}), "
            f"VAMP2 ({entry['train_vamp2_last']:.4f}, {entry['train_vamp2']:.4f})",
            f"Val Loss - Last: {entry['val_loss_last']:.6f}, "
            f"Avg: {entry['val_loss_avg']:.6f}",
            f"Val full set - VAMP1 {entry['val_vamp1_full']:.4f}, "
            f"VAMP2 {entry['val_vamp2_full']:.4f}, "
            f"static {entry['val_vamp2_static']:.4f}, "
            f"centred {entry['val_vamp2_centred']:.4f}",
        ]
        return "\n".join([*lines, *self._warn(entry)])

    def _warn(self, entry: Mapping[str, Any]) -> list[str]:
        states = self._config.state_len
        scores = accumulate.SetScores(
            entry["val_vamp1_full"],
            entry["val_vamp2_full"],
            math.nan,
            entry["val_vamp2_static"],
            entry["val_vamp2_centred"],
            np.array([entry[f"val_population_{i}"] for i in range(states)]),
            entry["val_trace"],
        )
        found = {
            **score_warnings.warnings_at_start(self._about),
            **score_warnings.warnings_of_scores(scores, self._about),
        }
        if found != self._warned or not self._said:
            write_json(self._folder / WARNINGS_FILE, found)
        self._warned = found
        new = [name for name in found if name not in self._said]
        self._said.update(new)
        return [f"warning ({name}): {found[name]}" for name in new]


def original_metrics(history: Sequence[Mapping[str, Any]]) -> dict[str, list]:
    """Returns the histories under the keys of the original's metrics.json, and ours.

    "last" is the last batch of an epoch, "avg" the mean over its batches.
    """
    own = ("vamp1_full", "vamp2_full", "vamp2_static", "vamp2_centred")
    columns = {
        "epochs": "round",
        "loss_types": "phase",
        "train_losses_last": "train_loss_last",
        "train_losses_avg": "train_loss",
        "val_losses_last": "val_loss_last",
        "val_losses_avg": "val_loss_avg",
        **{f"train_{v}_scores_last": f"train_{v}_last" for v in ("vamp1", "vamp2")},
        **{f"train_{v}_scores_avg": f"train_{v}" for v in ("vamp1", "vamp2")},
        **{f"val_{v}_scores_last": f"val_{v}_last" for v in ("vamp1", "vamp2")},
        **{f"val_{v}_scores_avg": f"val_{v}_avg" for v in ("vamp1", "vamp2")},
        **{f"val_{v}": f"val_{v}" for v in own},
        "learning_rate": "learning_rate",
        "phase": "phase",
    }
    found = {
        name: [entry.get(key) for entry in history] for name, key in columns.items()
    }
    return found


def check_schedule(config: Config, saved: Sequence[str], finished: int) -> None:
    """Refuses a schedule whose begun phases are not those of the run so far.

    Args:
      config: of this call.
      saved: the run's schedule.
      finished: epochs.

    Raises:
      ValueError: unless --allow_schedule_mismatch is given, then it warns.
    """
    begun = saved[: -(-finished // config.epochs)]
    if tuple(config.loss_schedule[: len(begun)]) == tuple(begun):
        return
    text = (
        f"Loss schedule mismatch: {finished} epochs were trained with "
        f"{','.join(begun)}, --loss_schedule={','.join(config.loss_schedule)}"
    )
    if not config.allow_schedule_mismatch:
        raise ValueError(f"{text} (--allow_schedule_mismatch goes on all the same)")
    print(f"warning: {text}", file=sys.stderr)


def read_warnings(workdir: str | pathlib.Path) -> dict[str, str]:
    """Returns the warnings that a run has written, name -> sentence."""
    path = pathlib.Path(workdir) / WARNINGS_FILE
    return json.loads(path.read_text()) if path.is_file() else {}
