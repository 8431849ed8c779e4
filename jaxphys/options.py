"""What is declared of one configuration field, and the checks that follow."""

import dataclasses
import math
import types
import typing
from typing import Any

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


def option(default: Any, help: str, **details: Any) -> Any:
    """Declares a configuration field.

    Args:
      default: the value when the flag is not given.
      help: what the flag means; mandatory.
      **details: `unit` (mandatory for numbers; "1" for a pure number), `minimum`
        and `maximum` (inclusive), `choices`, and `change`: "structural" (a change
        on resume is refused), "training" (refused where the training goes on, free in
        other modes), "extendable" (may grow) or "free".

    Returns:
      A dataclass field.
    """
    return dataclasses.field(
        default=default, metadata={"option": Option(help, **details)}
    )


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
    unit = "" if details.unit == "1" else f" {details.unit}"
    if not math.isfinite(value):
        raise ValueError(f"--{name}={value}: expected a finite number")
    if details.minimum is not None and value < details.minimum:
        raise ValueError(f"--{name}={value}: expected at least {details.minimum}{unit}")
    if details.maximum is not None and value > details.maximum:
        raise ValueError(f"--{name}={value}: expected at most {details.maximum}{unit}")
