"""A polite end: SIGTERM is noticed between steps, saved, answered by exit code 75."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to go on


class Preempted(Exception):
    """The run was asked to end; its checkpoint is on disk."""


class Preemption:
    """Tells the loop whether the run was asked to end.

    One process listens to SIGTERM and SIGINT itself. With several, JAX's own service
    listens and makes all processes agree on one step, so the two never override each
    other's handler.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._old: dict[int, object] = {}
        self._calls = 0

    def __enter__(self) -> "Preemption":
        main = threading.current_thread() is threading.main_thread()
        if jax.process_count() == 1 and main:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGINT and self._asked.is_set():
            raise KeyboardInterrupt  # a second Ctrl-C ends at once
        self._asked.set()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def reached(self) -> bool:
        """Returns whether to save and end before the next step.

        All processes call this equally often.
        """
        if jax.process_count() == 1:
            return self._asked.is_set()
        # the service compares for equality, and a call may take several steps: so it
        # is told the number of calls, in which there is no gap
        self._calls += 1
        return multihost_utils.reached_preemption_sync_point(self._calls)
