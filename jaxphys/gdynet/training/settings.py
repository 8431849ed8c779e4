"""Losses, optimizer and length of a training."""

import dataclasses
from typing import ClassVar

from jaxphys.gdynet.training.vamp import LOSSES
from jaxphys.numerics.inverse_sqrt import MODES
from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Losses, optimizer and length of a training."""

    GROUP: ClassVar = "training"

    tau: int = structural(10, "lag of the pairs of frames", unit="frames", minimum=1)
    stride: int = structural(
        1,
        "train on pairs of every n-th first frame only",
        unit="frames",
        minimum=1,
    )
    eval_batch_size: int = option(
        0, "pairs per step of an evaluation; 0: --batch_size", unit="pairs", minimum=0
    )
    epochs: int = structural(
        30, "passes over the data in each phase", unit="rounds", minimum=1
    )
    loss_schedule: tuple[str, ...] = option(
        ("vamp2", "vamp1", "vamp2"), "loss of each phase in turn", choices=tuple(LOSSES)
    )
    allow_schedule_mismatch: bool = option(
        False, "go on with a run although its finished phases had other losses"
    )
    learning_rate: float = option(1e-3, "learning rate of Adam", minimum=0.0)
    lr_schedule: str = structural(
        "constant",
        "course of the learning rate over all phases",
        choices=("constant", "linear", "cosine"),
    )
    epsilon: float = option(
        1e-6, "eigenvalues of covariances below this are left out of the losses"
    )
    vamp_mode: str = option(
        "trunc", "treatment of small eigenvalues of covariances", choices=tuple(MODES)
    )
    score_loss_scale: float = option(1.0, "factor on the loss")
    frequency: int = option(
        1, "epochs from one checkpoint to the next", unit="rounds", minimum=1
    )
    save_best_only: bool = option(False, "keep the best and the latest checkpoint only")
    best_rule: str = option(
        "val_vamp2",
        "figure of the validation that chooses the best epoch",
        choices=("val_vamp2", "val_loss"),
    )
    device_data_gb: float = option(
        1.0,
        "largest size of the frames that --device_data keeps on the device",
        unit="GB",
        minimum=0.0,
    )
