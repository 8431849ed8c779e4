"""Loss, optimizer, length of a training, and scores."""

import dataclasses
from typing import ClassVar

from jaxphys.hidden_vertex.training.network import LOSSES, SCORES
from jaxphys.options import ORIGINAL, option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Loss, optimizer and length of a training."""

    GROUP: ClassVar = "training"

    epochs: int = option(
        50,
        "most passes over the training events",
        unit="rounds",
        minimum=0,
        change="extendable",
    )
    optimizer: str = structural(
        "adamw", "optimizer of the weights", choices=("adamw", "adam")
    )
    learning_rate: float = structural(1e-3, "constant learning rate", minimum=0.0)
    weight_decay: float = structural(
        1e-5, "decoupled weight decay of all weights", minimum=0.0
    )
    grad_clip_norm: float = structural(
        1.0, "largest norm of the gradient; 0: any", minimum=0.0
    )
    patience: int = structural(
        10,
        "evaluations without a gain after which the training stops; 0: never",
        unit="rounds",
        minimum=0,
    )
    loss: str = structural(
        "",
        "loss that is minimised; empty: that of --model",
        choices=("", *LOSSES),
    )
    loss_weights: tuple[float, ...] = structural(
        (10.0, 1.0, 1.0),
        "weights of log pT, eta and phi in --loss=weighted",
        minimum=0.0,
    )
    chamfer_max_nodes: int = structural(
        768,
        "particles of the largest event under --loss=chamfer of --model=node",
        unit="particles",
        minimum=1,
    )
    epoch_loss: str = structural(
        "exact",
        "loss of an epoch: exact, or the plain mean of its batches",
        choices=("exact", "batch_mean"),
        group=ORIGINAL,
    )
    node_budget: int = structural(
        0,
        "places for the particles of a batch on a device; a batch that needs more "
        "takes a second, larger shape; 0: chosen by the data",
        unit="particles",
        minimum=0,
    )
    device_data_gb: float = option(
        1.0,
        "largest size of the training events that --device_data keeps on the device",
        unit="GB",
        minimum=0.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreFlags:
    """Scores of an event, and what the report shows of them."""

    GROUP: ClassVar = "evaluation"

    score: str = option(
        "",
        "score of an event that leads the report; empty: that of --model",
        choices=("", *SCORES),
    )
    score_reduction: str = structural(
        "",
        "how the errors of the particles become one of the event; empty: as --model",
        choices=("", "mean", "max"),
    )
    score_features: str = structural(
        "",
        "features in the error of a particle: all, or pt; empty: as --model",
        choices=("", "all", "pt"),
    )
    top_k: int = option(
        100, "events in the table of anomalies", unit="events", minimum=1
    )
    histogram_bins: int = option(50, "bins of the histograms of the scores", minimum=2)
    injection_test: bool = option(
        False, "score the background of the test again with one particle made harder"
    )
    injection_strength: float = option(
        3.0, "number that --injection_test adds to the log pT of a particle"
    )
