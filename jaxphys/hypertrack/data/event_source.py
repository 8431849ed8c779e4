"""Opens any data set of events, and selects events of it by number."""

import importlib.resources
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.csv_files import CsvEvents
from jaxphys.hypertrack.physics.events import Event


class EventSource(Protocol):
    """Events that are read one at a time, by place or by number."""

    event_ids: Any
    has_truth: bool

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Event: ...

    def read(self, event_id: int) -> Event:
        """Reads the event of a number."""
        ...


def sample_prefix() -> pathlib.Path:
    """Returns the prefix of the events that come with the package."""
    root = importlib.resources.files("jaxphys.hypertrack.data")
    return pathlib.Path(str(root / "sample"))


def open_events(path: str | os.PathLike = "", need_truth: bool = False) -> EventSource:
    """Opens a data set.

    Args:
        path: the prefix of compact Parquet files (or one of these files), or a folder
            of TrackML CSV files; empty for the sample of the package.
        need_truth: refuse events without truth, as for training and evaluation.

    Returns:
        The events; they are read when they are asked for.

    Raises:
        ValueError: there are no events there, or truth is missing.
    """
    path = pathlib.Path(path) if str(path) else sample_prefix()
    for ending in ("-hits.parquet", "-truth.parquet", "-particles.parquet"):
        if path.name.endswith(ending):
            path = path.with_name(path.name.removesuffix(ending))
    if compact_path(path, "hits").is_file():
        source: EventSource = CompactEvents(path)
    elif path.is_dir():
        source = CsvEvents(path)
    else:
        raise ValueError(
            f"{path}: expected the prefix of {path.name}-hits.parquet, -truth.parquet "
            "and -particles.parquet, or a folder of eventNNNNNNNNN-hits.csv files"
        )
    if need_truth and not source.has_truth:
        raise ValueError(
            f"{path}: expected the files of truth and particles of every event, which "
            "training and evaluation need; some are missing"
        )
    return source


def select_events(
    event_ids: np.ndarray, starts: Sequence[int] = (), ends: Sequence[int] = ()
) -> np.ndarray:
    """Selects events by ranges of their numbers.

    Args:
        event_ids: numbers of the events that are there, `[E]`.
        starts: first number of each range; no range selects all.
        ends: last number of each range, included.

    Returns:
        The numbers in a range, in the order of `event_ids`, `[n]`.

    Raises:
        ValueError: the ranges do not pair up, or select nothing.
    """
    if len(starts) != len(ends) or any(
        a > b for a, b in zip(starts, ends, strict=True)
    ):
        raise ValueError(
            "event_start, event_end: expected as many starts as ends, each start not "
            f"above its end, got {list(starts)} and {list(ends)}"
        )
    event_ids = np.asarray(event_ids)
    if not len(starts):
        return event_ids
    chosen = np.zeros(len(event_ids), bool)
    for start, end in zip(starts, ends, strict=True):
        chosen |= (event_ids >= start) & (event_ids <= end)
    if not chosen.any():
        ranges = [f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
        raise ValueError(
            f"event_start, event_end: no event in {', '.join(ranges)}; there are "
            f"{describe_ids(event_ids)}"
        )
    return event_ids[chosen]


def describe_ids(event_ids: np.ndarray) -> str:
    """Returns numbers of events as text, runs of them shortened: "1-4, 9"."""
    ids = np.unique(event_ids)
    if not len(ids):
        return "none"
    parts = np.split(ids, np.flatnonzero(np.diff(ids) != 1) + 1)
    texts = [f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts]
    hidden = ["..."] if len(texts) > 10 else []
    return ", ".join(texts[:10] + hidden)
