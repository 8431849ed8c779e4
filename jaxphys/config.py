"""One frozen dataclass per experiment, its absl flags and its flagfile.

A field of a configuration is declared with `option`. From that one declaration
come the absl flag with its help, the checks, the line in ``config.flags`` and what
may change when a run is resumed.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from absl import flags

from jaxphys.options import check, declared, is_list, option, scalar_type

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

    mode: str = option("train", "what to do: see the README of the experiment")
    workdir: str = option("", "folder of the run; everything of the run is inside it")
    data: str = option("", "input data; empty: simulate the default data first")
    output: str = option(
        "",
        "where predict, simulate, evaluate, prepare and export write; empty: inside "
        "--workdir",
    )
    resume: str = option(
        "auto",
        "auto (the latest checkpoint if there is one), none (refuse a used "
        "workdir), latest, best, or the number of a checkpoint",
    )
    init_from: str = option("", "workdir whose weights start this run (weights only)")
    weights: str = option(
        "best",
        "weights of a trained run that are reported, used and exported",
        choices=("best", "last"),
    )
    seed: int = option(
        0,
        "seed of first weights, order of the examples, augmentation and noise",
        unit="1",
        minimum=0,
        change="structural",
    )
    split_seed: int = option(
        0,
        "seed of which data train, validate and test",
        unit="1",
        minimum=0,
        change="structural",
    )
    data_seed: int = option(
        0, "seed of simulated data", unit="1", minimum=0, change="structural"
    )
    seeds: tuple[int, ...] = option(
        (),
        "train one run per --seed below --workdir, on the same data, and summarise",
        unit="1",
        minimum=0,
    )
    precision: str = option(
        "float32",
        "arithmetic of the model; tensorfloat32 and bfloat16 matter on a GPU",
        choices=PRECISIONS,
        change="structural",
    )
    batch_size: int = option(
        1024,
        "examples per step over all devices",
        unit="examples",
        minimum=1,
        change="structural",
    )
    mesh: str = option(
        "",
        "devices as data:4,fsdp:2; empty: all devices on the data axis; axis data "
        "splits the batch, axis fsdp also splits parameters",
    )
    multihost: bool = option(
        False, "start jax.distributed (SLURM, MPI and Kubernetes are detected)"
    )
    eval_every: str = option(
        "1 rounds", "evaluation interval: a number and steps or rounds"
    )
    checkpoint_every: str = option(
        "60 seconds", "checkpoint interval: a number and steps, rounds or seconds"
    )
    keep_checkpoints: int = option(
        2, "latest checkpoints to keep besides the best", unit="checkpoints", minimum=1
    )
    keep_every: int = option(
        0, "also keep every n-th step's checkpoint; 0: off", unit="steps", minimum=0
    )
    steps_per_call: int = option(
        0,
        "training steps per dispatch to the device; 0: as many as fit a round",
        unit="steps",
        minimum=0,
    )
    device_data: bool = option(
        True, "keep data sets that fit on the device for the whole run"
    )
    huge_pages: bool = option(
        True,
        "on the command line: let glibc use transparent huge pages (Linux; up to half "
        "less time of a step on CPUs)",
    )
    allow_training_data: bool = option(
        False, "let --mode=evaluate score the data that the run was trained on"
    )
    traceback: bool = option(False, "show where in the program an error arose")
    plain_log: bool = option(False, "plain progress lines even on a terminal")

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


Config = TypeVar("Config", bound=RunConfig)


def define_flags(
    config_class: type[RunConfig], values: flags.FlagValues = flags.FLAGS
) -> None:
    """Defines one absl flag per field of a configuration.

    Args:
      config_class: the experiment's configuration.
      values: the flag holder; absl's global one unless told otherwise.
    """
    for name, kind, details in declared(config_class):
        default = config_class.__dataclass_fields__[name].default
        own = {"mode": config_class.MODES, "precision": config_class.PRECISIONS}
        choices = own.get(name, details.choices)
        text = details.help
        if details.unit and details.unit != "1":
            text += f" [{details.unit}]"
        if is_list(kind):
            plain = [_plain(item) for item in default]
            flags.DEFINE_list(name, plain, text, flag_values=values)
        elif kind is str and choices:
            flags.DEFINE_enum(name, default, list(choices), text, flag_values=values)
        else:
            define = {
                bool: flags.DEFINE_bool,
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                str: flags.DEFINE_string,
            }[kind]
            define(name, default, text, flag_values=values)


def from_flags(
    config_class: type[Config], values: flags.FlagValues = flags.FLAGS
) -> Config:
    """Builds a configuration from parsed flags.

    Raises:
      ValueError: a value of the wrong type or outside its bounds, naming its flag.
    """
    found = {}
    for name, kind, _ in declared(config_class):
        value: Any = values[name].value
        if is_list(kind):
            value = tuple(_convert(name, scalar_type(kind), item) for item in value)
        found[name] = value
    return config_class(**found)


def given_flags(
    config_class: type[RunConfig], values: flags.FlagValues = flags.FLAGS
) -> tuple[str, ...]:
    """Returns the names of the flags that a parsed command line gives."""
    names = [field.name for field in dataclasses.fields(config_class)]
    return tuple(name for name in names if values[name].present)


def _convert(name: str, kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(
            f"--{name}: {text!r} in the list: expected {kind.__name__}"
        ) from None


def parse_command_line(
    config_class: type[Config],
    arguments: Sequence[str],
    values: flags.FlagValues | None = None,
) -> Config:
    """Parses arguments such as ``["--flagfile=a.flags", "--epochs=3"]``.

    Args:
      config_class: the experiment's configuration.
      arguments: the command line without the name of the program.
      values: a holder in which the flags are defined already; a private one if None.

    Returns:
      The checked configuration; the last of several values of a flag wins.

    Raises:
      ValueError: an unknown flag, a flag of the original under its old name, a word
        that is not a flag, a bad value, or a flagfile that cannot be read.
    """
    if values is None:
        values = flags.FlagValues()
        define_flags(config_class, values)
    try:
        expanded = values.read_flags_from_files(list(arguments), force_gnu=False)
        _refuse_old_names(config_class, expanded)
        expanded = _drop_without_effect(config_class, expanded)
        rest = values(["", *expanded])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(
            f"{rest[0]!r} is not a flag: every argument, and every line of a "
            "flagfile, is --name=value"
        )
    return from_flags(config_class, values)


def _refuse_old_names(config_class: type[RunConfig], arguments: Sequence[str]) -> None:
    known = {field.name for field in dataclasses.fields(config_class)}
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        plain = name.replace("-", "_")
        new = config_class.RENAMED.get(plain)
        if argument.startswith("-") and new and name not in known:
            raise ValueError(f"--{name} is {new} here")


def _drop_without_effect(
    config_class: type[RunConfig], arguments: Sequence[str]
) -> list[str]:
    kept = []
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0].replace("-", "_")
        reasons = config_class.NO_EFFECT
        reason = reasons.get(name) or reasons.get(name.removeprefix("no"))
        if argument.startswith("-") and reason:
            print(f"--{name} has no effect here: {reason}", file=sys.stderr)
        else:
            kept.append(argument)
    return kept


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


def to_flagfile(config: RunConfig) -> str:
    """Writes every field as one ``--name=value`` line; parsing gives it back exactly.

    Returns:
      The text of the flagfile, beginning with a comment that names the experiment.
    """
    lines = [f"# experiment: {config.EXPERIMENT}"]
    for name, kind, _ in declared(type(config)):
        value = getattr(config, name)
        if is_list(kind):
            items = [_plain(item) for item in value]
            if any("," in item or '"' in item for item in items):
                raise ValueError(f"--{name}={value}: a list item holds a comma")
            text = ",".join(items)
        else:
            text = _plain(float(value) if kind is float else value)
        lines.append(f"--{name}={text}")
    return "\n".join(lines) + "\n"


def read_flagfile(config_class: type[Config], path: str | pathlib.Path) -> Config:
    """Reads a ``config.flags`` written by `to_flagfile`, of earlier versions too.

    Raises:
      ValueError: the file belongs to another experiment, or a value is wrong.
    """
    lines = pathlib.Path(path).read_text().splitlines()
    found = lines[0].removeprefix("# experiment: ") if lines else ""
    if found != config_class.EXPERIMENT:
        raise ValueError(
            f"{path}: expected a run of experiment {config_class.EXPERIMENT!r}, "
            f"got {found!r}"
        )
    given = [line for line in lines if not line.startswith("#")]
    parts = [line.removeprefix("--").partition("=") for line in given]
    saved = config_class.translate({name: value for name, _, value in parts})
    return parse_command_line(config_class, [f"--{n}={v}" for n, v in saved.items()])


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
