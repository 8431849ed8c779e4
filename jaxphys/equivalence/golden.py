"""Golden files: one self-contained case of recorded inputs, weights and outputs.

A file ``<case>__<variant>.npz`` holds `meta` (JSON text: system, case, variant, config,
source, tolerance, notes and, where needed, not_compared, finite_only) and the arrays
``param/<PyTorch name>``, ``input/<name>`` and ``output/<name>``. What not_compared
lists has no meaning for comparison, or is left out of a record of one's own.
"""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

REQUIRED = ("system", "case", "config", "tolerance")
NUMERIC_KEYS = {
    "rtol",
    "atol",
    "atol_per_column",
    "column_scale",
    "atol_relative_to_max",
    "atol_relative_to_column_max",
}
Arrays = Mapping[str, np.ndarray]
# (golden file, name of the output, got, reference) -> (largest part used, message)
Rule = Callable[["Golden", str, np.ndarray, np.ndarray], tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Golden:
    """One recorded case.

    Attributes:
      path: of the file.
      meta: what the file says about itself.
      params: PyTorch name -> array.
      inputs: name -> array.
      outputs: name -> recorded array.
    """

    path: pathlib.Path
    meta: Mapping[str, Any]
    params: Arrays
    inputs: Arrays
    outputs: Arrays

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the recorded program."""
        return self.meta["config"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one output compares, or what is to be said of an entry that nothing reads.

    Attributes:
      name: of the output; input/<name>, param/<name> or config for other entries.
      deviation: largest absolute difference; NaN where no numbers are compared.
      part: largest part of the tolerance that was used; above 1 is a miss.
      message: why it missed, or which rule applied; empty for plain numbers.
    """

    name: str
    deviation: float
    part: float
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the output is within its tolerance."""
        return self.part <= 1  # False for a NaN


def read(path: str | pathlib.Path) -> Golden:
    """Reads a golden file.

    Raises:
      ValueError: it is not one, naming the file and what is missing.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file, np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable .npz file: {error}") from error
    if "meta" not in arrays:
        raise ValueError(f"{path}: no array 'meta'")
    try:
        meta = json.loads(str(arrays.pop("meta")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: meta is not JSON: {error}") from error
    missing = [key for key in REQUIRED if key not in meta]
    if missing:
        raise ValueError(f"{path}: meta lacks {missing}")
    parts: dict[str, dict[str, np.ndarray]] = {"param": {}, "input": {}, "output": {}}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        if kind not in parts:
            raise ValueError(
                f"{path}: array {name!r}: expected param/, input/, output/"
            )
        parts[kind][rest] = array
    # what a case requires of a program that refuses its input: a class, or nothing
    for case in meta.get("cases") or ():
        if isinstance(case, dict) and "required" in case:
            required = np.array(case["required"] or "accepted")
            parts["output"][f"required/{case['name']}"] = required
    if not parts["output"]:
        raise ValueError(f"{path}: no output to compare with")
    return Golden(path, meta, parts["param"], parts["input"], parts["output"])


def write(
    path: str | pathlib.Path,
    meta: Mapping[str, Any],
    *,
    params: Arrays | None = None,
    inputs: Arrays | None = None,
    outputs: Arrays,
) -> None:
    """Writes a golden file, to record a case of one's own.

    Args:
      path: of the file, ending in .npz.
      meta: system, case, config and tolerance at least.
      params: PyTorch name -> array.
      inputs: name -> array.
      outputs: name -> array.
    """
    missing = [key for key in REQUIRED if key not in meta]
    if missing:
        raise ValueError(f"{path}: meta lacks {missing}")
    groups = {"param": params or {}, "input": inputs or {}, "output": outputs}
    arrays = {f"{k}/{n}": a for k, group in groups.items() for n, a in group.items()}
    np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)


def tolerance_of(golden: Golden, name: str) -> dict[str, Any] | str | None:
    """Returns the entry with the longest path prefix of an output's name.

    None means that the output must be equal exactly.
    """
    table = golden.meta["tolerance"]
    parts = name.split("/")
    for length in range(len(parts), 0, -1):
        prefix = "/".join(parts[:length])
        if prefix in table:
            return table[prefix]
    return table.get("*")


def without_meaning(golden: Golden, name: str) -> bool:
    """Returns whether a file says that an output has no meaning for comparison."""
    return _listed(golden, "not_compared", name)


def _listed(golden: Golden, key: str, name: str) -> bool:
    return any(
        name == prefix or name.startswith(prefix + "/") or prefix == "*"
        for prefix in golden.meta.get(key) or ()
    )


def compare(
    golden: Golden, got: Arrays, rules: Mapping[str, Rule] | None = None
) -> list[Comparison]:
    """Compares replayed outputs with the recorded ones.

    Args:
      golden: the file.
      got: name -> replayed array; one that is missing is a miss.
      rules: text of a tolerance -> the rule that it stands for.

    Returns:
      One comparison per output that has a meaning for comparison.
    """
    result = []
    for name, reference in sorted(golden.outputs.items()):
        if without_meaning(golden, name):
            continue
        if name not in got:
            result.append(Comparison(name, np.inf, np.inf, "not produced"))
        else:
            value = np.asarray(got[name])
            result.append(_compare_one(golden, name, value, reference, rules or {}))
    return result


def _compare_one(
    golden: Golden,
    name: str,
    got: np.ndarray,
    reference: np.ndarray,
    rules: Mapping[str, Rule],
) -> Comparison:
    tolerance = tolerance_of(golden, name)
    if isinstance(tolerance, str):
        if tolerance not in rules:
            return Comparison(name, np.inf, np.inf, f"unknown rule {tolerance!r}")
        part, message = rules[tolerance](golden, name, got, reference)
        return Comparison(name, np.nan, part, message or f"rule: {tolerance}")
    if got.shape != reference.shape:
        message = f"shape {got.shape}, expected {reference.shape}"
        return Comparison(name, np.inf, np.inf, message)
    if _listed(golden, "finite_only", name):
        finite = bool(np.all(np.isfinite(got)))
        return Comparison(name, np.nan, 0.0 if finite else np.inf, "finite only")
    if tolerance is None:
        numbers = reference.dtype.kind == "f" and got.dtype.kind == "f"
        equal = np.array_equal(got, reference, equal_nan=numbers)
        if equal:
            return Comparison(name, 0.0, 0.0, "exact")
        return Comparison(name, np.inf, np.inf, "must be equal exactly")
    unknown = set(tolerance) - NUMERIC_KEYS
    if unknown:
        return Comparison(name, np.inf, np.inf, f"unknown tolerance {sorted(unknown)}")
    return _compare_numbers(name, got, reference, tolerance)


def _compare_numbers(
    name: str, got: np.ndarray, reference: np.ndarray, tolerance: Mapping[str, Any]
) -> Comparison:
    wide = np.complex128 if np.iscomplexobj(reference) else np.float64
    got, reference = np.asarray(got, wide), np.asarray(reference, wide)
    if reference.size == 0:
        return Comparison(name, 0.0, 0.0)
    both_nan = np.isnan(got) & np.isnan(reference)
    same = both_nan | (got == reference)  # equal infinities too
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(same, 0.0, np.abs(got - reference))
        allowed = _atol(reference, tolerance)
        allowed = allowed + tolerance.get("rtol", 0.0) * np.abs(reference)
        part = np.where(difference == 0, 0.0, difference / allowed)
    part = np.where(np.isnan(part), np.inf, part)
    deviation = np.where(np.isnan(difference), np.inf, difference)
    return Comparison(name, float(deviation.max()), float(part.max()))


def _atol(reference: np.ndarray, tolerance: Mapping[str, Any]) -> np.ndarray:
    """Returns the absolute tolerance, of a shape that goes with the reference."""
    atol = np.asarray(tolerance.get("atol", 0.0), np.float64)
    size = np.nan_to_num(np.abs(reference), posinf=0.0)
    if "atol_per_column" in tolerance:
        atol = np.asarray(tolerance["atol_per_column"], np.float64)
    elif "atol_relative_to_max" in tolerance:
        atol = np.asarray(tolerance["atol_relative_to_max"] * size.max())
    elif "atol_relative_to_column_max" in tolerance:
        columns = size.reshape(-1, size.shape[-1]).max(axis=0)
        atol = tolerance["atol_relative_to_column_max"] * columns
    return atol * np.asarray(tolerance.get("column_scale", 1.0), np.float64)
