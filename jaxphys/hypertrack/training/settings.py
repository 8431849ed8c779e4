"""Losses and schedule of a training."""

import dataclasses
from typing import ClassVar

from jaxphys.hypertrack.training import optimizer, schedules
from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossFlags:
    """Losses of edges and clusters."""

    GROUP: ClassVar = "training"

    edge_bce: str = structural(
        "Focal",
        "loss of the score of an edge",
        choices=("Focal", "BCE", "BCE+Hinge"),
    )
    gamma: float = structural(1.0, "exponent of --edge_bce=Focal")
    edge_balance: bool = structural(
        True, "let all true edges together weigh as much as all false ones"
    )
    remove_self_edges: bool = structural(
        False, "leave the edge of a hit with itself out of the loss"
    )
    tau: float = structural(
        0.3, "temperature of the contrastive loss of the edges", minimum=1e-3
    )
    sub_sample: int = structural(
        300,
        "most tracks of a graph in the contrastive loss of the edges",
        unit="tracks",
        minimum=1,
    )
    beta_edge_bce: float = structural(0.2, "weight of the loss --edge_bce in the sum")
    beta_edge_contrastive: float = structural(
        1.0, "weight of the contrastive loss of the edges in the sum"
    )
    beta_cluster_bce: float = structural(
        0.2, "weight of the loss of the transformer's masks in the sum"
    )
    beta_cluster_contrastive: float = structural(
        0.2, "weight of the loss of the transformer's sets in the sum"
    )
    meta_target: str = structural(
        "pivotmajor",
        "true track of a cluster: most frequent one of its pivots (pivotmajor), or of "
        "the hits that are chosen (major)",
        choices=("pivotmajor", "major"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleFlags:
    """Length, optimizer, phases and graph sizes of a training."""

    GROUP: ClassVar = "training"

    iterations: int = option(
        2000,
        "training steps of the whole run",
        unit="steps",
        minimum=1,
        change="extendable",
    )
    round_iterations: int = structural(
        100, "training steps of a round", unit="steps", minimum=1
    )
    max_seconds: float = option(
        0.0,
        "end of the training at the first evaluation after this time; 0: never",
        unit="s",
        minimum=0.0,
    )
    optimizer: str = structural(
        "AdamW", "optimizer of all weights", choices=optimizer.NAMES
    )
    learning_rate: float = option(
        5e-4, "learning rate at the start of a phase", minimum=0.0
    )
    weight_decay_w: float = option(
        1e-5, "decoupled weight decay of the weights", minimum=0.0
    )
    weight_decay_b: float = option(
        0.0, "decoupled weight decay of the biases", minimum=0.0
    )
    epsilon: float = option(
        1e-6, "number that is added to Adam's denominator", minimum=0.0
    )
    grad_clip_norm: float = option(
        1.0, "largest norm of the gradient; 0: any", minimum=0.0
    )
    scheduler_type: str = structural(
        "warm-cos",
        "course of the learning rate over the steps of a phase",
        choices=schedules.NAMES,
    )
    scheduler_period: int = structural(
        10_000, "period of the cosine of --scheduler_type", unit="steps", minimum=1
    )
    auc_threshold: float = structural(
        0.998,
        "AUC of the training edges above which the transformer is trained too",
        minimum=0.0,
    )
    auc_gate: str = structural(
        "ema",
        "AUC that --auc_threshold looks at: smoothed over 50 steps (ema), or that of "
        "one step (single)",
        choices=("ema", "single"),
    )
    joint_iteration: int = structural(
        0,
        "training step from which the transformer is trained in any case; 0: by "
        "--auc_threshold alone",
        unit="steps",
        minimum=0,
    )
    joint_sets: int = structural(
        64, "micrographs of a graph in a training step of the transformer", minimum=1
    )
    joint_nodes: int = structural(
        64,
        "hits of a micrograph in a training step of the transformer",
        unit="hits",
        minimum=4,
    )
    buckets: int = structural(
        4,
        "sizes that graphs are padded to, each compiled once; chosen by the first "
        "graphs",
        unit="sizes",
        minimum=1,
    )
    node_buckets: tuple[int, ...] = structural(
        (),
        "numbers of hits that graphs are padded to, in place of the chosen sizes",
        unit="hits",
        minimum=2,
    )
    edge_buckets: tuple[int, ...] = structural(
        (),
        "numbers of edges that graphs are padded to, one for each of --node_buckets",
        unit="edges",
        minimum=1,
    )
    track_buckets: tuple[int, ...] = structural(
        (),
        "numbers of tracks that graphs are padded to, one for each of --node_buckets",
        unit="tracks",
        minimum=1,
    )
    val_graphs: int = structural(
        8, "graphs of an evaluation during the training", unit="graphs", minimum=1
    )
