"""Flags of the track extrapolator."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig
from jaxphys.track_extrapolator.analysis.settings import EvaluationFlags
from jaxphys.track_extrapolator.data.settings import FieldFlags, TrackFlags
from jaxphys.track_extrapolator.model.model import architecture
from jaxphys.track_extrapolator.model.parametrisation import NEEDS_FIELD
from jaxphys.track_extrapolator.model.settings import NetworkFlags
from jaxphys.track_extrapolator.training.settings import TrainingFlags


@dataclasses.dataclass(frozen=True)
class Config(
    RunConfig, TrackFlags, FieldFlags, NetworkFlags, TrainingFlags, EvaluationFlags
):
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
