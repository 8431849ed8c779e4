"""Flags of the graph dynamical network."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.gdynet.analysis.analysis import AnalysisSettings
from jaxphys.gdynet.data.settings import FrameFlags, PreparationFlags
from jaxphys.gdynet.model.settings import MODEL_TYPES, NetworkFlags
from jaxphys.gdynet.training.settings import TrainingFlags
from jaxphys.options import structural


@dataclasses.dataclass(frozen=True)
class Config(
    RunConfig,
    FrameFlags,
    PreparationFlags,
    NetworkFlags,
    TrainingFlags,
    AnalysisSettings,
):
    """Everything that a run of the graph dynamical network depends on."""

    EXPERIMENT = "gdynet"
    PATHS: ClassVar = (
        *RunConfig.PATHS,
        "train_fnames",
        "val_fnames",
        "test_fnames",
    )
    DATA: ClassVar = ("data", "test_fnames")
    PREDICTED: ClassVar = ("data", "test_fnames", "trajectory")
    RENAMED: ClassVar = {
        "output_dir": "--workdir",
        "config": "--flagfile",
        "checkpoint": "--workdir, --resume",
        "torch_compile": "always on (everything is compiled)",
        "compile_mode": "always on (everything is compiled)",
        "torchscript": "--mode=export",
        "mixed_precision": "--precision=bfloat16",
        "lr": "--learning_rate",
        "split": "--train_fraction, --val_fraction",
        "generate": "--mode=simulate",
        "analyze": "--mode=evaluate",
        "preprocess": "--mode=prepare",
        "preset": "--flagfile with seed.flags or best.flags",
    }

    seed: int = structural(1234, "seed of first weights and order", minimum=0)
    batch_size: int = option(
        32, "pairs of frames per step over all devices", unit="pairs", minimum=1
    )
    time_unit: float = option(
        0.0,
        "time from frame to frame in --time_unit_name; 0: that of the case, or 1",
        minimum=0.0,
        group="evaluation",
    )
    time_unit_name: str = option(
        "",
        "name of the unit of time; empty: that of the case, or frames",
        group="evaluation",
    )
    analysis_data: str = option(
        "all",
        "trajectories that the analysis runs on: all of the run, or the test part",
        choices=("all", "test"),
        group="evaluation",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.loss_schedule:
            raise ValueError("--loss_schedule: expected the loss of one phase at least")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"--epsilon={self.epsilon}: expected between 0 and 1")
        if self.train_fnames and self.data:
            raise ValueError("--data and --train_fnames are given both")
        if (self.val_fnames or self.test_fnames) and not self.train_fnames:
            raise ValueError("--val_fnames, --test_fnames need --train_fnames")
        if self.train_fnames and not self.val_fnames:
            raise ValueError("--train_fnames needs --val_fnames")
        rest = 1 - self.train_fraction - self.val_fraction
        if min(self.train_fraction, self.val_fraction) <= 0 or rest < -1e-9:
            raise ValueError(
                f"--train_fraction={self.train_fraction}, --val_fraction="
                f"{self.val_fraction}: expected positive parts of a whole"
            )
        self.search_radius()

    @property
    def fractions(self) -> tuple[float, ...]:
        """Parts of --data: training, validation and, where one is left, test."""
        parts = self.train_fraction, self.val_fraction
        rest = round(1 - sum(parts), 12)
        return (*parts, rest) if rest else parts

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run in the names of today."""
        saved = {"split_seed": saved.get("data_seed", "0"), **saved}
        if "split" in saved:
            parts = saved.pop("split").split(",")
            saved |= {"train_fraction": parts[0], "val_fraction": parts[1]}
        return super().translate(saved)

    def search_radius(self) -> float | str:
        """Returns --radius as a number of angstrom, or "auto"."""
        if self.radius == "auto":
            return "auto"
        try:
            value = float(self.radius)
        except ValueError:
            value = 0.0
        if not value > 0:
            raise ValueError(
                f"--radius={self.radius}: expected angstrom above 0, or auto"
            )
        return value

    @property
    def ferro(self) -> bool:
        """Whether directions are needed."""
        return MODEL_TYPES[self.model_type] == "ferro"

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases."""
        return self.epochs * len(self.loss_schedule)

    def check_extension(self, saved: Any) -> None:
        """Refuses a learning rate that has ended with the old schedule."""
        longer = saved.loss_schedule != self.loss_schedule
        if longer and self.lr_schedule != "constant":
            raise ValueError(
                f"--loss_schedule: was {_listed(saved.loss_schedule)}, now "
                f"{_listed(self.loss_schedule)}: --lr_schedule={self.lr_schedule} ends "
                "with the last phase and cannot be extended"
            )


def _listed(names: Sequence[str]) -> str:
    return ",".join(names)
