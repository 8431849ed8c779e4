"""Flags of the track finder."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig
from jaxphys.hypertrack.analysis.settings import EvaluationFlags
from jaxphys.hypertrack.data.settings import EventFlags, ReductionFlags
from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.model.settings import NetFlags
from jaxphys.hypertrack.model.voxel_training import AUGMENTS, VoxelSettings
from jaxphys.hypertrack.training.settings import LossFlags, ScheduleFlags
from jaxphys.options import structural, without

ORIGINAL_SEED = 12345
_FLOW = ("learning_rate_pdf", "weight_decay_pdf_w", "weight_decay_pdf_b", "epsilon_pdf")


@dataclasses.dataclass(frozen=True)
class Config(
    RunConfig,
    EventFlags,
    ReductionFlags,
    VoxelSettings,
    NetFlags,
    LossFlags,
    ScheduleFlags,
    ClusterSettings,
    EvaluationFlags,
):
    """Everything that a run of the track finder depends on."""

    EXPERIMENT = "hypertrack"
    MODES: ClassVar = (*RunConfig.MODES, "voxels")
    WITHOUT_RUN: ClassVar = (*RunConfig.WITHOUT_RUN, "voxels")
    PRECISIONS: ClassVar = RunConfig.PRECISIONS[:3]  # float64: not of the graphs
    PATHS: ClassVar = (
        *RunConfig.PATHS, "voxdyn", "voxel_data", "val_data", "extra_data", "compare",
    )  # fmt: skip
    DATA: ClassVar = ("data", "val_data")
    RANGES: ClassVar = ("event_val_start", "event_val_end")
    RENAMED: ClassVar = {
        "path": "--data",
        "epoch": "--resume",
        "save_period": "--checkpoint_every",
        "transfer_tag": "--init_from, the --workdir of another run",
        "soft_reset": "--init_from, which always begins a new optimizer",
        "save_tag": "--workdir",
        "read_tag": "--workdir",
        "out_tag": "--output",
        "device": "the environment variable JAX_PLATFORMS",
        "fp_dtype": "--precision",
        "param": "--net and the flags of its sizes",
        "pre_only": "--mode=voxels",
        "validate": "--eval_every",
        "max_iterations": "--iterations",
        "lr": "--learning_rate",
        "max_grad_norm": "--grad_clip_norm",
        "random_seed": "--seed",
        "split": "--voxel_fraction, --train_fraction, --val_fraction",
        "generate": "--mode=simulate",
        "process": "--mode=prepare",
        "preset": "--flagfile with seed.flags or best.flags",
        "debug": "--traceback",
    }
    NO_EFFECT: ClassVar = {
        "empty_cache": "memory is not returned in between",
        "maxbuffer": "memory follows the number of edges",
        "compile": "everything is compiled",
        **dict.fromkeys(_FLOW, "an experimental part of the original, off there too"),
        "compile_cache": "set JAX_COMPILATION_CACHE_DIR",
        "max_points_per_centroid": "every point is used",
        "min_points_per_centroid": "every point is used",
    }

    batch_size: int = structural(
        1, "graphs per step over all devices", unit="graphs", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rfactor_start > self.rfactor_end:
            raise ValueError(
                f"--rfactor_start={self.rfactor_start}: is above "
                f"--rfactor_end={self.rfactor_end}"
            )
        if self.augment not in AUGMENTS:
            raise ValueError(f"--augment={self.augment}: expected 1 or 8")
        if sum(self.fractions) > 1 + 1e-9:
            raise ValueError(
                f"--voxel_fraction={self.voxel_fraction}, --train_fraction="
                f"{self.train_fraction}, --val_fraction={self.val_fraction}: are more "
                "than the whole"
            )
        for name in ("event", "event_val", "voxel_event", "predict"):
            sizes = [len(getattr(self, f"{name}_{end}")) for end in ("start", "end")]
            if sizes[0] != sizes[1]:
                words = f"{sizes[0]} and {sizes[1]} values"
                raise ValueError(f"--{name}_start, --{name}_end: {words}")
        sizes = (self.node_buckets, self.edge_buckets, self.track_buckets)
        if len({len(size) for size in sizes}) != 1:
            raise ValueError(
                "--node_buckets, --edge_buckets, --track_buckets: not as many of each"
            )
        if self.node2node != "hyper" and self.cluster != "none":
            raise ValueError(
                f"--node2node={self.node2node}: tracks are found in hyper graphs only: "
                "--cluster=none"
            )

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run in the names of today."""
        saved = {
            "data_seed": saved.get("seed", "0"),
            "read_threads": saved.get("workers", "1"),
            **saved,
        }
        saved["workers"] = str(max(int(saved.get("workers", "1")), 1))
        if "split" in saved:
            names = ("voxel_fraction", "train_fraction", "val_fraction")
            saved |= dict(zip(names, saved.pop("split").split(","), strict=True))
        own = str(ORIGINAL_SEED + int(saved.get("seed", "0")))
        return super().translate(without(saved, ("random_seed",), (own,)))

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Parts of --data that train voxels, train the net and validate."""
        return self.voxel_fraction, self.train_fraction, self.val_fraction

    @property
    def draw_seed(self) -> int:
        """Seed of events, particles, noise and voxels: the original's plus --seed."""
        return ORIGINAL_SEED + self.seed

    @property
    def eval_rfactor(self) -> float:
        """Fraction of the particles in evaluations."""
        return self.rfactor or self.rfactor_end

    @property
    def trains_transformer(self) -> bool:
        """Whether there is a joint phase."""
        return self.cluster == "transformer"
