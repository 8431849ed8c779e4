"""Finds the function that replays a golden file's case, and runs it."""

import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxphys.equivalence.golden import Comparison, Golden, compare


def replay(golden: Golden) -> list[Comparison]:
    """Replays a golden file with the system that it names.

    The module ``jaxphys.<system>.replay`` has `CASES` (case -> function of the golden
    file that returns the outputs) and, where needed, `RULES`.

    Args:
      golden: the file.

    Returns:
      One comparison per output.

    Raises:
      ValueError: the system or the case is unknown; that is never a pass.
    """
    system, case = golden.meta["system"], golden.meta["case"]
    cases, rules = _registry(golden, system)
    if case not in cases:
        raise ValueError(
            f"{golden.path}: unknown case {case!r} of {system}: expected one of "
            f"{', '.join(sorted(cases))}"
        )
    with jax.default_matmul_precision("highest"):
        return compare(golden, cases[case](golden), rules)


def _registry(
    golden: Golden, system: str
) -> tuple[Mapping[str, Callable[[Golden], Mapping[str, np.ndarray]]], Any]:
    folder = pathlib.Path(__file__).parents[1] / system
    known = (folder / "replay").is_dir() or (folder / "replay.py").is_file()
    if system.isidentifier() and known and folder != pathlib.Path(__file__).parent:
        module = importlib.import_module(f"jaxphys.{system}.replay")
        return module.CASES, getattr(module, "RULES", {})
    raise ValueError(f"{golden.path}: unknown system {system!r}")
