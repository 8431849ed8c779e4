"""The order of an epoch: windows of consecutive rows, each shuffled in itself.

An epoch reads window after window (or takes turns between files), so that only a few
windows are in memory; inside a window the events come in random order. The order
depends on (seed, file, epoch) and on nothing that is read later.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Window:
    """Consecutive rows of a file.

    Attributes:
        file: Place of the file in the data set.
        block: (start, stop) rows that are decoded together and hold the window.
        start: First row.
        stop: After the last row.
        number: Place of the window in the file.
    """

    file: int
    block: tuple[int, int]
    start: int
    stop: int
    number: int


def make_windows(file: int, group_start: np.ndarray, most: int = 0) -> list[Window]:
    """Cuts a file into windows of at most `most` rows along its row groups.

    Args:
        file: Place of the file in the data set.
        group_start: [G + 1] first row of each row group, then the rows.
        most: Rows of a window; a row group with more is cut evenly. 0: the whole file.
    """
    edges = np.unique(group_start).tolist()  # without row groups of no rows
    blocks, first = [], edges[0]
    for start, stop in itertools.pairwise(edges):
        if most and start > first and stop - first > most:
            blocks.append((first, start))
            first = start
    if edges[-1] > first:
        blocks.append((first, edges[-1]))
    windows = []
    for start, stop in blocks:
        pieces = -(-(stop - start) // most) if most else 1
        cuts = np.linspace(start, stop, pieces + 1).astype(int).tolist()
        for a, b in itertools.pairwise(cuts):
            windows.append(Window(file, (start, stop), a, b, len(windows)))
    return windows


def window_order(
    window: Window, kept: np.ndarray, epoch: int, seed: int | None
) -> np.ndarray:
    """Returns the kept rows of a window in the order of an epoch.

    Args:
        window: The window.
        kept: [K] rows of the file within the window.
        epoch: Another one, another order.
        seed: None: in the order of the file.
    """
    if seed is None:
        return kept
    keys = [seed % 2**64, window.file, epoch, window.number]
    return np.random.default_rng(keys).permutation(kept)


def order_of_windows(
    windows: Sequence[Sequence[Window]], epoch: int, seed: int | None
) -> list[list[Window]]:
    """Returns the windows of each file, files and windows in the order of an epoch.

    Args:
        windows: Of each file.
        epoch: Another one, another order.
        seed: None: as they are.
    """
    if seed is None:
        return [list(of_file) for of_file in windows]
    draws = np.random.default_rng([seed % 2**64, epoch])
    files = [windows[i] for i in draws.permutation(len(windows))]
    return [[of_file[i] for i in draws.permutation(len(of_file))] for of_file in files]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A range of a window's order: the events from `start` to before `stop`."""

    window: Window
    start: int
    stop: int


def take_turns(
    files: Sequence[Sequence[tuple[Window, int]]], turns: int, rows: int
) -> list[Segment]:
    """Lays the windows of an epoch one after the other, or lets files take turns.

    Args:
        files: Of each file (window, number of its kept events), in order.
        turns: Files that are open at once and take strict turns; one that ends gives
            its turn to the next file. 0 and 1: one file after the other.
        rows: Events of a turn.
    """
    queues = [_pieces(of_file, rows if turns > 1 else 0) for of_file in files]
    queues = [queue for queue in queues if queue]
    if turns <= 1:
        return [segment for queue in queues for turn in queue for segment in turn]
    found: list[Segment] = []
    waiting, opened, turn = queues[::-1], [], 0
    while waiting or opened:
        while waiting and len(opened) < turns:
            opened.append(iter(waiting.pop()))
        turn %= len(opened)
        piece = next(opened[turn], None)
        if piece is not None:
            found += piece
            turn += 1
        elif waiting:
            opened[turn] = iter(waiting.pop())
        else:
            opened.pop(turn)
    return found


def _pieces(of_file, rows):
    """Cuts the events of a file into turns: lists of segments of `rows` events."""
    turns: list[list[Segment]] = [[]]
    room = rows
    for window, events in of_file:
        first = 0
        while first < events:
            count = min(events - first, room) if rows else events - first
            turns[-1].append(Segment(window, first, first + count))
            first, room = first + count, room - count
            if rows and not room:
                turns.append([])
                room = rows
    return turns if turns[-1] else turns[:-1]
