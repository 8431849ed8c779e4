"""Flags of the generator of muon bundles."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.cr_muons.data.writers import PREDICTION_SCHEMAS
from jaxphys.cr_muons.model.settings import (
    PRECISIONS,
    GanSettings,
    NetworkFlags,
    UpdateFlags,
)
from jaxphys.cr_muons.physics.normalise import FEATURE_NORMS
from jaxphys.options import part_of, structural, without

_COMPILED = "everything is compiled"
_PROCESSES = "one process per host; see --multihost"


@dataclasses.dataclass(frozen=True)
class Config(RunConfig, NetworkFlags, UpdateFlags):
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

    # training
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
        "500 steps", "evaluation interval: a number and steps or rounds"
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
        unit="1",
        minimum=0.0,
        maximum=1.0,
    )

    # data
    infiles: tuple[str, ...] = option(
        (), "several files, patterns, folders or addresses; instead of --data",
    )  # fmt: skip
    drop_empty_events: bool = option(
        False, "train on events with muons only", change="structural"
    )
    thin_above: int = option(
        0, "train on an event of N muons with probability thin_above / N, for "
        "--fake_counts=real; 0: on all", unit="muons", minimum=0, change="structural",
    )  # fmt: skip
    max_muons_per_event: int = option(
        0, "training: events with more are set aside (--outliers_dir); predict: cap; "
        "0: none", unit="muons", minimum=0, change="structural",
    )  # fmt: skip
    max_muons_per_batch: int = option(
        0, "largest number of muons of a batch; where --max_muons_per_event is 0, also "
        "of an event; 0: as many as the batches need", unit="muons", minimum=0,
        change="structural",
    )  # fmt: skip
    outliers_dir: str = option(
        "", "folder for the events that were set aside, in the training schema"
    )
    muon_budget: int = option(
        0, "places for muons in a batch; 0: from the data", unit="muons", minimum=0,
        change="structural",
    )  # fmt: skip
    parts: int = option(
        0, "parts that a batch is packed in, each on one device; a multiple of the "
        "devices times --grad_accum_steps; 0: just these", unit="1", minimum=0,
        change="structural",
    )  # fmt: skip
    skip_bad_rows: bool = option(
        False, "leave rows with impossible numbers out and write them to "
        "bad_rows.parquet in the workdir, instead of refusing the file",
        change="structural",
    )  # fmt: skip
    shuffle: bool = option(
        False, "new order of the events in every epoch", change="structural"
    )
    shuffle_window: int = option(
        0, "events that are shuffled together; 0: a file", unit="events", minimum=0,
        change="structural",
    )  # fmt: skip
    multi_file_shuffle: int = option(
        0, "files that are read in turn, a reader batch each", unit="files", minimum=0,
        change="structural",
    )  # fmt: skip
    prefetch_batches: int = option(
        2, "row groups that are decoded ahead", unit="row groups", minimum=0
    )
    read_threads: int = option(1, "threads that decode", unit="threads", minimum=1)
    val_fraction: float = option(
        0.05, "showers that choose the best weights, by a hash of their number",
        unit="1", minimum=0.0, maximum=0.5, change="structural",
    )  # fmt: skip
    val_events: int = option(
        20_000, "validation events that an evaluation uses at most", unit="events",
        minimum=1, change="structural",
    )  # fmt: skip
    depth_kind: str = option(
        "vertical", "what the depth column holds", choices=("vertical", "slant"),
        change="structural",
    )  # fmt: skip
    feature_norm: str = option(
        "original", "features: the original's fixed scales, standardized by the data, "
        "or log10 of energy and radius standardized (log_radius)",
        choices=FEATURE_NORMS, change="structural",
    )  # fmt: skip
    rotate_augment: bool = option(
        False, "turn each event by a random angle", change="structural"
    )
    memory_cache_mb: int = option(
        0, "remote files kept in memory", unit="MB", minimum=0
    )
    prefetch_dir: str = option("", "folder for copies of remote files")
    prefetch_delete_after_use: bool = option(False, "delete such a copy after use")
    prefetch_max_files: int = option(
        0, "copies kept at most; 0: all", unit="files", minimum=0
    )
    prefetch_ahead: int = option(
        0, "files that are fetched ahead", unit="files", minimum=0
    )
    federation_url: str = option("", "of pelican:// addresses (extra remote)")
    token: str = option("", "file with the token for pelican:// addresses")
    check_only: bool = option(False, "prepare: read and validate, write nothing")
    print_max_events: int = option(
        5, "events that --check_only shows", unit="events", minimum=0
    )
    depths: tuple[float, ...] = option(
        (2650.0, 2700.0, 2750.0, 2800.0), "prepare: vertical depths to which surface "
        "showers (CORSIKA) are carried", unit="m", minimum=0.0,
    )  # fmt: skip

    # simulation
    n_showers: int = option(
        20_000, "showers to simulate", unit="showers", minimum=1, change="structural"
    )
    n_depths: int = option(
        10, "depths of each", unit="depths", minimum=1, maximum=100,
        change="structural",
    )  # fmt: skip
    spectrum: str = option(
        "default", "primaries: 10^4 to 10^7.5 GeV, or nearly all empty as in the "
        "published training", choices=("default", "published_like"),
        change="structural",
    )  # fmt: skip
    data_seed: int = option(
        1, "seed of simulated events; the report simulates others to compare with",
        unit="1", minimum=0, change="structural",
    )  # fmt: skip

    # report and prediction
    report_events: int = option(
        100_000, "held-out events that the report compares", unit="events", minimum=100
    )
    best_by: str = option(
        "w1_sum", "which figure of the validation the best weights have least: summed "
        "Wasserstein distances, or area of a classifier, true against generated",
        choices=("w1_sum", "classifier_auc"), change="structural",
    )  # fmt: skip
    compare: tuple[str, ...] = option(
        (), "workdirs of other runs that the report sets beside this one"
    )
    extra_data: tuple[str, ...] = option(
        (), "further data, with its own truth, that the report compares with"
    )
    reference: str = option(
        "",
        "CSV with multiplicities, radii and energies of single muons at depths and "
        "zenith angles, that the report compares with",
    )
    baseline: bool = option(True, "train the regression baseline for the report")
    counts_mode: str = option(
        "predict", "predict: where the number of muons comes from",
        choices=("predict", "column", "constant"),
    )  # fmt: skip
    counts_column: str = option("", "predict: its column")
    count_constant: int = option(0, "predict: the number", unit="muons", minimum=0)
    output_schema: str = option(
        "flat", "predict: a row per muon as the original, or the training schema",
        choices=PREDICTION_SCHEMAS,
    )  # fmt: skip

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
        dropped = ("shuffle_seed", "shower_seed", "report_seed", "cond_dim")
        return super().translate(without(saved, dropped, ("42", "0", "100", "4")))

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
