"""Binds the flags to nets, losses, both phases and the graphs."""

import functools
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.hypertrack.config import Config
from jaxphys.data.batches import Batches
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.hypertrack.training import step
from jaxphys.hypertrack.training.cluster_losses import MaskLoss
from jaxphys.hypertrack.training.device_micrographs import Proposal, propose
from jaxphys.hypertrack.training.edge_losses import EdgeBCE, EdgeContrastive
from jaxphys.hypertrack.training.objective import Settings
from jaxphys.hypertrack.training.optimizer import make_optimizer
from jaxphys.hypertrack.training.schedules import learning_rates
from jaxphys.training.task import Progress, Task, TrainState

BEST = ("val_auc_without_self", "max")
_HALF_PRECISION = {"bfloat16": jnp.bfloat16}
_EMA = 1 / 50  # weight of an iteration in the smoothed AUC
_COORDINATES = 3
_CLUSTER_LOSS = (
    "meta_target", "threshold_algo", "fixed_threshold", "min_cluster_size",
)  # fmt: skip


def settings_of(config: Config) -> Settings:
    """Returns nets and losses that the flags describe."""
    dtype = _HALF_PRECISION.get(config.precision)
    net: TrackNet | FastNet = FastNet(
        z_dim=config.z_dim, dtype=dtype, remat=config.remat
    )
    if config.net == "tune-5":
        net = TrackNet(
            nstack=config.nstack,
            h_dim=config.h_dim,
            m_dim=config.m_dim,
            z_dim=config.z_dim,
            edge_type=config.edge_type,
            aggr=config.aggr,
            normalize_input=config.normalize_input,
            dtype=dtype,
            remat=config.remat,
        )
    proposal = Proposal(
        num_sets=config.joint_sets,
        num_nodes=config.joint_nodes,
        num_pivots=config.num_pivots,
        edge_threshold=config.edge_threshold,
        diffuse_threshold=config.diffuse_threshold,
    )
    return Settings(
        net=net,
        transformer=SetTransformer(
            in_features=config.z_dim + _COORDINATES,
            nstack_dec=config.nstack_dec,
            dtype=dtype,
        ),
        edge_bce=EdgeBCE(
            type=config.edge_bce,
            gamma=config.gamma,
            edge_balance=config.edge_balance,
            remove_self_edges=config.remove_self_edges,
        ),
        edge_contrastive=EdgeContrastive(tau=config.tau, sub_sample=config.sub_sample),
        cluster=MaskLoss(**{n: getattr(config, n) for n in _CLUSTER_LOSS}),
        beta_edge_bce=config.beta_edge_bce,
        beta_edge_contrastive=config.beta_edge_contrastive,
        beta_cluster_bce=config.beta_cluster_bce,
        beta_cluster_contrastive=config.beta_cluster_contrastive,
        batchnorm_mode=config.batchnorm_mode,
        propose=(
            functools.partial(propose, settings=proposal)
            if config.trains_transformer
            else None
        ),
    )


def gate_metric(config: Config) -> str:
    """Returns the AUC that opens the joint phase: of all edges, as in the original."""
    return "auc_without_self" if config.net == "fast" else "auc"


class Gate:
    """Opens the joint phase once the AUC of the training edges is high enough."""

    def __init__(self, config: Config):
        """Reads threshold, smoothing and the iteration of --joint_iteration."""
        self._config, self._metric = config, gate_metric(config)

    def __call__(self, progress: Progress, metrics: Mapping[str, float]) -> Progress:
        """Returns the progress with the smoothed AUC, and perhaps the next phase."""
        config, value = self._config, metrics[self._metric]
        keep = 1 - _EMA if config.auc_gate == "ema" else 0.0
        seen = keep * progress.extra.get("gate_weight", 0.0)
        mean = progress.extra.get("gate_auc", 0.0)
        if math.isfinite(value):  # a graph without true edges says nothing
            mean = (seen * mean + (1 - keep) * value) / (seen + 1 - keep)
            progress = progress.with_extra(gate_auc=mean, gate_weight=seen + 1 - keep)
        if not config.trains_transformer or progress.phase == "joint":
            return progress
        settled = config.auc_gate == "single" or progress.step >= 1 / _EMA
        opened = settled and mean > config.auc_threshold
        due = 0 < config.joint_iteration <= progress.step
        if opened or due:
            return progress.replace(phase="joint").with_extra(
                joint_step=float(progress.step)
            )
        return progress


def make_task(
    config: Config,
    train_data: Batches,
    val_data: Batches,
    variables: Mapping[str, Any] | None = None,
) -> Task:
    """Builds the task of a run.

    Args:
      config: the flags.
      train_data: graphs.
      val_data: graphs of an evaluation.
      variables: weights and statistics to start from; None draws them.
    """
    settings = settings_of(config)
    schedule = learning_rates(
        config.scheduler_type, config.learning_rate, config.scheduler_period
    )
    optimizer = make_optimizer(
        config.optimizer,
        schedule,
        weight_decay_w=config.weight_decay_w,
        weight_decay_b=config.weight_decay_b,
        epsilon=config.epsilon,
        grad_clip_norm=config.grad_clip_norm,
    )
    begin = time.monotonic()

    def init(key: jax.Array) -> TrainState:
        start = step.initial_variables(key, settings)
        if variables is not None:
            start = jax.tree.map(jnp.asarray, dict(variables))
        return step.initial_state(start, objective=settings, optimizer=optimizer)

    def advance(progress: Progress, scalars: Mapping[str, float]) -> Progress:
        del scalars
        since = progress.step - progress.extra.get("joint_step", 0.0)
        progress = progress.with_extra(
            learning_rate=np.asarray(schedule(int(since))).item()
        )
        spent = time.monotonic() - begin
        if 0 < config.max_seconds <= spent:
            return progress.replace(stop=f"--max_seconds={config.max_seconds:g}")
        if progress.step >= config.iterations:
            return progress.replace(stop=f"--iterations={config.iterations}")
        return progress

    return Task(
        init=init,
        train_step=functools.partial(
            step.train_step, objective=settings, optimizer=optimizer
        ),
        eval_step=functools.partial(step.eval_step, objective=settings),
        summarize=functools.partial(step.summarize, objective=settings),
        train_data=train_data,
        eval_data=val_data,
        first_phase="edges",
        advance=advance,
        enter_phase=functools.partial(step.enter_phase, optimizer=optimizer),
        on_step=Gate(config),
        best=BEST,
        announce=functools.partial(announce, config),
    )


def announce(config: Config, progress: Progress, entry: Mapping[str, Any]) -> str:
    """Returns the line of an evaluation."""
    words = [
        f"iteration {progress.step}/{config.iterations} {entry['phase']}",
        f"loss {entry.get('train_loss', math.nan):.4f}",
        f"AUC {entry.get('train_auc', math.nan):.4f}",
        f"validation: loss {entry['val_loss']:.4f} AUC {entry['val_auc']:.4f}",
        f"without self edges {entry['val_auc_without_self']:.4f}",
    ]
    if progress.phase == "joint":
        words.append(f"clusters {entry.get('val_clusters', math.nan):.1f} a graph")
    else:
        words.append(f"gate {progress.extra.get('gate_auc', math.nan):.4f}")
    if "steps_per_second" in entry:
        words.append(f"{entry['steps_per_second']:.2f} it/s")
        words.append(f"wait {entry['input_wait']:.0%}")
    return " | ".join(words)
