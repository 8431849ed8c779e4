"""Simulated events as files: seeded, parallel, resumable.

Every event has random numbers of its own, from the seed and its number: an event is
the same whoever makes it, alone or among others. Finished events lie in a hidden
folder beside the files until all are there. The sample that comes with the package
was made by

    simulate("jaxphys/hypertrack/sample", num_events=45, mu=2.0, seed=2014,
             first_event_id=1, compression_level=22)
"""

import pathlib
import shutil

import numpy as np

from jaxphys.data.resumable import begin, make_pieces, partial_of, require_equal
from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.compact_writer import CompactWriter
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.simulation.collisions import collide, require_events_extra
from jaxphys.hypertrack.simulation.fatras import fly
from jaxphys.hypertrack.simulation.response import MOST_COLLISIONS, respond

_VERSION = 1  # of the physics: events of another version are not mixed with these
_MOST_SEED = 2**32


def simulate(
    prefix,
    num_events: int = 48,
    mu: float = 20.0,
    seed: int = 0,
    first_event_id: int = 1,
    workers: int = 1,
    progress: bool = True,
    compression_level: int = 9,
) -> pathlib.Path:
    """Writes events as compact Parquet, or goes on where an interrupted call stopped.

    Args:
        prefix: what the names of the three files begin with.
        num_events: events; fewer are the beginning of more.
        mu: mean pile-up, soft collisions per event; one event of 200 / mu has a pair
            of top quarks too. An event without any collision is drawn again.
        seed: any number >= 0.
        first_event_id: number of the first event.
        workers: processes; they are spawned, never forked, and take about ten
            seconds to start.
        progress: show a progress bar.
        compression_level: of the files, 1 to 22.

    Returns:
        The prefix.

    Raises:
        ImportError: the extra `events` is not installed.
        ValueError: an argument is out of its range, or the files (or those of an
            interrupted call) were made differently.
    """
    prefix = pathlib.Path(prefix)
    _require_ranges(num_events, mu, seed, first_event_id, workers)
    request = {
        "version": _VERSION,
        "num_events": num_events,
        "mu": float(mu),
        "seed": seed,
        "first_event_id": first_event_id,
    }
    partial = partial_of(prefix)
    if compact_path(prefix, "hits").exists():
        require_equal(prefix, request, _stored_request(prefix), "name")
        shutil.rmtree(partial, ignore_errors=True)
        return prefix
    require_events_extra()
    begin(partial, request, "name")
    ids = list(range(first_event_id, first_event_id + num_events))
    make_pieces(
        make_event,
        [(i, mu, seed, partial) for i in ids],
        workers,
        title="simulate",
        unit="event",
        is_done=_is_made,
        words=lambda hits: f"{sum(hits) / len(hits):,.0f} hits per event",
        progress=progress,
    )
    note = {"request": request, "origin": "jaxphys simulation; not the official data"}
    with CompactWriter(prefix, note, compression_level) as writer:
        for event_id in ids:
            writer.write(CompactEvents(_part(partial, event_id)).read(event_id))
    shutil.rmtree(partial, ignore_errors=True)
    return prefix


def simulate_event(event_id: int, mu: float, seed: int) -> Event:
    """Simulates one event.

    Args:
        event_id: its number, part of the seed.
        mu: mean pile-up.
        seed: any number >= 0.

    Returns:
        The event; always the same for the same arguments.
    """
    tries = np.random.SeedSequence([seed, event_id])
    while True:
        # hardly ever is there nothing to see: then another crossing is taken
        beams, flight_seed, answer = tries.spawn(3)
        primaries = collide(mu, np.random.default_rng(beams))
        if len(primaries):
            number = int(flight_seed.generate_state(1, np.uint32)[0])
            flight = fly(primaries, number)
            rng = np.random.default_rng(answer)
            event = respond(event_id, primaries, flight, rng)
            if event.num_tracks:
                return event


def make_event(event_id: int, mu: float, seed: int, partial) -> int:
    """Simulates one event into files of its own; returns the number of its hits."""
    event = simulate_event(event_id, mu, seed)
    with CompactWriter(_part(partial, event_id), compression_level=1) as writer:
        writer.write(event)
    return event.num_hits


def _require_ranges(num_events, mu, seed, first_event_id, workers):
    # the number of collisions fluctuates by ten standard deviations at most
    if not mu > 0 or mu + 10 * np.sqrt(mu) >= MOST_COLLISIONS:
        raise ValueError(f"mu: expected a number above 0 and below 1640, got {mu}")
    for name, value, least in (
        ("num_events", num_events, 1),
        ("workers", workers, 1),
        ("seed", seed, 0),
        ("first_event_id", first_event_id, 0),
    ):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if seed >= _MOST_SEED or first_event_id + num_events >= 2**31:
        raise ValueError(
            "seed, event numbers: expected below 2^32 and 2^31, got "
            f"{seed}, {first_event_id + num_events}"
        )


def _part(partial, event_id):
    return pathlib.Path(partial) / f"event{event_id:09d}"


def _stored_request(prefix):
    """Returns the request that finished files were made for, or nothing."""
    try:
        return CompactEvents(prefix).metadata.get("request", {})
    except ValueError:  # other files of this name
        return {}


def _is_made(job):
    event_id, _, _, partial = job
    part = _part(partial, event_id)
    return all(compact_path(part, k).is_file() for k in ("hits", "truth", "particles"))
