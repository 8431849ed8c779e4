"""The text of --help: every flag of an experiment, in groups."""

import textwrap
from typing import Any

from jaxphys.options import GROUPS, Option, declared, group_of

_CHANGES = {
    "structural": "fixed: a run that goes on refuses another value",
    "training": "fixed while a training goes on",
    "extendable": "may grow when a run goes on",
    "free": "",
}


def help_of(kind: type, choices: dict[str, tuple[str, ...]]) -> str:
    """Returns the help of all flags.

    Args:
        kind: configuration of the experiment.
        choices: flag -> its values, where they are not those of the declaration.
    """
    parts = [
        f"python -m experiments.{getattr(kind, 'EXPERIMENT', '')} --flagfile=FILE "
        "--workdir=FOLDER [--FLAG=VALUE ...]"
    ]
    fields = [
        (group_of(kind, name, details), name, details)
        for name, _, details in declared(kind)
    ]
    for group in GROUPS:
        entries = [
            _entry(kind, name, details, choices.get(name, details.choices))
            for own, name, details in fields
            if own == group
        ]
        if entries:
            parts += [f"{group}:", *entries]
    return "\n\n".join(parts)


def _entry(kind: type, name: str, details: Option, choices: tuple[str, ...]) -> str:
    default = kind.__dataclass_fields__[name].default  # type: ignore[attr-defined]
    facts = [
        details.unit,
        _range(details),
        "one of " + ", ".join(c or "(empty)" for c in choices) if choices else "",
        _CHANGES[details.change],
    ]
    text = details.help + "".join(f"; {fact}" for fact in facts if fact)
    lines = textwrap.wrap(text, 80, break_on_hyphens=False, break_long_words=False)
    return f"  {_flag(name, default)}\n" + textwrap.indent("\n".join(lines), "      ")


def _flag(name: str, default: Any) -> str:
    if isinstance(default, bool):
        return f"--[no]{name} (default: {'on' if default else 'off'})"
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return f"--{name}={default}"


def _range(details: Option) -> str:
    least, most = details.minimum, details.maximum
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    if least is not None:
        return f"at least {least:g}"
    return f"at most {most:g}" if most is not None else ""
