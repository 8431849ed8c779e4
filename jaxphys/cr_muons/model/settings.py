"""What a generative model of muon bundles consists of and how it is trained."""

import dataclasses
from typing import Any, ClassVar

from jaxphys.options import check, option, structural

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Sizes and variants of the networks; the defaults are those of the original."""

    GROUP: ClassVar = "model"

    latent_dim_global: int = structural(
        32, "random numbers that the generator takes for an event", minimum=1
    )
    latent_dim_local: int = structural(
        16, "random numbers that the generator takes for a muon", minimum=1
    )
    hidden_dim: int = structural(
        256, "width of the context of an event in the generator", minimum=1
    )
    score_head: str = structural(
        "ema_tanh",
        "what turns the raw score of an event into its score, with it the layers of "
        "the critic: three states of the original, or none (the layers of ema_tanh)",
        choices=("ema_tanh", "sqrt_tanh", "sqrt_clamp", "none"),
    )
    critic_pooling: str = structural(
        "amax",
        "how the muons of an event become one vector in the critic; meanmaxsum sees "
        "their number",
        choices=("amax", "mean", "meanmaxsum"),
    )
    multiplicity: str = structural(
        "deterministic",
        "how the number of muons follows from the primary: deterministic is the "
        "original",
        choices=("deterministic", "negative_binomial"),
    )
    init_weights: str = structural(
        "xavier",
        "first weights: normal, gain 0.5, without bias (xavier), or PyTorch's own",
        choices=("xavier", "torch"),
    )
    rotate_output: bool = structural(
        False, "turn each generated muon around the axis by an angle of its own"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateFlags:
    """How generator and critic are updated; the defaults are those of the original."""

    GROUP: ClassVar = "training"

    train_recipe: str = structural(
        "joint",
        "order of the updates: joint (the original today) or split (its earlier state: "
        "the multiplicity network has a step of its own)",
        choices=("joint", "split"),
    )
    optimizer: str = structural(
        "adam",
        "optimizer of all networks: adam has betas 0, 0.9",
        choices=("adam", "sgd"),
    )
    learning_rate: float = option(1e-4, "learning rate of the networks", minimum=0.0)
    learning_rate_critic: float = option(
        0.0, "learning rate of the critic; 0: --learning_rate", minimum=0.0
    )
    learning_rate_multiplicity: float = option(
        0.0,
        "learning rate of the multiplicity network; 0: --learning_rate",
        minimum=0.0,
    )
    lr_decay_steps: int = structural(
        0,
        "steps over which all learning rates fall to 0 as a cosine; 0: constant",
        unit="steps",
        minimum=0,
    )
    momentum: float = option(
        0.9, "momentum of --optimizer=sgd", minimum=0.0, maximum=1.0
    )
    grad_clip_norm: float = option(
        0.0, "largest norm of the gradient of a network; 0: none", minimum=0.0
    )
    critic_steps: int = structural(1, "updates of the critic per step", minimum=1)
    lambda_gp: float = option(
        10.0,
        "weight of the gradient penalty of the critic; 0: off",
        minimum=0.0,
    )
    gp_mode: str = structural(
        "flat",
        "the gradient penalty is of a muon (flat, the original) or of an event",
        choices=("flat", "event"),
    )
    gp_metric: str = structural(
        "l2",
        "norm of the gradient of an event: l2, or rms (over the root of its pairs "
        "of muons)",
        choices=("l2", "rms"),
    )
    gp_every: int = structural(
        2,
        "updates of the critic from one gradient penalty to the next",
        minimum=0,
    )
    gp_max_pairs: int = structural(
        4096,
        "pairs of a real and a generated muon in a gradient penalty at most; 0: all",
        unit="pairs",
        minimum=0,
    )
    gp_sample_fraction: float = structural(
        0.0,
        "fraction of the pairs of muons that a gradient penalty takes; 0: all",
        minimum=0.0,
        maximum=1.0,
    )
    grad_accum_steps: int = structural(
        1,
        "parts of a batch that are taken one after the other to save memory",
        minimum=1,
    )
    gen_ema_decay: float = structural(
        0.0,
        "decay per step of the averaged weights of the generator; 0: none are kept",
        minimum=0.0,
        maximum=1.0,
    )
    detach_multiplicity: bool = structural(
        False, "keep the critic's gradient out of the multiplicity network"
    )
    adaptive_critic: bool = structural(
        False,
        "change updates of the critic and gradient penalty with the mean gap between "
        "the scores of real and generated events",
    )
    w_ma_low: float = option(
        -5.0, "mean gap below which the critic is updated less often"
    )
    w_ma_high: float = option(
        10.0, "mean gap above which the gradient penalty is smaller"
    )
    critic_steps_min: int = option(
        1, "least updates of the critic of --adaptive_critic", minimum=1
    )
    critic_steps_max: int = structural(
        3,
        "most updates of the critic of --adaptive_critic; never below --critic_steps",
        minimum=1,
    )
    lambda_gp_min: float = option(
        0.0,
        "least weight of the gradient penalty of --adaptive_critic; 0: 1",
        minimum=0.0,
    )
    lambda_gp_max: float = option(
        0.0,
        "largest weight of the penalty of --adaptive_critic; 0: the present one",
        minimum=0.0,
    )
    gp_adapt_factor: float = option(
        1.5,
        "factor by which --adaptive_critic lets the weight of the penalty grow",
        minimum=1.0,
    )
    adaptive_mode: str = option(
        "two_sided",
        "one_sided: --adaptive_critic holds the critic back, and never lets it loose",
        choices=("two_sided", "one_sided"),
    )
    adaptive_interval: int = option(
        1, "steps between two decisions of --adaptive_critic", unit="steps", minimum=1
    )
    fake_counts: str = structural(
        "drawn",
        "numbers of muons of the generated events in training: drawn by the "
        "multiplicity network, or those of the real events of the same primaries",
        choices=("drawn", "real"),
    )
    fake_muon_budget: int = structural(
        0,
        "places for generated muons in a part of a batch; 0: as for real ones",
        unit="muons",
        minimum=0,
    )
    max_fake_per_event: int = structural(
        4096,
        "generated muons of an event in training at most",
        unit="muons",
        minimum=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSettings(NetworkFlags, UpdateFlags):
    """Sizes, variants and recipe of a run; what is not a flag follows from the data.

    Attributes:
        cond_dim: width of a condition, C.
        feat_dim: width of a muon's features, K.
        precision: of the layers; "bfloat16" rounds the operands of their products and
            of those of all gradients; weights, sums, normalisations, losses and
            optimizers are in float32 throughout.
    """

    cond_dim: int = structural(4, "numbers of a condition", minimum=1)
    feat_dim: int = structural(3, "features of a muon", minimum=1)
    precision: str = structural(
        "float32", "arithmetic of the layers", choices=PRECISIONS
    )

    def __post_init__(self) -> None:
        check(self)
        if self.rotate_output and self.feat_dim != 3:
            raise ValueError(
                "--rotate_output: expected 3 features (energy, x, y), got "
                f"{self.feat_dim}"
            )

    def replace(self, **changes: Any) -> "GanSettings":
        """Returns a copy with other values."""
        return dataclasses.replace(self, **changes)

    @property
    def penalised(self) -> bool:
        """Whether a gradient penalty can be part of the critic's loss."""
        return self.lambda_gp > 0 and self.gp_every > 0

    @property
    def layer_dtype(self) -> str | None:
        """Type that the operands of the layers' products are rounded to, or None."""
        return "bfloat16" if self.precision == "bfloat16" else None

    @property
    def normed_critic(self) -> bool:
        """Whether the layers of the critic are followed by a normalisation."""
        return self.score_head != "sqrt_clamp"

    @property
    def decision_widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers after the pooling."""
        return (128,) if self.score_head.startswith("sqrt") else (128, 64)
