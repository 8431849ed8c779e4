"""Flags of the track extrapolator."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.nn.mlp import ACTIVATIONS
from jaxphys.track_extrapolator.data.field_files import KINDS
from jaxphys.track_extrapolator.model.model import ARCHITECTURES, architecture
from jaxphys.track_extrapolator.model.parametrisation import NAMES, NEEDS_FIELD
from jaxphys.training.optimizers import NAMES as NAMES_OF_OPTIMIZERS
from jaxphys.training.optimizers import SCHEDULES

LAYOUTS = ("v2", "A", "cpp_colmajor")
FORMATS = (*LAYOUTS, "onnx", "stablehlo")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Everything that a run of the track extrapolator depends on."""

    EXPERIMENT = "track_extrapolator"
    PATHS: ClassVar = (
        *RunConfig.PATHS,
        "train_pairs",
        "field_file",
        "approximate_field_file",
        "import_bin",
    )
    RENAMED: ClassVar = {
        "batch": "--batch_size",
        "lr": "--learning_rate",
        "clip_norm": "--grad_clip_norm",
        "export_weights": "--weights",
        "workers": "--shards",
        "preset": "--flagfile with seed.flags or best.flags",
        "ckpt_dir": "--workdir",
        "best_metric": "fixed (the validation loss)",
        "hidden_layers": "--hidden",
        "epoch": "--epochs",
    }

    dataset: str = option("train", "name of the data set: X_<name>.npy and so on")
    name: str = option("track_mlp", "name of the exported model")
    samples: int = option(
        100_000, "tracks to simulate", unit="tracks", minimum=1, change="structural"
    )
    shards: int = option(
        0,
        "Parquet shards to simulate; 0 writes X_, Y_ and P_<dataset>.npy",
        unit="files",
        minimum=0,
    )
    shard: int = option(
        -1,
        "simulate only this shard (cluster jobs); -1 simulates all that are missing",
        unit="1",
        minimum=-1,
    )
    check_only: bool = option(False, "prepare: read and validate, write nothing")
    train_pairs: str = option(
        "",
        "npz with pairs of states (X_plane, Y_true) to train on instead of --data",
        change="structural",
    )
    train_fraction: float = option(
        0.0, "part of the tracks for training; 0: 0.85, of --train_pairs 0.72",
        unit="1", minimum=0.0, maximum=1.0, change="structural",
    )  # fmt: skip
    val_fraction: float = option(
        0.0, "part of the tracks for validation, the rest is the test; 0: 0.10, of "
        "--train_pairs 0.08", unit="1", minimum=0.0, maximum=1.0, change="structural",
    )  # fmt: skip

    field: str = option(
        "gauss_seed", "field of the truth", choices=KINDS, change="structural"
    )
    field_file: str = option(
        "", "map of a grid or multipole field", change="structural"
    )
    polarity: float = option(
        1.0, "factor on all components of the field", unit="1", change="structural"
    )
    approximate_field: str = option(
        "",
        "field that born and map use: a kind, or empty for the field of the truth",
        change="structural",
    )
    approximate_field_file: str = option("", "its map", change="structural")
    z_in: float = option(3000.0, "entry plane", unit="mm", change="structural")
    z_out: float = option(7000.0, "exit plane", unit="mm", change="structural")
    dz_mode: str = option(
        "fixed",
        "fixed planes, or z_in and the distance drawn uniformly (then both are inputs)",
        choices=("fixed", "uniform"),
        change="structural",
    )
    dz_min: float = option(
        2000.0, "least distance of --dz_mode=uniform", unit="mm", change="structural"
    )
    dz_max: float = option(
        6000.0, "largest distance of --dz_mode=uniform", unit="mm", change="structural"
    )
    z_in_min: float = option(
        2500.0, "least z_in of --dz_mode=uniform", unit="mm", change="structural"
    )
    z_in_max: float = option(
        3500.0, "largest z_in of --dz_mode=uniform", unit="mm", change="structural"
    )
    x_max: float = option(
        900.0, "x is drawn uniformly in +-", unit="mm", minimum=0.0, change="structural"
    )
    y_max: float = option(
        750.0, "y is drawn uniformly in +-", unit="mm", minimum=0.0, change="structural"
    )
    tx_max: float = option(
        0.3, "tx is drawn uniformly in +-", unit="1", minimum=0.0, change="structural"
    )
    ty_max: float = option(
        0.25, "ty is drawn uniformly in +-", unit="1", minimum=0.0, change="structural"
    )
    p_min: float = option(
        2.0,
        "least momentum; ln p is uniform",
        unit="GeV",
        minimum=1e-3,
        change="structural",
    )
    p_max: float = option(
        100.0, "largest momentum", unit="GeV", minimum=1e-3, change="structural"
    )
    step_mm: float = option(
        10.0, "step of the truth", unit="mm", minimum=1e-3, change="structural"
    )
    integrator: str = option(
        "rk4",
        "integrator of the truth; all but rk4 are adaptive and need the extra ode",
        choices=("rk4", "dopri5", "tsit5", "cashkarp"),
        change="structural",
    )
    dtype: str = option(
        "float64",
        "arithmetic of the truth",
        choices=("float64", "float32"),
        change="structural",
    )

    model: str = option(
        "medium",
        "network: " + ", ".join(ARCHITECTURES) + ", custom",
        change="structural",
    )
    hidden: tuple[int, ...] = option(
        (), "widths of --model=custom; none is a linear model", unit="1", minimum=1,
        change="structural",
    )  # fmt: skip
    activation: str = option(
        "silu", "activation", choices=tuple(ACTIVATIONS), change="structural"
    )
    parametrisation: str = option(
        "kick", "what the network predicts", choices=NAMES, change="structural"
    )
    use_dz: bool = option(
        False,
        "feed the constant dz as sixth input, as the original",
        change="structural",
    )
    map_step_mm: float = option(
        100.0, "RK4 step of --parametrisation=map", unit="mm", minimum=1.0,
        change="structural",
    )  # fmt: skip

    epochs: int = option(
        600, "passes over the training tracks", unit="rounds", minimum=0,
        change="extendable",
    )  # fmt: skip
    optimizer: str = option(
        "adamw", "optimizer", choices=NAMES_OF_OPTIMIZERS, change="structural"
    )
    betas: tuple[float, ...] = option(
        (0.9, 0.999), "decay rates of Adam's two means", unit="1", minimum=0.0,
        maximum=1.0, change="structural",
    )  # fmt: skip
    learning_rate: float = option(
        0.004, "largest learning rate", unit="1", minimum=0.0, change="structural"
    )
    schedule: str = option(
        "cosine",
        "learning rate: cosine and linear fall to 0 at the last epoch, plateau halves",
        choices=SCHEDULES,
        change="structural",
    )
    warmup_steps: int = option(
        500, "linear rise, at most 5% of all steps", unit="steps", minimum=0,
        change="structural",
    )  # fmt: skip
    patience: int = option(
        100, "evaluations before plateau halves the rate", unit="rounds", minimum=0,
        change="structural",
    )  # fmt: skip
    loss: str = option(
        "normalised",
        "normalised targets, or raw (mm and rad mixed, as the original)",
        choices=("normalised", "raw"),
        change="structural",
    )
    weight_decay: float = option(
        1e-5, "decoupled weight decay", unit="1", minimum=0.0, change="structural"
    )
    grad_clip_norm: float = option(
        0.0, "largest gradient norm; 0 is off", unit="1", minimum=0.0,
        change="structural",
    )  # fmt: skip
    momentum_weight: float = option(
        0.0, "loss weight of a track proportional to |q/p| to this power", unit="1",
        minimum=0.0, change="structural",
    )  # fmt: skip
    jacobian_weight: float = option(
        0.0, "weight of the error of the derivatives; 0 is off", unit="1", minimum=0.0,
        change="structural",
    )  # fmt: skip
    ema_decay: float = option(
        0.0, "decay per step of averaged weights; 0 is off", unit="1", minimum=0.0,
        maximum=1.0, change="structural",
    )  # fmt: skip
    online_data: bool = option(
        False, "fresh tracks in every epoch (100 mm steps)", change="structural"
    )
    formats: tuple[str, ...] = option(
        ("v2",), "files that export writes: " + ", ".join(FORMATS)
    )
    import_bin: str = option("", "start from the weights in this .bin file")
    report_batches: tuple[int, ...] = option(
        (1, 1000, 100_000), "batch sizes at which the report times every method",
        unit="tracks", minimum=1,
    )  # fmt: skip
    report_jacobians: int = option(
        500, "tracks on which Jacobians are compared", unit="tracks", minimum=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        architecture(self.model, self.hidden)
        if self.hidden and self.model != "custom":
            raise ValueError(
                f"--hidden={','.join(map(str, self.hidden))} goes with --model=custom, "
                f"got --model={self.model}"
            )
        if not self.report_batches:
            raise ValueError("--report_batches: expected at least one batch size")
        if not self.name or set(self.name) & set("/\\"):
            raise ValueError(f"--name={self.name!r}: expected a name without slashes")
        if self.polarity == 0:
            raise ValueError("--polarity=0: there would be no field")
        if len(self.betas) != 2:
            raise ValueError(f"--betas={self.betas}: expected two numbers")
        unknown = set(self.formats) - set(FORMATS)
        if unknown:
            bad = ", ".join(sorted(unknown))
            raise ValueError(f"--formats: {bad}: expected {', '.join(FORMATS)}")
        if self.approximate_field and self.approximate_field not in KINDS:
            raise ValueError(
                f"--approximate_field={self.approximate_field!r}: expected one of "
                f"{', '.join(KINDS)}"
            )
        self._check_ranges()
        self._check_combinations()

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run in the names of today."""
        return super().translate({"data_seed": saved.get("seed", "0"), **saved})

    @property
    def fractions(self) -> tuple[float, float]:
        """Parts of the tracks that train and validate."""
        train, val = (0.72, 0.08) if self.train_pairs else (0.85, 0.10)
        return self.train_fraction or train, self.val_fraction or val

    def _check_ranges(self) -> None:
        for low, high in (
            ("p_min", "p_max"),
            ("dz_min", "dz_max"),
            ("z_in_min", "z_in_max"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"--{low}={getattr(self, low)} is above --{high}="
                    f"{getattr(self, high)}"
                )
        if sum(self.fractions) >= 1:
            raise ValueError(
                f"--train_fraction={self.train_fraction}, --val_fraction="
                f"{self.val_fraction}: leave no tracks for the test"
            )
        if self.z_in == self.z_out:
            raise ValueError(f"--z_in and --z_out are both {self.z_in} mm")
        if self.shards and self.shard >= self.shards:
            raise ValueError(f"--shard={self.shard}: there are --shards={self.shards}")
        if self.shard >= 0 and not self.shards:
            raise ValueError(f"--shard={self.shard} needs --shards")

    def _check_combinations(self) -> None:
        if self.loss == "raw" and self.parametrisation != "absolute":
            raise ValueError("--loss=raw goes with --parametrisation=absolute only")
        if self.jacobian_weight and (
            self.loss == "raw" or self.train_pairs or self.dz_mode == "uniform"
        ):
            raise ValueError(
                "--jacobian_weight needs --loss=normalised, fixed planes and a field"
            )
        if self.online_data and (self.train_pairs or self.jacobian_weight):
            raise ValueError(
                "--online_data goes neither with --train_pairs nor --jacobian_weight"
            )
        needs_field = self.parametrisation in NEEDS_FIELD
        if needs_field and self.train_pairs and not self.approximate_field:
            raise ValueError(
                f"--parametrisation={self.parametrisation} with --train_pairs "
                "needs --approximate_field"
            )

    def check_extension(self, saved: RunConfig) -> None:
        """Refuses more epochs under a schedule that has ended with the old ones."""
        falls = self.schedule in ("cosine", "linear")
        if falls and isinstance(saved, Config) and self.epochs != saved.epochs:
            raise ValueError(
                f"--epochs: was {saved.epochs}, now {self.epochs}: a {self.schedule} "
                "schedule ends with the last epoch and cannot be extended; use another "
                "--workdir (--init_from starts from the old weights)"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return architecture(self.model, self.hidden)
