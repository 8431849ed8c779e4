"""Flags of the graph dynamical network."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.gdynet.analysis.koopman import ESTIMATORS
from jaxphys.gdynet.model.convolution import GAUSSIANS
from jaxphys.gdynet.model.model import NULL_GRADIENTS
from jaxphys.gdynet.physics.neighbours import BACKENDS
from jaxphys.gdynet.training.step import LOBES
from jaxphys.gdynet.training.vamp import LOSSES
from jaxphys.numerics.inverse_sqrt import MODES as VAMP_MODES

MODEL_TYPES = {"gdynet_vanilla": "vanilla", "gdynet_ferro": "ferro"}
CASES = ("A", "B", "C")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
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

    # data
    train_fnames: tuple[str, ...] = option(
        (), "training data: folders of .npy, .npz archives, or the 4 (5) .npy files of "
        "one trajectory in the original's order; instead of --data",
    )  # fmt: skip
    val_fnames: tuple[str, ...] = option((), "validation data, likewise")
    test_fnames: tuple[str, ...] = option((), "test data, likewise")
    train_fraction: float = option(
        0.8, "part of --data for training", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    val_fraction: float = option(
        0.1, "part of --data for validation; what is left is the test, or, if nothing "
        "is, the validation is the test too", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    split_block: int = option(
        0, "frames of a block of time where there are fewer than ten trajectories; 0: "
        "one block each", unit="frames", minimum=0, change="structural",
    )  # fmt: skip
    frame_step: int = option(
        1, "only every n-th frame of a recorded case file", unit="frames", minimum=1,
        change="structural",
    )  # fmt: skip
    trajectories: int = option(
        0, "of a simulated case, or the first ones of a recorded one; 0: all",
        unit="trajectories", minimum=0, change="structural",
    )  # fmt: skip
    frames: int = option(
        0, "of each simulated trajectory; 0: that of the case", unit="frames",
        minimum=0, change="structural",
    )  # fmt: skip
    case: str = option(
        "B", "what simulate makes: A lithium in fcc sulphur, B dipoles of a perovskite "
        "(ferro), C Prinz potential", choices=CASES, change="structural",
    )  # fmt: skip
    barrier: float = option(
        4.0, "of case B", unit="kT", minimum=0.1, change="structural"
    )

    # prepare
    trajectory: str = option("", "prepare: file of ASE, MDAnalysis, or Xie's .npz")
    topology: str = option("", "prepare: its topology, where it needs one")
    target: str = option(
        "", "prepare: atoms whose states are wanted: element:Li, index:0,5,10 or "
        "selection:<MDAnalysis>; empty: those of the file",
    )  # fmt: skip
    directions: str = option(
        "", "prepare: FILE.npy or displacement:<centre>:<ligand>:<k>"
    )
    n_nbrs: int = option(
        20, "neighbours of an atom", unit="1", minimum=1, change="structural"
    )
    radius: str = option("7.0", "prepare: search radius in angstrom, or auto")
    backend: str = option("auto", "prepare: neighbour search", choices=BACKENDS)
    pbc: bool = option(True, "prepare: the cell repeats")
    workers: int = option(2, "prepare: processes", unit="processes", minimum=1)
    check_only: bool = option(False, "prepare: read and validate, write nothing")

    # network
    model_type: str = option(
        "gdynet_vanilla", "ferro sees a direction of each atom",
        choices=tuple(MODEL_TYPES), change="structural",
    )  # fmt: skip
    tau: int = option(
        10, "lag of the training", unit="frames", minimum=1, change="structural"
    )
    stride: int = option(
        1, "train on pairs that begin at every n-th frame", unit="frames", minimum=1,
        change="structural",
    )  # fmt: skip
    cutoff: float = option(
        6.0, "last Gaussian centre", unit="angstrom", minimum=0.1, change="structural"
    )
    num_gaussians: int = option(
        50, "Gaussians of a distance", unit="1", minimum=2, change="structural"
    )
    gaussian: str = option(
        "original", "expansion of distances", choices=GAUSSIANS, change="structural"
    )
    atom_fea_len: int = option(
        64, "width of the atoms' features", unit="1", minimum=1, change="structural"
    )
    n_conv: int = option(
        3, "graph convolutions", unit="1", minimum=0, change="structural"
    )
    state_len: int = option(10, "states", unit="1", minimum=1, change="structural")
    lobes: str = option(
        "separate", "two networks for the two frames, or one", choices=tuple(LOBES),
        change="structural",
    )  # fmt: skip
    bn_momentum: float = option(
        0.1, "weight of the new value in running statistics", unit="1", minimum=0.0,
        maximum=1.0, change="structural",
    )  # fmt: skip
    bn_eps: float = option(
        1e-5, "added to variances", unit="1", minimum=0.0, change="structural"
    )
    null_gradients: str = option(
        "zero", "gradients that are zero in theory", choices=NULL_GRADIENTS,
        change="structural",
    )  # fmt: skip
    remat: bool = option(False, "compute edges twice to save memory")

    # training
    seed: int = option(
        1234, "seed of weights and order", unit="1", minimum=0, change="structural"
    )
    batch_size: int = option(
        32, "pairs of frames per step over all devices", unit="pairs", minimum=1
    )
    eval_batch_size: int = option(
        0, "pairs per step of an evaluation; 0: as --batch_size", unit="pairs",
        minimum=0,
    )  # fmt: skip
    epochs: int = option(
        30, "passes over the data in each phase", unit="rounds", minimum=1,
        change="structural",
    )  # fmt: skip
    loss_schedule: tuple[str, ...] = option(
        ("vamp2", "vamp1", "vamp2"), "loss of each phase: " + ", ".join(LOSSES),
    )  # fmt: skip
    allow_schedule_mismatch: bool = option(
        False, "go on although finished phases had another loss"
    )
    learning_rate: float = option(1e-3, "of Adam", unit="1", minimum=0.0)
    lr_schedule: str = option(
        "constant", "over all phases", choices=("constant", "linear", "cosine"),
        change="structural",
    )  # fmt: skip
    epsilon: float = option(
        1e-6, "eigenvalues of covariances below are left out", unit="1"
    )
    vamp_mode: str = option(
        "trunc", "treatment of eigenvalues", choices=tuple(VAMP_MODES)
    )
    score_loss_scale: float = option(1.0, "factor on the loss", unit="1")
    frequency: int = option(
        1, "keep a checkpoint every so many epochs", unit="rounds", minimum=1
    )
    save_best_only: bool = option(False, "keep only the best and the latest")
    best_rule: str = option(
        "val_vamp2", "which epoch is the best", choices=("val_vamp2", "val_loss")
    )
    device_data_gb: float = option(
        1.0, "--device_data keeps frames on the device up to this size", unit="GB",
        minimum=0.0,
    )  # fmt: skip

    # analysis
    time_unit: float = option(
        0.0, "time from frame to frame; 0: that of the case, or 1", unit="1",
        minimum=0.0,
    )  # fmt: skip
    time_unit_name: str = option("", "its name; empty: that of the case, or frames")
    lags: tuple[int, ...] = option(
        (), "lags of the implied timescales; empty: about 15", unit="frames", minimum=1
    )
    lag_max: int = option(
        0, "longest of them; 0: min(F/10, 20 tau)", unit="frames", minimum=0
    )
    ck_steps: int = option(
        6, "steps of the Chapman-Kolmogorov test, 0 included", unit="1", minimum=2
    )
    koopman: str = option("plain", "estimator", choices=tuple(ESTIMATORS))
    koopman_epsilon: float = option(
        1e-10, "eigenvalues of C0 below are left out", unit="1", minimum=0.0
    )
    error_method: str = option(
        "bootstrap", "errors of timescales", choices=("bootstrap", "split")
    )
    n_bootstrap: int = option(100, "resamples", unit="1", minimum=2)
    n_splits: int = option(2, "parts of --error_method=split", unit="1", minimum=1)
    split_axis: int = option(
        0, "0 splits time, 1 targets", unit="1", minimum=0, maximum=1
    )
    n_macrostates: int = option(
        0,
        "lump the states to so many; 0: one more than there are resolved processes",
        unit="1",
        minimum=0,
    )
    analysis_data: str = option(
        "all", "trajectories that the analysis runs on: those of the run, or the test "
        "part", choices=("all", "test"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.loss_schedule if name not in LOSSES]
        if unknown or not self.loss_schedule:
            raise ValueError(
                f"--loss_schedule={','.join(self.loss_schedule)}: expected a list of "
                f"{', '.join(LOSSES)}"
            )
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
