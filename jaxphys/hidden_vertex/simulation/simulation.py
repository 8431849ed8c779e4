"""Simulated events as files: seeded, in chunks, parallel, resumable.

Chunks of 1,000 events lie in a hidden folder beside the file until all are there. A
chunk has its own random numbers, so that a file is the same for every number of
processes. The sample that comes with the package was made by

    simulate_mixture("jaxphys/hidden_vertex/data/sample.parquet", background=4000,
                     signal=600, seed=2020, compression_level=19)
"""

import importlib.resources
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.data.resumable import begin, make_pieces, partial_of, require_equal
from jaxphys.hidden_vertex.data.lhco_writer import write_lhco
from jaxphys.hidden_vertex.data.ragged_parquet import write_ragged_parquet
from jaxphys.hidden_vertex.physics.events import Events
from jaxphys.hidden_vertex.simulation.collisions import (
    KINDS,
    NOMINAL,
    Process,
    accepted_events,
    require_events_extra,
)

CHUNK = 1000  # accepted events of a seed: never change, it defines the events
_BLOCK_ROWS = 2000  # of a row group
_PARQUET, _HDF5 = (".parquet",), (".h5", ".hdf5")
_SHUFFLE_STREAM = len(KINDS)  # beside those of the kinds
_VERSION = 1


def simulate_events(
    path,
    kind: str = "background",
    num_events: int = 1000,
    seed: int = 0,
    workers: int = 1,
    m_v: float = NOMINAL[0],
    m_x: float = NOMINAL[1],
    m_y: float = NOMINAL[2],
    mpi: bool = False,
    progress: bool = True,
) -> pathlib.Path:
    """Writes events of one kind, or goes on where an interrupted call stopped.

    Args:
        path: .parquet (ragged, 0.8 MB per 1,000 events) or .h5 (LHC Olympics).
        kind: "background" or "signal".
        num_events: Accepted events; fewer are the beginning of more.
        seed: Any number >= 0.
        workers: Processes; they are spawned, never forked.
        m_v: GeV, mass of V in V -> X Y (signal); as the next two.
        m_x: GeV.
        m_y: GeV.
        mpi: Several parton pairs per collision.
        progress: Show a progress bar.

    Returns:
        The path.

    Raises:
        ImportError: If the extra `events` is not installed.
        ValueError: If the file (or an interrupted call's) was made differently.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
    counts = {name: num_events if name == kind else 0 for name in KINDS}
    return _simulate(path, counts, seed, workers, (m_v, m_x, m_y), mpi, progress)


def simulate_mixture(
    path,
    background: int,
    signal: int,
    seed: int = 0,
    workers: int = 1,
    m_v: float = NOMINAL[0],
    m_x: float = NOMINAL[1],
    m_y: float = NOMINAL[2],
    mpi: bool = False,
    progress: bool = True,
    compression_level: int = 9,
) -> pathlib.Path:
    """Writes background and signal in random order.

    The events are those that `simulate_events` makes of the same seed.

    Args:
        path: See `simulate_events`, as for all that is not named here.
        background: Accepted background events.
        signal: Accepted signal events.
        seed: Any number >= 0; also decides the order.
        workers: Processes.
        m_v: GeV.
        m_x: GeV.
        m_y: GeV.
        mpi: Several parton pairs per collision.
        progress: Show a progress bar.
        compression_level: Of a Parquet file, 1 to 22.

    Returns:
        The path.

    Raises:
        ImportError: If the extra `events` is not installed.
        ValueError: If the file (or an interrupted call's) was made differently.
    """
    counts = dict(zip(KINDS, (background, signal), strict=True))
    masses = (m_v, m_x, m_y)
    level = compression_level
    return _simulate(path, counts, seed, workers, masses, mpi, progress, True, level)


def sample_path() -> pathlib.Path:
    """Returns the sample of the package: 4,000 background and 600 signal events."""
    root = importlib.resources.files("jaxphys.hidden_vertex.data")
    return pathlib.Path(str(root / "sample.parquet"))


def _simulate(
    path, counts, seed, workers, masses, mpi, progress, shuffle=False, level=9
):
    path = pathlib.Path(path)
    if path.suffix not in _PARQUET + _HDF5:
        raise ValueError(
            f"{path}: expected a file name that ends in .parquet (ragged) or .h5 (LHC "
            "Olympics)"
        )
    if workers < 1 or min(counts.values()) < 0 or not any(counts.values()):
        raise ValueError(
            "workers, number of events: expected at least 1 and 1, got "
            f"{workers}, {counts}"
        )
    m_v, m_x, m_y = masses
    processes = {kind: Process(kind, m_v, m_x, m_y, mpi) for kind in KINDS}
    request = {
        "version": _VERSION,
        **counts,
        "seed": seed,
        "mpi": mpi,
        "masses": list(masses) if counts["signal"] else None,
        "shuffled": shuffle,
    }
    partial = partial_of(path)
    if path.exists():
        require_equal(path, request, _stored_request(path), "name")
        shutil.rmtree(partial, ignore_errors=True)
        return path
    require_events_extra()
    begin(partial, request, "name")
    jobs = [
        (processes[kind], seed, i, min(CHUNK, count - i * CHUNK), partial)
        for kind, count in counts.items()
        for i in range(-(-count // CHUNK))
    ]
    make_pieces(
        make_chunk,
        jobs,
        workers,
        title="simulate",
        unit="event",
        is_done=lambda job: _names(job)[1].is_file(),
        size=lambda job: job[3],
        words=_accepted,
        progress=progress,
    )
    rows = _Rows([_names(job)[0] for job in jobs], [job[0].label for job in jobs])
    order = np.arange(rows.num_rows)
    if shuffle:
        draws = np.random.SeedSequence([seed, _SHUFFLE_STREAM])
        np.random.default_rng(draws).shuffle(order)
    _write(path, rows, order, request, masses, level)
    shutil.rmtree(partial, ignore_errors=True)
    return path


def _write(path, rows, order, request, masses, level):
    metadata = {
        "request": request,
        "tries": rows.tries,
        "origin": "jaxphys simulation, LHCO-like; not the official data",
    }
    blocks = rows.blocks(order)
    if path.suffix in _PARQUET:
        write_ragged_parquet(path, blocks, masses, metadata, level)
    else:
        texts = {name: json.dumps(value) for name, value in metadata.items()}
        write_lhco(path, blocks, len(order), texts)


def _stored_request(path):
    """Returns the request that a finished file was made for, or nothing."""
    try:
        if path.suffix in _PARQUET:
            import pyarrow.parquet as pq

            found = (pq.read_schema(path).metadata or {}).get(b"request", b"{}")
        else:
            import h5py

            with h5py.File(path, "r") as file:
                found = file.attrs.get("request", "{}")
        return json.loads(found)  # type: ignore[arg-type]
    except (OSError, ValueError):  # another file of this name
        return {}


def _names(job):
    """Returns the files of a chunk; the second is written when all is there."""
    process, _, chunk, _, partial = job
    return (
        partial / f"{process.kind}_{chunk:06d}.npy",
        partial / f"{process.kind}_{chunk:06d}.npz",
    )


def _accepted(results):
    accepted, tries = map(sum, zip(*results, strict=True))
    return f"{accepted / tries:.0%} accepted"


def make_chunk(process: Process, seed: int, chunk: int, count: int, partial):
    """Writes the files of a chunk; returns the numbers of events and of tries."""
    made = accepted_events(process, seed, chunk, count)
    particles, rest = _names((process, seed, chunk, count, partial))
    with replace_file(particles) as file:
        np.save(file, made.particles)
    with replace_file(rest) as file:
        np.savez(file, offset=made.offset, tries=made.tries, kind=process.kind)
    return count, made.tries


class _Rows:
    """The events of all chunks, mapped into memory."""

    def __init__(self, paths, labels):
        self.labels, self.tries = labels, dict.fromkeys(KINDS, 0)
        self.particles: list[Any] = [np.load(path, mmap_mode="r") for path in paths]
        self.offsets = []
        for path, label in zip(paths, labels, strict=True):
            with np.load(path.with_suffix(".npz")) as file:
                self.offsets.append(file["offset"])
                self.tries[KINDS[label]] += int(file["tries"])
        self.first = np.cumsum([0, *(len(offset) - 1 for offset in self.offsets)])
        self.num_rows = int(self.first[-1])

    def blocks(self, order) -> Iterator[Events]:
        """Yields the events in an order, numbered by their place in it."""
        for start in range(0, len(order), _BLOCK_ROWS):
            row = order[start : start + _BLOCK_ROWS]
            chunk = np.searchsorted(self.first, row, side="right") - 1
            parts = [
                self.particles[c][self.offsets[c][i] : self.offsets[c][i + 1]]
                for c, i in zip(chunk, row - self.first[chunk], strict=True)
            ]
            size = [len(part) for part in parts]
            label = np.array(self.labels, np.int8)[chunk]
            yield Events(
                np.concatenate(parts),
                np.cumsum([0, *size]),
                label,
                np.arange(start, start + len(row)),
                np.arange(0),
            )
