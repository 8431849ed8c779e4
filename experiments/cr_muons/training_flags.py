"""Flags of the networks and their training."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.cr_muons.model.settings import PRECISIONS


@dataclasses.dataclass(frozen=True)
class TrainingConfig(RunConfig):
    """What `jaxphys.cr_muons.model.settings.GanSettings` and the loop are told."""

    PRECISIONS: ClassVar = PRECISIONS  # noise and normalisation are in float32

    # networks
    cond_dim: int = option(
        4, "conditions of an event", unit="1", minimum=4, maximum=4,
        change="structural",
    )  # fmt: skip
    latent_dim_global: int = option(
        32, "random numbers of an event", unit="1", minimum=1, change="structural"
    )
    latent_dim_local: int = option(
        16, "random numbers of a muon", unit="1", minimum=1, change="structural"
    )
    hidden_dim: int = option(
        256, "width of an event's context", unit="1", minimum=1, change="structural"
    )
    score_head: str = option(
        "ema_tanh", "last step of the critic: ema_tanh, sqrt_tanh, sqrt_clamp (three "
        "states of the original) or none", change="structural",
    )  # fmt: skip
    critic_pooling: str = option(
        "amax", "from muons to an event: amax, mean or meanmaxsum (sees the number of "
        "muons)", change="structural",
    )  # fmt: skip
    multiplicity: str = option(
        "deterministic", "number of muons: deterministic (the original) or "
        "negative_binomial", change="structural",
    )  # fmt: skip
    init_weights: str = option(
        "xavier", "first weights: xavier (gain 0.5) or torch", change="structural"
    )

    # training
    batch_size: int = option(
        1024, "events per step over all devices", unit="events", minimum=1,
        change="structural",
    )  # fmt: skip
    epochs: int = option(
        1, "passes over the data", unit="rounds", minimum=1, change="extendable"
    )
    train_steps: int = option(
        0, "end after so many steps, at the next evaluation; 0: --epochs alone",
        unit="steps", minimum=0, change="extendable",
    )  # fmt: skip
    eval_every: str = option(
        "500 steps", "evaluation interval: a number and steps or rounds"
    )
    multiplicity_epochs: int = option(
        0, "epochs of the multiplicity network alone, on all events, before the "
        "others; it then stays as it is (needs --detach_multiplicity); 0: all networks "
        "from the start", unit="rounds", minimum=0, change="structural",
    )  # fmt: skip
    train_recipe: str = option(
        "joint", "order of the updates: joint (the original today) or split (its "
        "earlier states)", change="structural",
    )  # fmt: skip
    optimizer: str = option(
        "adam", "adam (betas 0, 0.9) or sgd", choices=("adam", "sgd"),
        change="structural",
    )  # fmt: skip
    learning_rate: float = option(1e-4, "of both networks", unit="1", minimum=0.0)
    learning_rate_critic: float = option(
        0.0, "of the critic; 0: --learning_rate", unit="1", minimum=0.0
    )
    learning_rate_multiplicity: float = option(
        0.0, "of the multiplicity network; 0: --learning_rate", unit="1", minimum=0.0
    )
    lr_decay_steps: int = option(
        0, "cosine decay of the rates to 0 over so many steps; 0: constant",
        unit="steps", minimum=0, change="structural",
    )  # fmt: skip
    momentum: float = option(0.9, "of sgd", unit="1", minimum=0.0, maximum=1.0)
    grad_clip_norm: float = option(
        0.0, "largest norm of a gradient; 0: none", unit="1", minimum=0.0
    )
    critic_steps: int = option(
        1, "critic updates per step", unit="1", minimum=1, change="structural"
    )
    lambda_gp: float = option(
        10.0, "weight of the gradient penalty; 0: off", unit="1", minimum=0.0
    )
    gp_mode: str = option(
        "flat", "penalty per muon (flat, the original) or per event",
        change="structural",
    )  # fmt: skip
    gp_metric: str = option(
        "l2", "norm of an event's gradient: l2 or rms", change="structural"
    )
    gp_every: int = option(
        2, "critic updates from penalty to penalty", unit="1", minimum=1,
        change="structural",
    )  # fmt: skip
    gp_max_pairs: int = option(
        4096, "pairs of a penalty at most; 0: all", unit="pairs", minimum=0,
        change="structural",
    )  # fmt: skip
    gp_sample_fraction: float = option(
        0.0, "fraction of the pairs; 0: all", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    grad_accum_steps: int = option(
        1, "parts of a batch that are taken one after the other to save memory",
        unit="1", minimum=1, change="structural",
    )  # fmt: skip
    gen_ema_decay: float = option(
        0.999, "of the averaged generator; 0: off", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    detach_multiplicity: bool = option(
        False, "no adversarial gradient into the multiplicity network",
        change="structural",
    )  # fmt: skip
    rotate_output: bool = option(
        False, "turn each generated muon by a random angle", change="structural"
    )
    adaptive_critic: bool = option(
        False, "change critic updates and penalty with the mean gap",
        change="structural",
    )  # fmt: skip
    w_ma_low: float = option(-5.0, "mean gap below: fewer updates", unit="1")
    w_ma_high: float = option(10.0, "mean gap above: smaller penalty", unit="1")
    critic_steps_min: int = option(1, "of --adaptive_critic", unit="1", minimum=1)
    critic_steps_max: int = option(
        3, "of --adaptive_critic", unit="1", minimum=1, change="structural"
    )
    lambda_gp_min: float = option(
        0.0, "of --adaptive_critic; 0: 1", unit="1", minimum=0.0
    )
    lambda_gp_max: float = option(
        0.0, "of --adaptive_critic; 0: none", unit="1", minimum=0.0
    )
    gp_adapt_factor: float = option(1.5, "of --adaptive_critic", unit="1", minimum=1.0)
    adaptive_mode: str = option(
        "two_sided", "of --adaptive_critic: two_sided, one_sided"
    )
    adaptive_interval: int = option(1, "of --adaptive_critic", unit="steps", minimum=1)
    fake_counts: str = option(
        "drawn", "numbers of generated muons in training: drawn by the multiplicity "
        "network, or those of the real events", change="structural",
    )  # fmt: skip
    fake_muon_budget: int = option(
        0, "places for generated muons in a batch; 0: as --muon_budget", unit="muons",
        minimum=0, change="structural",
    )  # fmt: skip
    max_fake_per_event: int = option(
        4096, "generated muons of an event at most", unit="muons", minimum=1,
        change="structural",
    )  # fmt: skip
