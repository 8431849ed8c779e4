"""Blocks are read once, a few are kept, and an error reaches who asked."""

import threading

import numpy as np
import pytest

from jaxphys.cr_muons.batches.blocks import BlockStore, Orders
from tests.cr_muons.samples import draw_events


class Reads:
    """Counts what is read."""

    def __init__(self):
        self.keys, self.fail = [], False

    def __call__(self, key):
        self.keys.append(key)
        if self.fail:
            raise ValueError("broken")
        return draw_events(4, seed=key[1])


KEYS = [(0, i, i + 1) for i in range(6)]


def test_a_block_is_read_once_while_it_is_kept():
    reads = Reads()
    store = BlockStore(reads, 2, 0)
    assert store.get(KEYS[0]) is store.get(KEYS[0])
    store.get(KEYS[1])
    store.get(KEYS[2])  # the first goes
    store.get(KEYS[1])
    assert reads.keys == KEYS[:3]
    store.get(KEYS[0])
    assert reads.keys == [*KEYS[:3], KEYS[0]]


def test_expected_blocks_are_there_when_asked_for():
    reads = Reads()
    store = BlockStore(reads, 3)
    store.expect(KEYS[:2])
    store.expect(KEYS[:2])
    for key in KEYS[:2]:
        assert len(store.get(key)) == 4
    assert reads.keys == KEYS[:2]


def test_two_threads_that_ask_for_one_block_read_it_once():
    reads = Reads()
    started, go = threading.Event(), threading.Event()

    def slow(key):
        started.set()
        go.wait(10)
        return reads(key)

    store, found = BlockStore(slow, 2, 0), []
    threads = [
        threading.Thread(target=lambda: found.append(store.get(KEYS[0])))
        for _ in range(3)
    ]
    threads[0].start()
    started.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len({id(block) for block in found}) == 1
    assert reads.keys == [KEYS[0]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_reaches_who_asks_and_is_tried_again(workers):
    reads = Reads()
    reads.fail = True
    store = BlockStore(reads, 2, workers)
    store.expect(KEYS[:1])
    with pytest.raises(ValueError, match="broken"):
        store.get(KEYS[0])
    reads.fail = False
    assert len(store.get(KEYS[0])) == 4


def test_no_room_is_refused():
    with pytest.raises(ValueError, match="blocks in memory"):
        BlockStore(Reads(), 0)


def test_orders_are_made_once_and_forgotten_when_they_are_too_many():
    made, orders = [], Orders(10)

    def get(key, size):
        def make():
            made.append(key)
            return np.full(size, key[1])

        found = orders.get(key, make)
        assert (found == key[1]).all()

    get(KEYS[1], 5)
    get(KEYS[2], 5)
    get(KEYS[1], 5)
    assert made == [KEYS[1], KEYS[2]]
    get(KEYS[3], 4)  # the longest unused goes
    get(KEYS[1], 5)
    get(KEYS[2], 5)
    assert made == [KEYS[1], KEYS[2], KEYS[3], KEYS[2]]
    get(KEYS[4], 99)
    get(KEYS[4], 99)
    assert made[-1] == KEYS[4]
    assert len(orders._held) == 1
