"""Binds flags to the pure steps: model, optimizer, schedule and phases."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.track_extrapolator.config import Config
from experiments.track_extrapolator.data import Preparation, Splits, input_names
from jaxphys.data.batches import ArrayBatches, sequential, shuffled
from jaxphys.track_extrapolator.model.model import STATS, TrackMLP
from jaxphys.track_extrapolator.training import step
from jaxphys.training import optimizers, phases
from jaxphys.training.app import compute_dtype, weight_dtype
from jaxphys.training.task import Task, TrainState

EVAL_BATCH = 4096

BEST = ("val_loss", "min")


def make_model(config: Config) -> TrackMLP:
    """Returns the network."""
    return TrackMLP(config.widths, config.activation, dtype=compute_dtype(config))


def make_rate(config: Config, steps: int) -> float | optax.Schedule:
    """Returns the rate by step, or the first rate of a plateau."""
    if config.schedule == "plateau":
        return config.learning_rate
    return optimizers.warmup_schedule(
        config.schedule, config.learning_rate, steps, warmup_steps=config.warmup_steps
    )


def make_task(
    config: Config, splits: Splits, preparation: Preparation, params: Any = None
) -> Task:
    """Builds the task of a run.

    Args:
      config: the flags.
      splits: the tracks.
      preparation: their statistics.
      params: weights to start from; None draws them.

    Returns:
      The task for `jaxphys.training.loop.fit`.
    """
    model = make_model(config)
    kind = weight_dtype(config)
    raw = config.loss == "raw"
    stats = {n: jnp.asarray(preparation.stats[n], kind) for n in STATS} if raw else None
    objective = step.Objective(
        model,
        stats,
        raw,
        config.jacobian_weight,
        bool(config.momentum_weight),
        config.ema_decay,
    )
    train = preparation.arrays(splits.train, training=True)
    val = preparation.arrays(splits.val, training=False)
    count = len(train["inputs"])
    train_data = ArrayBatches(
        preparation.online if config.online_data else train,
        config.batch_size,
        shuffled(count, config.seed),
        config.device_data,
    )
    rows = len(val["inputs"])
    # a multiple of the global batch divides over the same devices
    eval_batch = config.batch_size * max(1, EVAL_BATCH // config.batch_size)
    eval_data = ArrayBatches(val, eval_batch, sequential(rows), config.device_data)
    rate = make_rate(config, config.epochs * train_data.num_batches(0))
    optimizer = optimizers.make_optimizer(
        config.optimizer,
        rate,
        weight_decay=config.weight_decay,
        grad_clip_norm=config.grad_clip_norm,
        betas=(config.betas[0], config.betas[1]),
    )

    def init(key: jax.Array) -> TrainState:
        start = params
        if start is None:
            inputs = jnp.zeros((1, len(input_names(config))), kind)
            start = model.init(key, inputs)["params"]
        start = jax.tree.map(lambda p: jnp.asarray(p, kind), start)
        return step.initial_state(start, objective=objective, optimizer=optimizer)

    decided = {}
    if callable(rate):
        set_rate = phases.record_rate(rate)
    else:
        set_rate = phases.Plateau("val_loss", rate, patience=config.patience)
        decided["after_eval"] = phases.apply_learning_rate
    return Task(
        init=init,
        train_step=functools.partial(
            step.train_step, objective=objective, optimizer=optimizer
        ),
        eval_step=functools.partial(step.eval_step, objective=objective),
        summarize=functools.partial(step.summarize, objective=objective),
        train_data=train_data,
        eval_data=eval_data,
        advance=set_rate,
        best=BEST,
        best_of=step.evaluated,
        **decided,
    )
