"""Binds the flags to the network, its update steps and its data."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.hidden_vertex import data
from experiments.hidden_vertex.config import Config
from jaxphys.data.batches import sequential, shuffled
from jaxphys.hidden_vertex.data.splits import Split
from jaxphys.hidden_vertex.data.store import Store
from jaxphys.hidden_vertex.training import step
from jaxphys.hidden_vertex.training.network import Network, bytes_on_device
from jaxphys.training import optimizers, phases
from jaxphys.training.app import weight_dtype
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Progress, Task, TrainState

EVAL_BATCH = 256
BEST = ("val_loss", "min")
# A floor gap above this after so many evaluations without progress is worth a word.
_STUCK = (3, 0.05)


def stays_on_device(config: Config, network: Network, store: Store, train) -> bool:
    """Returns whether the training events are kept on the device."""
    size = bytes_on_device(network, store, train)
    return config.device_data and size <= config.device_data_gb * 1e9


def make_task(
    config: Config,
    network: Network,
    store: Store,
    parts: Split,
    params: Any = None,
) -> Task:
    """Builds the task of a run.

    Args:
      config: the flags.
      network: with the statistics of its features.
      store: the events.
      parts: which events are trained on, validated on.
      params: weights to start from; None draws them.
    """
    if config.batch_size > len(parts.train):
        raise ValueError(
            f"--batch_size={config.batch_size}: there are {len(parts.train)} training "
            "events"
        )
    devices = make_mesh(config.mesh).size
    resident = stays_on_device(config, network, store, parts.train)
    arranged = {"parts": devices, "on_device": resident}
    train_data = network.batches(
        store,
        parts.train,
        config.batch_size,
        shuffled(len(parts.train), config.seed),
        node_budget=config.node_budget,
        **arranged,
    )
    # a multiple of the global batch divides over the same devices
    eval_batch = config.batch_size * max(1, EVAL_BATCH // config.batch_size)
    eval_data = network.batches(
        store, parts.val, eval_batch, sequential(len(parts.val)), **arranged
    )
    optimizer = optimizers.make_optimizer(
        config.optimizer,
        config.learning_rate,
        weight_decay=config.weight_decay,
        grad_clip_norm=config.grad_clip_norm,
    )
    objective = network.objective(
        config.grad_clip_norm, batch_mean=config.epoch_loss == "batch_mean"
    )

    def init(key: jax.Array) -> TrainState:
        start = network.init(key) if params is None else params
        kind = weight_dtype(config)
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, kind), start)
        return step.initial_state(start, objective=objective, optimizer=optimizer)

    floor = data.floor(network, store, parts.val)

    def summarize(batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        found = step.summarize(batches, objective=objective)
        if floor is not None:
            found["floor_gap"] = (found["val_loss"] - floor) / floor
        return found

    rate = config.learning_rate
    return Task(
        init=init,
        train_step=functools.partial(
            step.train_step, objective=objective, optimizer=optimizer
        ),
        eval_step=functools.partial(step.eval_step, objective=objective),
        summarize=summarize,
        train_data=train_data,
        eval_data=eval_data,
        advance=phases.chain(
            phases.stop_when_impatient("val_loss", "min", config.patience),
            lambda progress, scalars: progress.with_extra(learning_rate=rate),
        ),
        best=BEST,
        announce=functools.partial(announce, config),
    )


def announce(config: Config, progress: Progress, entry: Mapping[str, Any]) -> str:
    """Returns the line of an epoch: the original's, and what it should have said."""
    words = [
        f"Epoch {progress.round:3d}/{config.epochs}",
        f"Train: {entry.get('train_loss', math.nan):.6f}",
        f"Val: {entry['val_loss']:.6f}",
    ]
    if "floor_gap" in entry:
        words.append(f"floor {entry['floor_gap']:+.2%}")
    if "steps_per_second" in entry:
        events = entry["steps_per_second"] * config.batch_size
        words.append(f"{events / 1e3:.1f}k ev/s")
        words.append(f"wait {entry['input_wait']:.0%}")
    bad = progress.extra["best_bad"]
    words.append("NEW BEST" if not bad else f"no gain for {bad:.0f}")
    line = " | ".join(words)
    if bad == _STUCK[0] and entry.get("floor_gap", 0.0) > _STUCK[1]:
        line += "\nwarning: the loss is stuck far above its floor (learning rate?)"
    if entry.get("input_wait", 0.0) > 0.2 and progress.round > 1:
        line += "\nwarning: over a fifth of the time is spent waiting for events"
    return line
