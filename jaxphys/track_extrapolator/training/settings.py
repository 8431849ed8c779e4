"""Loss, optimizer and length of a training."""

import dataclasses
from typing import ClassVar

from jaxphys.options import ORIGINAL, option, structural
from jaxphys.training.optimizers import NAMES, SCHEDULES


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Loss, optimizer and length of a training."""

    GROUP: ClassVar = "training"

    epochs: int = option(
        600,
        "passes over the training tracks",
        unit="rounds",
        minimum=0,
        change="extendable",
    )
    optimizer: str = structural("adamw", "optimizer of the weights", choices=NAMES)
    betas: tuple[float, ...] = structural(
        (0.9, 0.999), "decay rates of Adam's two means", minimum=0.0, maximum=1.0
    )
    learning_rate: float = structural(0.004, "largest learning rate", minimum=0.0)
    schedule: str = structural(
        "cosine",
        "course of the learning rate: cosine and linear fall to 0 at the last epoch, "
        "plateau halves it",
        choices=SCHEDULES,
    )
    warmup_steps: int = structural(
        500,
        "steps in which the learning rate rises from 0, at most 5 % of all steps",
        unit="steps",
        minimum=0,
    )
    patience: int = structural(
        100,
        "evaluations without a gain after which --schedule=plateau halves the rate",
        unit="rounds",
        minimum=0,
    )
    loss: str = structural(
        "normalised",
        "squared error of normalised targets, or of raw ones (mm and rad mixed)",
        choices=("normalised", "raw"),
        group=ORIGINAL,
    )
    weight_decay: float = structural(
        1e-5, "decoupled weight decay of all weights", minimum=0.0
    )
    grad_clip_norm: float = structural(
        0.0, "largest norm of the gradient; 0: any", minimum=0.0
    )
    momentum_weight: float = structural(
        0.0, "power of |q/p| that a track weighs in the loss", minimum=0.0
    )
    jacobian_weight: float = structural(
        0.0, "weight of the error of the derivatives in the loss; 0: off", minimum=0.0
    )
    ema_decay: float = structural(
        0.0,
        "decay per step of averaged weights, which are then evaluated; 0: off",
        minimum=0.0,
        maximum=1.0,
    )
    online_data: bool = structural(
        False, "simulate fresh tracks in every epoch, in steps of 100 mm"
    )
    import_bin: str = option("", ".bin file whose weights start this run")
