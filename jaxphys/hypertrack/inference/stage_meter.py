"""Time and memory of the stages of a computation."""

import contextlib
import dataclasses
import resource
import time
from collections.abc import Iterator
from typing import Any

import jax

_RESET, _STATUS = "/proc/self/clear_refs", "/proc/self/status"
_PEAK_OF_NOW = "5"  # makes Linux forget the largest resident size so far


@dataclasses.dataclass
class StageMeter:
    """Measures stages one after the other.

    Attributes:
      seconds: wall time of each stage so far.
      cpu_seconds: time of all threads of the process.
      peak_bytes: largest resident memory of the process during each stage. Where the
        system cannot tell a stage from those before it, the largest so far.
    """

    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    cpu_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    peak_bytes: dict[str, int] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what happens in the block to a stage.

        Results of a device must be waited for inside of the block.
        """
        _forget_peak()
        begin, begin_cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._add(self.seconds, name, time.perf_counter() - begin)
            self._add(self.cpu_seconds, name, time.process_time() - begin_cpu)
            self.peak_bytes[name] = max(self.peak_bytes.get(name, 0), peak_bytes())

    @staticmethod
    def _add(table: dict[str, float], name: str, value: float) -> None:
        table[name] = table.get(name, 0.0) + value

    @property
    def peak(self) -> int:
        """Largest resident memory of all stages, bytes."""
        return max(self.peak_bytes.values(), default=0)


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open(_RESET, "w") as file:
        file.write(_PEAK_OF_NOW)


def peak_bytes() -> int:
    """Returns the largest resident memory of the process, of late if that is known."""
    try:
        with open(_STATUS) as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device_peak_bytes() -> int | None:
    """Returns the largest memory use of the first device, where it tells."""
    statistics: Any = jax.local_devices()[0].memory_stats()
    return None if not statistics else statistics.get("peak_bytes_in_use")
