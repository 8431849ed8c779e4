"""From a command line or a flagfile to a configuration, and back."""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from absl import flags

from jaxphys.config import RunConfig
from jaxphys.options import declared, is_list, scalar_type

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
        if details.unit:
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
