"""What a generative model of muon bundles consists of and how it is trained."""

import dataclasses
from typing import Any

SCORE_HEADS = ("ema_tanh", "sqrt_tanh", "sqrt_clamp", "none")
POOLINGS = ("amax", "mean", "meanmaxsum")
MULTIPLICITIES = ("deterministic", "negative_binomial")
RECIPES = ("joint", "split")
OPTIMIZERS = ("adam", "sgd")
GP_MODES = ("flat", "event")
GP_METRICS = ("l2", "rms")
ADAPTIVE_MODES = ("two_sided", "one_sided")
INITS = ("xavier", "torch")
FAKE_COUNTS = ("drawn", "real")
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
_CHOICES = {
    "score_head": SCORE_HEADS,
    "critic_pooling": POOLINGS,
    "multiplicity": MULTIPLICITIES,
    "train_recipe": RECIPES,
    "optimizer": OPTIMIZERS,
    "gp_mode": GP_MODES,
    "gp_metric": GP_METRICS,
    "adaptive_mode": ADAPTIVE_MODES,
    "init_weights": INITS,
    "fake_counts": FAKE_COUNTS,
    "precision": PRECISIONS,
}
_POSITIVE = (
    "cond_dim",
    "feat_dim",
    "latent_dim_global",
    "latent_dim_local",
    "hidden_dim",
    "critic_steps",
    "grad_accum_steps",
    "max_fake_per_event",
    "critic_steps_min",
    "critic_steps_max",
    "adaptive_interval",
)
_NOT_NEGATIVE = (
    "lr",
    "momentum",
    "lr_critic",
    "lr_multiplicity",
    "lr_decay_steps",
    "grad_clip_norm",
    "lambda_gp",
    "gp_every",
    "gp_max_pairs",
    "lambda_gp_min",
    "lambda_gp_max",
    "fake_muon_budget",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSettings:
    """Sizes, variants and recipe; the defaults are those of the original.

    Attributes:
        cond_dim: width of a condition, C.
        feat_dim: width of a muon's features, K.
        latent_dim_global: noise of an event, Zg.
        latent_dim_local: noise of a muon, Zl.
        hidden_dim: width of an event's context, H.
        score_head: what turns the raw score of an event into its score; it also
            chooses the layers of the critic. "none" has the layers of "ema_tanh".
        critic_pooling: how the muons of an event become one vector.
        multiplicity: how the number of muons follows from the condition.
        init_weights: "xavier" (normal, gain 0.5, no bias) or PyTorch's own.
        train_recipe: "joint" or "split" (a step of its own for the multiplicity).
        optimizer: "adam" (betas 0, 0.9) or "sgd".
        lr: learning rate.
        momentum: of sgd.
        lr_critic: of the critic; 0 takes `lr`.
        lr_multiplicity: of the multiplicity network; 0 takes `lr`.
        lr_decay_steps: batches over which all rates fall to 0 as a cosine; 0 is off.
        grad_clip_norm: largest norm of a network's gradient; 0 is off.
        critic_steps: critic updates per batch.
        lambda_gp: weight of the gradient penalty; 0 is off.
        gp_mode: "flat" (a norm per muon) or "event" (one per event).
        gp_metric: of an event: "l2", or "rms" (divided by the root of its pairs).
        gp_every: penalty in every so many critic updates of a batch; 0 is off.
        gp_max_pairs: most pairs of muons in a penalty, of all parts; 0 takes all.
        gp_sample_fraction: part of the pairs that is taken, if within (0, 1).
        grad_accum_steps: G; a batch of D*G parts is taken in G passes of D parts.
        gen_ema_decay: of the averaged generator; 0 is off.
        detach_multiplicity: no adversarial gradient reaches the multiplicity network.
        rotate_output: turn (x, y), columns 1 and 2, of every generated muon by an
            angle of its own.
        adaptive_critic: change critic steps and penalty with the gap of the scores.
        w_ma_low: mean gap below which the critic is held back.
        w_ma_high: mean gap above which it is let loose.
        critic_steps_min: smallest number of critic updates.
        critic_steps_max: upper bound of it; never below `critic_steps`.
        lambda_gp_min: lower bound of the weight; 0: 1.
        lambda_gp_max: upper bound of it; 0: the present weight.
        gp_adapt_factor: by which the weight grows.
        adaptive_mode: "one_sided" never lets the critic loose.
        adaptive_interval: batches between two decisions.
        fake_counts: numbers of muons that generated events have in training: "drawn"
            by the multiplicity network, or those of the "real" events of the same
            conditions. With the latter the mixture of events in a batch is free.
        fake_muon_budget: places for generated muons of a part, F; 0: as many as for
            real ones.
        max_fake_per_event: most muons that an event is given in training.
        precision: of the layers; "bfloat16" rounds the operands of their products and
            of those of all gradients; weights, sums, normalisations, losses and
            optimizers are in float32 throughout.
    """

    cond_dim: int = 4
    feat_dim: int = 3
    latent_dim_global: int = 32
    latent_dim_local: int = 16
    hidden_dim: int = 256
    score_head: str = "ema_tanh"
    critic_pooling: str = "amax"
    multiplicity: str = "deterministic"
    init_weights: str = "xavier"
    train_recipe: str = "joint"
    optimizer: str = "adam"
    lr: float = 1e-4
    momentum: float = 0.9
    lr_critic: float = 0.0
    lr_multiplicity: float = 0.0
    lr_decay_steps: int = 0
    grad_clip_norm: float = 0.0
    critic_steps: int = 1
    lambda_gp: float = 10.0
    gp_mode: str = "flat"
    gp_metric: str = "l2"
    gp_every: int = 2
    gp_max_pairs: int = 4096
    gp_sample_fraction: float = 0.0
    grad_accum_steps: int = 1
    gen_ema_decay: float = 0.0
    detach_multiplicity: bool = False
    rotate_output: bool = False
    adaptive_critic: bool = False
    w_ma_low: float = -5.0
    w_ma_high: float = 10.0
    critic_steps_min: int = 1
    critic_steps_max: int = 3
    lambda_gp_min: float = 0.0
    lambda_gp_max: float = 0.0
    gp_adapt_factor: float = 1.5
    adaptive_mode: str = "two_sided"
    adaptive_interval: int = 1
    fake_counts: str = "drawn"
    fake_muon_budget: int = 0
    max_fake_per_event: int = 4096
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"--{name}: expected one of {', '.join(allowed)}, got {value!r}"
                )
        for names, least in ((_POSITIVE, 1), (_NOT_NEGATIVE, 0)):
            for name in names:
                if not getattr(self, name) >= least:
                    raise ValueError(
                        f"--{name}: expected at least {least}, got "
                        f"{getattr(self, name)}"
                    )
        for name in ("gp_sample_fraction", "gen_ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"--{name}: expected 0 to 1, got {getattr(self, name)}"
                )
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


RECOMMENDED = GanSettings(
    score_head="none",
    critic_pooling="meanmaxsum",
    multiplicity="negative_binomial",
    gp_mode="event",
    gp_every=1,
    critic_steps=2,
    gen_ema_decay=0.999,
    detach_multiplicity=True,
    rotate_output=True,
)
_SGD = GanSettings(optimizer="sgd", momentum=0.5, critic_steps=5)
PUBLISHED = {
    "sgd_nogp_cs5": _SGD.replace(lr=2e-5, lambda_gp=0.0, grad_clip_norm=1e7),
    "sgd_gp_cs5": _SGD.replace(lr=5e-5),
    "adam_gp_cs5": GanSettings(lr=5e-5, critic_steps=5),
    "adam_gp_cs1": GanSettings(),
}
