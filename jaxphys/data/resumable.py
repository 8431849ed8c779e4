"""Long work in pieces, which goes on where a call stopped.

The pieces lie in a hidden folder beside what they become (`partial_of`), with the
request that they are made for (`begin`); those that are there are not made again
(`make_pieces`). A piece depends on nothing but its own arguments, so that what is made
is the same for every number of processes and of calls.
"""

import json
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import tqdm

from jaxphys.data.files import read_json, write_json

_REQUEST = "request.json"


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[tuple], workers: int
) -> Iterator[tuple[tuple, Any]]:
    """Yields (job, function(*job)) of every job, in the order in which they are done.

    Args:
      function: of a module, so that other processes find it.
      jobs: arguments; must be picklable where there are several workers.
      workers: processes, spawned and never forked; 1 works in this process.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield job, function(*job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(function, *job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def partial_of(path: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of the pieces of a file or folder that is not finished."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.partial")


def begin(partial: pathlib.Path, request: Mapping[str, Any], kind="folder") -> bool:
    """Opens the folder of the pieces of a request; returns whether it is new.

    Raises:
      ValueError: it holds pieces of another request, naming what differs.
    """
    path = partial / _REQUEST
    if path.is_file():
        require_equal(partial, request, read_json(path), kind)
        return False
    partial.mkdir(parents=True, exist_ok=True)
    write_json(path, request)
    return True


def make_pieces(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    workers: int,
    *,
    title: str,
    unit: str,
    is_done: Callable[[tuple], bool],
    size: Callable[[tuple], int] = lambda job: 1,
    words: Callable[[Sequence[Any]], str] = lambda results: "",
    progress: bool = True,
) -> None:
    """Makes the pieces that are not there yet, with a progress bar.

    Args:
      function: writes a piece; the piece is there when it returns.
      jobs: its arguments, one tuple a piece, see `run_jobs`.
      workers: processes.
      title, unit: of the bar.
      is_done: whether the piece of a job is there.
      size: units of a piece.
      words: results of this call -> what stands behind the bar.
      progress: show the bar.
    """
    todo = [job for job in jobs if not is_done(job)]
    total, left = (sum(map(size, some)) for some in (jobs, todo))
    results = []
    with progress_bar(title, unit, total, total - left, progress) as bar:
        for job, result in run_jobs(function, todo, workers):
            results.append(result)
            bar.set_postfix_str(words(results), refresh=False)
            bar.update(size(job))


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
