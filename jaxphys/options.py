"""What is declared of one configuration field, and the checks that follow.

A part of the program declares its settings once, as a frozen dataclass of options; the
configuration of an experiment inherits them, so that they are its flags.
"""

import dataclasses
import inspect
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Settings = TypeVar("Settings")
ORIGINAL = "as the original"  # group of flags that undo a correction
GROUPS = ("run", "data", "model", "training", "evaluation", ORIGINAL)
CHANGES = ("structural", "training", "extendable", "free")


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of one field besides its name, type and default."""

    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    change: str = "free"
    group: str = ""


def option(default: Any, help: str, **details: Any) -> Any:
    """Declares a configuration field.

    Args:
      default: the value when the flag is not given.
      help: what the flag means; mandatory.
      **details: `unit` (of a number that is not pure), `minimum`
        and `maximum` (inclusive), `choices`, and `change`: "structural" (a change
        on resume is refused), "training" (refused where the training goes on, free in
        other modes), "extendable" (may grow) or "free"; `group` of --help, in place of
        the GROUP of the class.

    Returns:
      A dataclass field.
    """
    return dataclasses.field(
        default=default, metadata={"option": Option(help, **details)}
    )


def structural(default: Any, help: str, **details: Any) -> Any:
    """Declares a field whose change on resume is refused; see `option`."""
    return option(default, help, change="structural", **details)


def declared(kind: type) -> list[tuple[str, Any, Option]]:
    """Lists (name, type, option) of every field of a class, checking the declarations.

    Raises:
      TypeError: a field has no option, or its option lacks what it needs.
    """
    hints = typing.get_type_hints(kind)
    result = []
    for field in dataclasses.fields(kind):
        details = field.metadata.get("option")
        if details is None or not details.help:
            raise TypeError(f"{kind.__name__}.{field.name}: needs option(help)")
        if details.change not in CHANGES:
            raise TypeError(f"{field.name}: change={details.change!r} not in {CHANGES}")
        result.append((field.name, hints[field.name], details))
    return result


def group_of(kind: type, name: str, details: Option) -> str:
    """Returns the group of --help of a field: its own, or that of its first class."""
    first = [c for c in kind.__mro__ if name in inspect.get_annotations(c)][-1]
    fields: Any = dataclasses.fields(first)
    declaration = next(f.metadata["option"] for f in fields if f.name == name)
    return details.group or declaration.group or getattr(first, "GROUP", "run")


def check(settings: Any) -> None:
    """Refuses settings of which one is not as it is declared.

    Raises:
      ValueError: names the flag.
    """
    for name, kind, details in declared(type(settings)):
        check_value(name, kind, details, getattr(settings, name))


def part_of(flags: Any, kind: type[Settings]) -> Settings:
    """Returns the settings of a part of the program from the flags of their names."""
    fields: Any = dataclasses.fields(typing.cast(Any, kind))
    names = [field.name for field in fields]
    return kind(**{name: getattr(flags, name) for name in names})


def scalar_type(kind: Any) -> type:
    """Returns the type of one value: of the elements where the field is a list."""
    return typing.get_args(kind)[0] if is_list(kind) else kind


def is_list(kind: Any) -> bool:
    """Returns whether a field is a list (a tuple of any length)."""
    return isinstance(kind, types.GenericAlias) and typing.get_origin(kind) is tuple


def check_value(name: str, kind: Any, details: Option, value: Any) -> None:
    """Refuses a value of another type, out of bounds or not among the choices.

    Raises:
      ValueError: names the flag.
    """
    if is_list(kind) and not isinstance(value, tuple):
        raise ValueError(f"--{name}={value!r}: expected a tuple")
    scalar = scalar_type(kind)
    items: tuple[Any, ...] = value if is_list(kind) else (value,)
    for item in items:
        accepted = (int, float) if scalar is float else scalar
        if not isinstance(item, accepted) or (
            isinstance(item, bool) and scalar is not bool
        ):
            raise ValueError(
                f"--{name}={item!r}: expected {scalar.__name__}, "
                f"got {type(item).__name__}"
            )
        if isinstance(item, str):
            if item.splitlines() not in ([], [item]):
                raise ValueError(f"--{name}={item!r}: a line break is not allowed")
            if details.choices and item not in details.choices:
                raise ValueError(
                    f"--{name}={item!r}: expected one of {', '.join(details.choices)}"
                )
        elif not isinstance(item, bool):
            _check_bounds(name, details, item)


def _check_bounds(name: str, details: Option, value: float) -> None:
    unit = f" {details.unit}" if details.unit else ""
    if not math.isfinite(value):
        raise ValueError(f"--{name}={value}: expected a finite number")
    if details.minimum is not None and value < details.minimum:
        raise ValueError(f"--{name}={value}: expected at least {details.minimum}{unit}")
    if details.maximum is not None and value > details.maximum:
        raise ValueError(f"--{name}={value}: expected at most {details.maximum}{unit}")


def without(
    saved: Mapping[str, str], names: Sequence[str], defaults: Sequence[str]
) -> dict[str, str]:
    """Returns the flags of a saved run but those that exist no more.

    One that was not at its default is named on stderr: what followed it is drawn anew.
    """
    for name, default in zip(names, defaults, strict=True):
        if saved.get(name, default) != default:
            print(
                f"--{name}={saved[name]} of an earlier version is not known any more: "
                "draws that followed it are others now",
                file=sys.stderr,
            )
    return {name: value for name, value in saved.items() if name not in names}
