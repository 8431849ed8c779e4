"""Batches in the order of the original program: reader batches and micro-batches.

Budget packing (`jaxphys.cr_muons.batches.batches`) is what training uses; this order is
for comparison with recorded runs.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from jaxphys.cr_muons.data.event_files import EventFile
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.physics.events import Events


@dataclasses.dataclass(frozen=True)
class ReaderBatch:
    """Consecutive rows of a file.

    Attributes:
        file: Place of the file in the list.
        number: Number of the reader batch, from 1; over all files.
        events: The rows.
    """

    file: int
    number: int
    events: Events


@dataclasses.dataclass(frozen=True)
class Outlier:
    """An event that was taken out of its reader batch.

    Attributes:
        file: Place of the file in the list.
        reader_batch: From 1.
        event_in_batch: Place after events without muons were taken out.
        event: The one event.
    """

    file: int
    reader_batch: int
    event_in_batch: int
    event: Events


def reader_batches(
    files: Sequence[EventFile], batch_size: int, multi_file: int = 0
) -> Iterator[ReaderBatch]:
    """Yields reader batches of `batch_size` rows; a file's last one may be shorter.

    Args:
        files: In order.
        batch_size: Rows.
        multi_file: Files that take strict turns; one that ends gives its turn to the
            next file. 0 and 1: one file after the other.

    Raises:
        ValueError: If a number is out of range.
    """
    if batch_size < 1 or multi_file < 0:
        raise ValueError(
            f"batch_size, multi_file_shuffle: expected >= 1 and >= 0, got "
            f"{batch_size}, {multi_file}"
        )
    waiting = collections.deque(enumerate(files))
    turns: list[tuple[int, Iterator[Events]]] = []
    number, turn = 0, 0
    while waiting or turns:
        while waiting and len(turns) < max(multi_file, 1):
            place, file = waiting.popleft()
            turns.append((place, _of_file(file, batch_size)))
        turn %= len(turns)
        place, batches = turns[turn]
        events = next(batches, None)
        if events is not None:
            number, turn = number + 1, turn + 1
            yield ReaderBatch(place, number, events)
        elif waiting:  # the same turn, so that no other file is passed over
            place, file = waiting.popleft()
            turns[turn] = (place, _of_file(file, batch_size))
        else:
            turns.pop(turn)


def _of_file(file, batch_size):
    """Yields batches of rows; what a row group leaves over opens the next one."""
    left = None
    edges = file.group_start
    for start, stop in itertools.pairwise(edges):
        if start == stop:
            continue
        block = file.read(int(start), int(stop))
        block = block if left is None else Events.concatenate([left, block])
        whole = len(block) - len(block) % batch_size
        for first in range(0, whole, batch_size):
            yield block.rows(first, first + batch_size)
        left = block.rows(whole, len(block)) if whole < len(block) else None
    if left is not None:
        yield left


def micro_batches(num_muons: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Cuts a batch into ranges of events with a limited number of muons.

    A range ends before the event that would exceed `most`, holds at least one event
    and ends as soon as it reaches `most`; ranges without muons are left out.

    Args:
        num_muons: [N] muons of the events.
        most: Muons of a range; 0: no limit.
    """
    total = np.cumsum(num_muons, dtype=np.int64)
    if not len(total) or not total[-1]:
        return []
    if most <= 0 or total[-1] <= most:
        return [(0, len(total))]
    ranges, start, before = [], 0, 0
    while start < len(total):
        # events that reach the limit exactly end the range: the first of them does
        stop = int(np.searchsorted(total, before + most, side="left")) + 1
        stop = min(stop, len(total))
        if total[stop - 1] - before > most:
            stop = max(stop - 1, start + 1)
        if total[stop - 1] > before:
            ranges.append((start, stop))
        start, before = stop, int(total[stop - 1])
    return ranges


def training_calls(
    files: Sequence[EventFile],
    batch_size: int,
    filters: Filters,
    multi_file: int = 0,
    train_on_outliers: bool = False,
) -> Iterator[Events | Outlier]:
    """Yields the events of each training step, and outliers where they are found.

    The order is that of the original: empty events go (if asked for), then outliers;
    a batch without muons is passed over; one above `max_muons_per_batch` is cut.

    Args:
        files: In order.
        batch_size: Rows of a reader batch.
        filters: What is taken out.
        multi_file: See `reader_batches`.
        train_on_outliers: Take none out, as recorded runs with several files did.
    """
    for batch in reader_batches(files, batch_size, multi_file):
        events = batch.events
        if filters.drop_empty:
            events = events.select(events.num_muons > 0)
        outliers = filters.outliers(events.num_muons) & (not train_on_outliers)
        for place in np.flatnonzero(outliers).tolist():
            event = events.rows(place, place + 1)
            yield Outlier(batch.file, batch.number, place, event)
        if outliers.any():
            events = events.select(~outliers)
        for start, stop in micro_batches(events.num_muons, filters.max_muons_per_batch):
            yield events.rows(start, stop)
