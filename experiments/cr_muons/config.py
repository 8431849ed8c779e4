"""Flags of the generator of muon bundles."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.cr_muons.analysis.settings import EvaluationFlags
from jaxphys.cr_muons.batches.settings import BatchFlags
from jaxphys.cr_muons.data.settings import SourceFlags
from jaxphys.cr_muons.model.settings import (
    PRECISIONS,
    GanSettings,
    NetworkFlags,
    UpdateFlags,
)
from jaxphys.options import part_of, structural, without

_COMPILED = "everything is compiled"
_PROCESSES = "one process per host; see --multihost"


@dataclasses.dataclass(frozen=True)
class Config(
    RunConfig, SourceFlags, BatchFlags, NetworkFlags, UpdateFlags, EvaluationFlags
):
    """Everything that a run of the muon generator depends on."""

    EXPERIMENT = "cr_muons"
    PATHS: ClassVar = (
        *RunConfig.PATHS,
        "infiles",
        "compare",
        "extra_data",
        "reference",
        "outliers_dir",
        "prefetch_dir",
    )
    DATA: ClassVar = ("data", "infiles")
    PRECISIONS: ClassVar = PRECISIONS  # noise and normalisation are in float32
    RENAMED: ClassVar = {
        "lr": "--learning_rate",
        "num_workers": "--read_threads",
        "shuffle_seed": "--seed",
        "shower_seed": "--data_seed",
        "report_seed": "--data_seed of simulated --data for --mode=evaluate",
        "critic_step": "--critic_steps",
        "device": "the environment variable JAX_PLATFORMS",
        "checkpoint": "--workdir, --resume",
        "model_checkpoint": "--workdir, --resume",
        "checkpoint_dir": "--workdir",
        "checkpoint_io": "--workdir",
        "checkpoint_interval": "--checkpoint_every",
        "allow_tf32": "--precision=tensorfloat32",
        "log_interval": "--eval_every",
        "tb_logdir": "--workdir",
        "tb_run_name": "--workdir",
        "tb_log_interval": "--eval_every",
        "tb_hist_interval": "--eval_every",
        "tb_sync_to": "a copy of --workdir by the tool of your site",
        "tb_sync_interval": "a copy of --workdir by the tool of your site",
        "tb_io": "a copy of --workdir by the tool of your site",
        "detect_anomaly": "the environment variable JAX_DEBUG_NANS",
        "profile_steps": "jax.profiler around a call of your own",
        "print_file_contents": "--mode=prepare --check_only",
        "preflight_muon_threshold": "--max_muons_per_event",
        "val_interval": "--eval_every",
        "make_data": "--mode=simulate",
        "generate": "--mode=predict",
        "preset": "--flagfile with seed.flags or best.flags",
        "input": "--data",
    }
    NO_EFFECT: ClassVar = {
        "use_hf": "the reader is our own",
        "parquet_batch_reader": "whole batches are always read",
        "persistent_workers": _PROCESSES,
        "pin_memory": _PROCESSES,
        "prefetch_factor": _PROCESSES,
        "dist_backend": _PROCESSES,
        "cuda_empty_cache_interval": "memory is not returned in between",
        "cuda_empty_cache_threshold_mib": "memory is not returned in between",
        "torch_compile": _COMPILED,
        "torch_compile_gen": _COMPILED,
        "torch_compile_critic": _COMPILED,
        "denormalize": "physical units are always written",
        "cond_dim": "a condition has four numbers",
    }

    batch_size: int = structural(
        1024, "events per step over all devices", unit="events", minimum=1
    )
    epochs: int = option(
        1, "passes over the data", unit="rounds", minimum=1, change="extendable"
    )
    train_steps: int = option(
        0,
        "end of the training at the first evaluation after so many steps; 0: --epochs",
        unit="steps",
        minimum=0,
        change="extendable",
    )
    eval_every: str = option(
        "500 steps", "interval of evaluations: a number and steps or rounds"
    )
    multiplicity_epochs: int = structural(
        0,
        "epochs in which the multiplicity network is trained alone, on all events; it "
        "then stays as it is (needs --detach_multiplicity); 0: all from the start",
        unit="rounds",
        minimum=0,
    )
    gen_ema_decay: float = structural(
        0.999,
        "decay per step of the averaged weights of the generator; 0: none are kept",
        minimum=0.0,
        maximum=1.0,
    )
    data_seed: int = structural(
        1,
        "seed of simulated events; a report without --data simulates others, by this "
        "seed plus 99",
        minimum=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.infiles and self.data:
            raise ValueError("--data and --infiles are given both")
        if self.multiplicity_epochs and not self.detach_multiplicity:
            raise ValueError("--multiplicity_epochs: needs --detach_multiplicity")
        number, _, unit = self.eval_every.partition(" ")
        if self.multiplicity_epochs and (
            not unit.startswith("round") or self.multiplicity_epochs % int(number)
        ):
            raise ValueError(
                f"--multiplicity_epochs={self.multiplicity_epochs}: ends with an "
                f"evaluation: --eval_every={self.eval_every} must divide it, in rounds"
            )
        if self.thin_above and self.fake_counts != "real":
            raise ValueError(
                "--thin_above: needs --fake_counts=real, else generated events have "
                "other numbers of muons than the real ones"
            )
        self.settings()

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run in the names of today."""
        if "num_workers" in saved:
            saved = {**saved, "num_workers": str(max(int(saved["num_workers"]), 1))}
        # what the seeds of today give; another value then is told
        order = str(42 + int(saved.get("seed", "0")))
        report = str(99 + int(saved.get("data_seed", "1")))
        dropped = ("shuffle_seed", "shower_seed", "report_seed", "cond_dim")
        return super().translate(without(saved, dropped, (order, "0", report, "4")))

    def settings(self) -> GanSettings:
        """Returns the networks and their training that the flags describe.

        Raises:
          ValueError: settings that do not go together, naming them.
        """
        made = {
            **dataclasses.asdict(part_of(self, NetworkFlags)),
            **dataclasses.asdict(part_of(self, UpdateFlags)),
        }
        features = 2 if self.feature_norm == "log_radius" else 3
        return GanSettings(**made, feat_dim=features, precision=self.precision)

    @property
    def sources(self) -> tuple[str, ...]:
        """Files, patterns, folders or addresses that the flags name."""
        return self.infiles or ((self.data,) if self.data else ())
