"""Long work in pieces: several processes, a progress bar, the same request again."""

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import tqdm


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[tuple], workers: int
) -> Iterator[Any]:
    """Yields function(*job) of every job, in the order in which they are done.

    Args:
      function: of a module, so that other processes find it.
      jobs: arguments; must be picklable where there are several workers.
      workers: processes, spawned and never forked; 1 works in this process.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield function(*job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def progress_bar(
    title: str, unit: str, total: int, done: int, show: bool
) -> "tqdm.tqdm":
    """Returns a bar; where there is no terminal it writes a line every ten seconds."""
    return tqdm.tqdm(
        total=total,
        initial=done,
        desc=title,
        unit=unit,
        disable=not show,
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )


def require_equal(
    where: Any, expected: Mapping[str, Any], found: Mapping[str, Any], kind="folder"
) -> None:
    """Refuses to go on with what another request has begun or made.

    Args:
      where: for the message.
      expected: the request, of JSON values.
      found: the one that is there.
      kind: "folder" or "name", what the user may choose anew.

    Raises:
      ValueError: names every entry that differs.
    """
    expected = json.loads(json.dumps(expected))
    changed = [
        f"{key}: expected {expected.get(key)!r}, got {found.get(key)!r}"
        for key in sorted({*expected, *found})
        if expected.get(key) != found.get(key)
    ]
    if changed:
        raise ValueError(
            f"{where}: exists and was made differently (remove it or choose another "
            f"{kind}): {'; '.join(changed)}"
        )
