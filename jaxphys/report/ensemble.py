"""The report of several runs that differ in their seed."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.report.document import Report
from jaxphys.report.tables import Column, Table


def write_ensemble(
    directory: str | pathlib.Path,
    title: str,
    members: Mapping[str, Mapping[str, float]],
    columns: Sequence[Column],
    *,
    keys: Sequence[str],
    command: str = "",
) -> dict[str, Any]:
    """Writes mean and spread of the runs of an ensemble.

    Args:
      directory: receives report.html and report.json.
      title: of the report.
      members: name of a run -> its numbers.
      columns: how each number is shown.
      keys: which number each column shows.
      command: the command line.

    Returns:
      {"mean", "std"}: key -> value; std has ddof 1 and is NaN for a single run.

    Raises:
      ValueError: there is no run, or one lacks a number.
    """
    if not members:
        raise ValueError("an ensemble without runs")
    for name, numbers in members.items():
        missing = [key for key in keys if key not in numbers]
        if missing:
            raise ValueError(f"{name}: the report lacks {', '.join(missing)}")
    rows = [(name, *(found[key] for key in keys)) for name, found in members.items()]
    values = np.array([row[1:] for row in rows], np.float64)
    mean = dict(zip(keys, values.mean(axis=0).tolist(), strict=True))
    spread = [math.nan] * len(keys)
    if len(rows) > 1:
        spread = values.std(axis=0, ddof=1).tolist()
    std = dict(zip(keys, spread, strict=True))
    table = Table(
        "Every run, their mean and their standard deviation.",
        [Column("run"), *columns],
        [*rows, ("mean", *mean.values()), ("standard deviation", *std.values())],
        emphasis=(len(rows),),
    )
    about = (
        f"{len(rows)} runs that differ in --seed alone (first weights, order of the "
        "examples, augmentation, noise): the same data, split in the same way."
    )
    report = Report(title, about, command=command)
    report.add_section("Results", tables=[table])
    report.add_numbers({"members": dict(members), "mean": mean, "std": std})
    report.write(directory)
    return {"mean": mean, "std": std}
