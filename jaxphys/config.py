"""One frozen dataclass per experiment: the flags that all have in common.

A field of a configuration is declared with `option`. From that one declaration
come the absl flag with its help, the checks, the line in ``config.flags`` and what
may change when a run is resumed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxphys.options import check, declared, option

PRECISIONS = ("float32", "tensorfloat32", "bfloat16", "float64")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Flags with one meaning in every experiment; experiments add their own.

    Class attributes:
      EXPERIMENT: name of the experiment, written into ``config.flags``.
      MODES: the modes that it offers.
      WITHOUT_RUN: those that neither begin a run nor need one.
      RENAMED: flags of the original program, or of this one earlier, that have another
        name here; a saved run's are translated where the name is a flag.
      PATHS: flags that name files a run needs again, kept as absolute paths.
      NO_EFFECT: flags of the original program that are accepted and dropped, with
        the reason.
      DATA: flags that name data; given with --mode=evaluate, all of these are unseen.
      PREDICTED: flags that name what --mode=predict reads.
      RANGES: flags that choose from DATA or PREDICTED, and go with them.
      PRECISIONS: what --precision may be.
    """

    EXPERIMENT: ClassVar[str] = ""
    MODES: ClassVar[tuple[str, ...]] = (
        *("train", "evaluate", "predict"),
        *("simulate", "prepare", "export"),
    )
    WITHOUT_RUN: ClassVar[tuple[str, ...]] = ("simulate", "prepare")
    RENAMED: ClassVar[Mapping[str, str]] = {}
    NO_EFFECT: ClassVar[Mapping[str, str]] = {}
    PATHS: ClassVar[tuple[str, ...]] = ("data", "init_from")
    DATA: ClassVar[tuple[str, ...]] = ("data",)
    PREDICTED: ClassVar[tuple[str, ...]] = ("data",)
    RANGES: ClassVar[tuple[str, ...]] = ()
    PRECISIONS: ClassVar[tuple[str, ...]] = PRECISIONS

    mode: str = option(
        "train", "what to do; the README of the experiment has a table of the modes"
    )
    workdir: str = option(
        "", "folder of the run; all that belongs to the run lies inside it"
    )
    data: str = option(
        "",
        "files or folder of the input; empty: default data are simulated first",
        group="data",
    )
    output: str = option(
        "",
        "where predict, simulate, evaluate, prepare and export write; empty: inside "
        "--workdir",
    )
    resume: str = option(
        "auto",
        "checkpoint to go on from: auto (the latest one if there is one), none (a used "
        "workdir is refused), latest, best, or the number of one",
    )
    init_from: str = option(
        "",
        "workdir whose weights start this run (weights only)",
        group="training",
    )
    weights: str = option(
        "best",
        "weights of a trained run that are reported, used and exported",
        choices=("best", "last"),
        group="evaluation",
    )
    seed: int = option(
        0,
        "seed of first weights, order of the examples, augmentation and noise",
        minimum=0,
        change="structural",
        group="training",
    )
    split_seed: int = option(
        0,
        "seed of which data train, validate and test",
        minimum=0,
        change="structural",
        group="data",
    )
    data_seed: int = option(
        0,
        "seed of simulated data",
        minimum=0,
        change="structural",
        group="data",
    )
    seeds: tuple[int, ...] = option(
        (),
        "train one run per --seed below --workdir, on the same data, and summarise",
        minimum=0,
    )
    precision: str = option(
        "float32",
        "arithmetic of the model; tensorfloat32 and bfloat16 are meant for GPUs",
        choices=PRECISIONS,
        change="structural",
        group="training",
    )
    batch_size: int = option(
        1024,
        "examples per step over all devices",
        unit="examples",
        minimum=1,
        change="structural",
        group="training",
    )
    mesh: str = option(
        "",
        "devices along each axis, as data:4,fsdp:2; data splits the batch, fsdp also "
        "splits parameters; empty: all devices on the axis data",
    )
    multihost: bool = option(
        False, "start jax.distributed (SLURM, MPI and Kubernetes are detected)"
    )
    eval_every: str = option(
        "1 rounds",
        "interval of evaluations: a number and steps or rounds",
        group="training",
    )
    checkpoint_every: str = option(
        "60 seconds",
        "interval of checkpoints: a number and steps, rounds or seconds",
        group="training",
    )
    keep_checkpoints: int = option(
        2,
        "number of latest checkpoints that are kept besides the best",
        unit="checkpoints",
        minimum=1,
        group="training",
    )
    keep_every: int = option(
        0,
        "interval of checkpoints that are kept for good; 0: none",
        unit="steps",
        minimum=0,
        group="training",
    )
    steps_per_call: int = option(
        0,
        "training steps in a call of the device; 0: as many as fit a round",
        unit="steps",
        minimum=0,
        group="training",
    )
    device_data: bool = option(
        True,
        "keep data sets that fit in the memory of the device there",
        group="training",
    )
    huge_pages: bool = option(
        True,
        "on the command line: let glibc use transparent huge pages (Linux; up to half "
        "less time of a step on CPUs)",
    )
    allow_training_data: bool = option(
        False,
        "let --mode=evaluate score the data that the run was trained on",
        group="evaluation",
    )
    traceback: bool = option(False, "show where in the program an error arose")
    plain_log: bool = option(False, "write plain lines of progress on a terminal too")

    def __post_init__(self) -> None:
        check(self)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"--seeds={self.seeds}: a seed is given twice")
        if self.mode not in self.MODES:
            raise ValueError(
                f"--mode={self.mode!r}: expected one of {', '.join(self.MODES)}"
            )
        if self.precision not in self.PRECISIONS:
            raise ValueError(
                f"--precision={self.precision!r}: expected one of "
                f"{', '.join(self.PRECISIONS)}"
            )

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run, name -> text, in the names of today."""
        known = {field.name for field in dataclasses.fields(cls)}
        found = {}
        for name, value in saved.items():
            new = cls.RENAMED.get(name, "").removeprefix("--")
            found[new if name not in known and new in known else name] = value
        return found

    def check_extension(self, saved: "RunConfig") -> None:
        """Raises ValueError where an extension of a saved run makes no sense."""

    def replace(self, **changes: Any) -> "RunConfig":
        """Returns a checked copy with other values."""
        return dataclasses.replace(self, **changes)


def check_resume(old: RunConfig, new: RunConfig) -> None:
    """Refuses to go on with a run whose meaning has changed.

    Args:
      old: the configuration in the workdir.
      new: the configuration asked for.

    Raises:
      ValueError: one line per flag that may not change and does, and per extendable
        flag that shrank.
    """
    new.check_extension(old)
    problems = []
    for name, _, details in declared(type(new)):
        before, now = getattr(old, name), getattr(new, name)
        if before == now or details.change == "free":
            continue
        if details.change == "training" and new.mode != "train":
            continue
        if details.change == "extendable":
            if isinstance(now, tuple) and now[: len(before)] == before:
                continue
            if isinstance(now, (int, float)) and now >= before:
                continue
            problems.append(f"  --{name}: {before!r} cannot become {now!r}")
        else:
            problems.append(f"  --{name}: was {before!r}, now {now!r}")
    if problems:
        raise ValueError(
            "the run in --workdir cannot be resumed with these flags:\n"
            + "\n".join(problems)
            + "\nuse another --workdir, or the old values"
        )
