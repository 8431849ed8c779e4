"""Large temporaries on huge pages: what page faults cost, twice the speed without.

glibc reads GLIBC_TUNABLES when a process starts, so the interpreter is started again.
"""

import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence

SETTING = "glibc.malloc.hugetlb=1"
OLDEST = (2, 35)  # glibc that knows it
_KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MARK = "JAXPHYS_HUGE_PAGES"  # of a process that was started again already
_TUNABLES = "GLIBC_TUNABLES"
VARIABLES = (_TUNABLES, _MARK)  # that a start is told by
_OFF = {"--nohuge_pages", "--huge_pages=false"}


def kernel() -> str:
    """Returns the kernel's setting of transparent huge pages, "" where it has none."""
    return _KERNEL.read_text() if _KERNEL.is_file() else ""


def environment(
    env: Mapping[str, str], libc: tuple[str, str], kernel: str
) -> dict[str, str] | None:
    """Returns the environment to start again in, None where there is nothing to gain.

    Args:
      env: of this process.
      libc: name and version of the C library.
      kernel: the kernel's setting of transparent huge pages, "always [madvise] never".
    """
    name, version = libc
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if name != "glibc" or numbers < OLDEST or "[never]" in kernel or not kernel:
        return None
    tunables = env.get(_TUNABLES, "")
    if _MARK in env or "glibc.malloc.hugetlb" in tunables:
        return None
    joined = f"{tunables}:{SETTING}" if tunables else SETTING
    return {**env, _TUNABLES: joined, _MARK: "1"}


def start_again(command: Sequence[str]) -> None:
    """Replaces this process by one on huge pages, where that is possible and wanted.

    Args:
      command: that started this process, `sys.orig_argv`; with `--nohuge_pages` in it
        the process stays.
    """
    if _OFF & set(command):
        return
    found = environment(os.environ, platform.libc_ver(), kernel())
    if found is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *command[1:]], found)
