"""Converts folders of TrackML CSV files to compact Parquet, and checks data sets."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxphys.data.resumable import progress_bar, run_jobs
from jaxphys.hypertrack.data.compact_writer import CompactWriter
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.physics.events import Event

_BLOCK = 16  # events in memory at a time, per worker


@dataclasses.dataclass(frozen=True)
class Check:
    """What was found in a data set.

    Attributes:
        num_events: events that could be read.
        num_hits: their hits.
        num_particles: their particles with hits.
        problems: number of an event -> what is wrong with it.
    """

    num_events: int
    num_hits: int
    num_particles: int
    problems: dict[int, str]


def prepare(
    source,
    prefix,
    event_ids: Sequence[int] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> pathlib.Path:
    """Writes the events of a folder of CSV files (or of any data set) compactly.

    Args:
        source: see `open_events`.
        prefix: what the names of the new files begin with; they appear when all is
            written.
        event_ids: events to write, in this order; all by default.
        workers: processes that read; they are spawned, never forked.
        progress: show a progress bar.

    Returns:
        The prefix.

    Raises:
        ValueError: an event cannot be read, the message names file and row.
    """
    events = open_events(source)
    ids = [int(i) for i in (events.event_ids if event_ids is None else event_ids)]
    hits = 0
    with (
        CompactWriter(prefix, {"source": pathlib.Path(source).name}) as writer,
        progress_bar("prepare", "event", len(ids), 0, progress) as bar,
    ):
        for start in range(0, len(ids), _BLOCK * workers):
            block = ids[start : start + _BLOCK * workers]
            jobs = [(str(source), i) for i in block]
            found = {
                job[1]: event for job, event in run_jobs(read_event, jobs, workers)
            }
            for event_id in block:
                event = found.pop(event_id)
                writer.write(event)
                hits += event.num_hits
                bar.set_postfix_str(f"{hits:,} hits", refresh=False)
                bar.update()
    return pathlib.Path(prefix)


def read_event(source: str, event_id: int) -> Event:
    """Reads one event of a data set; for other processes."""
    return open_events(source).read(event_id)


def check(source, need_truth: bool = True, progress: bool = True) -> Check:
    """Reads every event of a data set and lists what is wrong, without stopping.

    Args:
        source: see `open_events`.
        need_truth: count an event without truth as a problem.
        progress: show a progress bar.

    Returns:
        The sums over the readable events, and the problems of the others.

    Raises:
        ValueError: the data set cannot be opened at all.
    """
    events = open_events(source)
    sums, problems = np.zeros(3, np.int64), {}
    ids = [int(i) for i in events.event_ids]
    with progress_bar("check", "event", len(ids), 0, progress) as bar:
        for event_id in ids:
            try:
                event = events.read(event_id)
            except ValueError as error:
                problems[event_id] = str(error)
            else:
                sums += 1, event.num_hits, event.num_tracks
                if need_truth and not event.has_truth:
                    problems[event_id] = f"{source}: event {event_id} has no truth"
            bar.set_postfix_str(f"{len(problems)} problems", refresh=False)
            bar.update()
    return Check(*map(int, sums), problems=problems)
