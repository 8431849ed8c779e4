"""Finds how a golden file's case is replayed, replays it and compares."""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxphys.equivalence.cases import Case, matching
from jaxphys.equivalence.golden import Comparison, Golden, compare
from jaxphys.equivalence.watched import Watched


def replay(golden: Golden) -> list[Comparison]:
    """Replays a golden file with the system that it names.

    The module ``jaxphys.<system>.replay`` has `CASES` (name -> `Case`) and, where
    needed, `RULES`.

    Args:
      golden: the file.

    Returns:
      One comparison per output; a miss for each output that the case declares and the
      file lacks; a comparison for each input that nothing read, a miss where the case
      gives no reason for that; and one that names the settings that nothing read.

    Raises:
      ValueError: the system or the case is unknown, something that the case needs is
        missing, or nothing was compared; that is never a pass.
    """
    case, rules = _registered(golden)
    groups = _watched(golden)
    watched = dataclasses.replace(
        golden,
        meta={**golden.meta, "config": groups["config"]},
        params=groups["param"],
        inputs=groups["input"],
        outputs=groups["output"],
    )
    lacking: list[str] = []
    try:
        lacking = case.lacking(golden, ())
        with jax.default_matmul_precision("highest"):
            got = case.replay(watched)
        lacking = case.lacking(golden, got)
        rows = compare(watched, got, rules)
    except (KeyError, ValueError) as error:
        raise ValueError(_reason(golden, error, lacking)) from error
    message = "the case declares it, the record lacks it"
    rows += [Comparison(name, np.inf, np.inf, message) for name in lacking]
    if not rows:
        raise ValueError(f"{golden.path}: no output to compare with")
    return rows + _unread(case, groups)


def _watched(golden: Golden) -> dict[str, Watched]:
    groups: dict[str, Mapping[str, Any]] = {
        "config": golden.config,
        "param": golden.params,
        "input": golden.inputs,
        "output": golden.outputs,
    }
    return {kind: Watched(kind, golden.path, group) for kind, group in groups.items()}


def _reason(golden: Golden, error: Exception, lacking: list[str]) -> str:
    """Returns one line that names the file and what it lacks."""
    text = str(error).removeprefix(f"{golden.path}: ")
    if isinstance(error, KeyError):
        text = f"no entry {error}, which the case needs"
    if lacking:
        text += f"; declared outputs that are not in the record: {', '.join(lacking)}"
    return f"{golden.path}: {' '.join(text.split())}"


def _unread(case: Case, groups: Mapping[str, Watched]) -> list[Comparison]:
    """Returns rows for what the file holds and nothing read."""
    rows = []
    for kind in ("param", "input"):
        expected: dict[str, list[str]] = {}
        for name in groups[kind].unread:
            family = matching(tuple(case.unread), name)
            if family is None:
                message = "nothing reads it, and the case gives no reason"
                rows.append(Comparison(f"{kind}/{name}", np.nan, np.inf, message))
            else:
                expected.setdefault(family, []).append(name)
        for family, names in expected.items():
            name = names[0] if len(names) == 1 else family
            message = f"nothing reads it: {case.unread[family]}"
            rows.append(Comparison(f"{kind}/{name}", np.nan, 0.0, message))
    settings = ", ".join(groups["config"].unread)
    if settings:
        rows.append(Comparison("config", np.nan, 0.0, f"nothing reads {settings}"))
    return rows


def _registered(golden: Golden) -> tuple[Case, Any]:
    system, name = golden.meta["system"], golden.meta["case"]
    folder = pathlib.Path(__file__).parents[1] / system
    known = (folder / "replay").is_dir() or (folder / "replay.py").is_file()
    own = folder == pathlib.Path(__file__).parent
    if not system.isidentifier() or not known or own:
        raise ValueError(f"{golden.path}: unknown system {system!r}")
    module = importlib.import_module(f"jaxphys.{system}.replay")
    if name not in module.CASES:
        raise ValueError(
            f"{golden.path}: unknown case {name!r} of {system}: expected one of "
            f"{', '.join(sorted(module.CASES))}"
        )
    return module.CASES[name], getattr(module, "RULES", {})
