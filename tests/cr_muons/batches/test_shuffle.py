"""Windows cover a file; turns are strict; an order is a function of its seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.cr_muons.batches.shuffle import (
    Window,
    make_windows,
    order_of_windows,
    take_turns,
    window_order,
)

groups = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(groups, st.integers(0, 20))
def test_windows_cover_the_rows_and_lie_in_their_block(sizes, most):
    edges = np.concatenate([[0], np.cumsum(sizes)])
    windows = make_windows(5, edges, most)
    rows = [row for w in windows for row in range(w.start, w.stop)]
    assert rows == list(range(edges[-1]))
    for number, window in enumerate(windows):
        assert window.number == number
        assert window.file == 5
        assert {*window.block} <= {*edges.tolist()}
        assert window.block[0] <= window.start <= window.stop <= window.block[1]
        assert not most or window.stop - window.start <= most


def test_row_groups_share_a_window_up_to_its_size():
    windows = make_windows(0, np.array([0, 4, 8, 12, 30]), 10)
    assert [w.block for w in windows] == [(0, 8), (8, 12), (12, 30), (12, 30)]
    assert [(w.start, w.stop) for w in windows[2:]] == [(12, 21), (21, 30)]


def test_the_order_depends_on_seed_file_epoch_and_window():
    kept = np.arange(100, 150)

    def order(seed: int | None = 1, file=0, epoch=0, number=0):
        window = Window(file, (100, 150), 100, 150, number)
        return window_order(window, kept, epoch, seed).tolist()

    first = order()
    assert order() == first
    assert sorted(first) == kept.tolist() != first
    for other in ({"seed": 2}, {"file": 1}, {"epoch": 1}, {"number": 1}):
        assert order(**other) != first
    assert order(seed=None) == kept.tolist()


def test_windows_of_a_file_stay_together():
    windows = [make_windows(i, np.arange(0, 50, 10), 10) for i in range(4)]
    assert order_of_windows(windows, 3, None) == windows
    found = order_of_windows(windows, 3, 7)
    assert found != windows
    assert found == order_of_windows(windows, 3, 7) != order_of_windows(windows, 4, 7)
    for of_file in found:
        assert len({w.file for w in of_file}) == 1
        assert sorted(w.number for w in of_file) == list(range(len(of_file)))


def turns_of(sizes, turns, rows):
    files = [
        [(Window(i, (0, n), 0, n, 0), n)] if n else [] for i, n in enumerate(sizes)
    ]
    return [(s.window.file, s.start, s.stop) for s in take_turns(files, turns, rows)]


def test_one_file_after_the_other_without_turns():
    assert turns_of([5, 0, 3], 0, 2) == turns_of([5, 0, 3], 1, 2)
    assert turns_of([5, 0, 3], 0, 2) == [(0, 0, 5), (2, 0, 3)]


def test_a_file_that_ends_gives_its_turn_to_the_next():
    got = turns_of([5, 2, 4], 2, 2)
    assert got == [
        (0, 0, 2),
        (1, 0, 2),
        (0, 2, 4),
        (2, 0, 2),  # in the turn of file 1
        (0, 4, 5),
        (2, 2, 4),
    ]


def test_a_turn_may_take_from_two_windows():
    windows = [(Window(0, (0, 3), 0, 3, 0), 3), (Window(0, (3, 9), 3, 9, 1), 6)]
    other = [(Window(1, (0, 9), 0, 9, 0), 9)]
    got = [
        (s.window.file, s.window.number, s.start, s.stop)
        for s in take_turns([windows, other], 2, 4)
    ]
    assert got[:4] == [(0, 0, 0, 3), (0, 1, 0, 1), (1, 0, 0, 4), (0, 1, 1, 5)]


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 9])
@given(st.lists(st.integers(0, 9), max_size=5), st.integers(1, 6))
def test_turns_lose_nothing(turns, sizes, rows):
    got = turns_of(sizes, turns, rows)
    events = [(file, e) for file, start, stop in got for e in range(start, stop)]
    assert sorted(events) == [(i, e) for i, n in enumerate(sizes) for e in range(n)]
