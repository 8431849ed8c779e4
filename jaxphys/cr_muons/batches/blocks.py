"""Decoded blocks of files: a few in memory, the next ones read in the background."""

import collections
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxphys.cr_muons.physics.events import Events

Key = tuple[int, int, int]  # (file, first row, after the last row)


class BlockStore:
    """Reads blocks of rows, keeps the last few and reads ahead.

    Two requests for one block read it once. What is kept is limited by the number of
    blocks, so that memory is flat however long the files are.
    """

    def __init__(
        self, read: Callable[[Key], Events], most: int, workers: int = 1
    ) -> None:
        """Keeps at most `most` blocks.

        Args:
            read: Reads a block.
            most: Blocks in memory, those that are being read too.
            workers: Threads that read ahead; 0: none.
        """
        if most < 1 or workers < 0:
            raise ValueError(
                f"blocks in memory, workers: expected >= 1 and >= 0, got {most}, "
                f"{workers}"
            )
        self._read_block, self._most = read, most
        self._held: collections.OrderedDict[Key, Future] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, "decode") if workers else None

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("blocks in memory belong to their process")

    def get(self, key: Key) -> Events:
        """Returns a block, read now if it is not there."""
        with self._lock:
            held = self._held.get(key)
            mine = held is None
            if held is None:
                held = self._held[key] = Future()
            self._held.move_to_end(key)
            self._trim()
        if mine:
            self._read(key, held)
        try:
            return held.result()
        except BaseException:
            with self._lock:  # the next request tries again
                if self._held.get(key) is held:
                    del self._held[key]
            raise

    def expect(self, keys: Iterable[Key]) -> None:
        """Starts to read blocks in the background, as many as there is room for."""
        if self._pool is None:
            return
        for key in keys:
            with self._lock:
                if key in self._held:
                    continue
                future = self._held[key] = Future()
                self._trim()
            self._pool.submit(self._read, key, future)

    def _read(self, key, future):
        try:
            future.set_result(self._read_block(key))
        except BaseException as error:
            future.set_exception(error)

    def _trim(self):
        while len(self._held) > self._most:
            self._held.popitem(last=False)


class Orders:
    """Keeps the last arrays that were made, up to a number of entries in all."""

    def __init__(self, most: int) -> None:
        """Keeps arrays of `most` entries in all, and always the last one."""
        self._most, self._entries = most, 0
        self._held: collections.OrderedDict[Key, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns the array of a key, made now if it is not there."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        found = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = found
                self._entries += len(found)
            while self._entries > self._most and len(self._held) > 1:
                self._entries -= len(self._held.popitem(last=False)[1])
        return found
