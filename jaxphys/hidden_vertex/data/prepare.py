"""Converts a source of events to the ragged store: in chunks, parallel, resumable.

Chunks lie in a hidden folder beside the store until all are there; then they are
joined and the result is renamed, so that a store that has its name is whole.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxphys.data.files import replace_file, write_json
from jaxphys.data.resumable import begin, make_pieces, partial_of, require_equal
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.data.store import (
    ARRAYS,
    FEATURE_VERSION,
    FORMAT,
    VERSION,
    Store,
    array_sha256,
    check_scale,
    end_sha256,
    label_sha256,
    open_store,
)
from jaxphys.hidden_vertex.physics.events import READ_ROWS, Events, Source
from jaxphys.hidden_vertex.physics.graphs import (
    aggregate,
    features,
    knn_table,
    radius_table,
)
from jaxphys.hidden_vertex.physics.jets import KINDS, event_frame, find_jets, jets_frame

# (particles [N, 3], offset [E + 1]) -> name -> [E]
Observables = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
_FRAMES = {"jets": jets_frame, "event": event_frame}
_EMPTY_NAMED = 100  # rows without particles that meta.json lists


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is computed of every event.

    Attributes:
        k: Neighbours of a particle; 0 stores none.
        periodic_phi: Neighbours across phi = pi.
        radius: Store the radius graph too; 0: not.
        with_ax: Store the mean of the features over a particle and its neighbours.
        views: Store what a model of "jets" or of whole events ("event") sees.
        jets: How the jets of the views are found, "cones" or "fastjet".
        observables: Function of the events that can be pickled, or None.
        read_rows: Rows of a chunk, also of a read.
    """

    k: int = 6
    periodic_phi: bool = False
    radius: float = 0.0
    with_ax: bool = False
    views: tuple[str, ...] = ()
    jets: str = "cones"
    observables: Observables | None = None
    read_rows: int = READ_ROWS

    def __post_init__(self):
        if self.k < 0 or self.radius < 0 or self.read_rows < 1:
            raise ValueError(
                "k, radius, read_rows: expected >= 0, >= 0 and >= 1, got "
                f"{self.k}, {self.radius}, {self.read_rows}"
            )
        if self.with_ax and not self.k:
            raise ValueError("with_ax: needs neighbours, got k=0")
        # a string is no tuple of names, though all its letters can be looked up
        known = isinstance(self.views, tuple) and set(self.views) <= set(_FRAMES)
        if not known or self.jets not in KINDS:
            raise ValueError(
                f"views, jets: expected a tuple of {tuple(_FRAMES)} and one of {KINDS},"
                f" got {self.views!r} and {self.jets!r}"
            )

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values that tell this recipe from another."""
        named = self.observables and (
            f"{self.observables.__module__}.{self.observables.__qualname__}"
        )
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["views"] = sorted(self.views)
        if not self.views:  # so that stores from before there were views are equal
            del values["views"], values["jets"]
        return {
            **values,
            "observables": named,
            "metric": "periodic" if self.periodic_phi else "euclidean",
            "feature_version": FEATURE_VERSION,
        }


def prepare(
    source: Source | str | os.PathLike,
    folder,
    recipe: Recipe | None = None,
    *,
    subset_size: int = 0,
    workers: int = 1,
    progress: bool = False,
    allow_unlabelled: bool = False,
    allow_unscaled: bool = False,
) -> Store:
    """Writes a store, or goes on where an interrupted call stopped.

    Args:
        source: File, or rows from elsewhere; must be picklable for several workers.
        folder: The store; must not exist, or be the result of an equal call.
        recipe: What to compute; None takes the defaults.
        subset_size: Only the first rows; 0 takes all.
        workers: Processes; they are spawned, never forked.
        progress: Show a progress bar with events/s.
        allow_unlabelled: Accept a file without labels (prediction).
        allow_unscaled: See `check_scale`.

    Returns:
        The opened store.

    Raises:
        ValueError: If a row is bad, if no event has a particle, or if the folder (or
            an interrupted call's) was made differently.
    """
    if isinstance(source, (str, os.PathLike)):
        source = open_source(source, allow_unlabelled)
    folder, recipe = pathlib.Path(folder), recipe or Recipe()
    if subset_size < 0 or workers < 1:
        raise ValueError(
            f"subset_size, workers: expected >= 0 and >= 1, got {subset_size}, "
            f"{workers}"
        )
    rows = min(subset_size or source.num_rows, source.num_rows)
    request = {
        "source": source.describe(),
        "labelled": source.labelled,
        "rows": rows,
        **recipe.describe(),
    }
    partial = partial_of(folder)
    if (folder / "meta.json").is_file():
        store = open_store(folder)
        require_equal(folder, request, store.meta["request"])
        shutil.rmtree(partial, ignore_errors=True)
        return store
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: expected a new folder, it holds other files")
    begin(partial, request)
    jobs = [
        (source, recipe, start, min(start + recipe.read_rows, rows), _chunk(partial, i))
        for i, start in enumerate(range(0, rows, recipe.read_rows))
    ]
    make_pieces(
        make_chunk,
        jobs,
        workers,
        title="prepare",
        unit="event",
        is_done=lambda job: job[4].is_file(),
        size=lambda job: job[3] - job[2],
        progress=progress,
    )
    paths = [job[4] for job in jobs]
    _join(partial / "store", paths, request, allow_unscaled)
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial / "store", folder)
    shutil.rmtree(partial, ignore_errors=True)
    return open_store(folder)


def _chunk(partial, number):
    return partial / "chunks" / f"{number:05d}.npz"


def make_chunk(source: Source, recipe: Recipe, start: int, stop: int, path) -> int:
    """Writes the chunk of the rows start <= row < stop; returns their number."""
    arrays = chunk_arrays(source.read(start, stop), recipe)
    with replace_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return stop - start


def chunk_arrays(events: Events, recipe: Recipe) -> dict[str, np.ndarray]:
    """Returns the arrays of a chunk, `size` and `edge_size` in place of offsets."""
    x, offset = events.particles, events.offset
    seen = features(x)
    arrays = {
        "x": x,
        "size": np.diff(offset),
        "event_id": events.event_id,
        "empty_id": events.empty_id,
        "seen": _sums(seen, np.ones(len(x), bool)),
    }
    if events.label is not None:
        arrays["label"] = events.label
        background = np.repeat(events.label == 0, arrays["size"])
        arrays["seen_background"] = _sums(seen, background)
    if recipe.k:
        near = knn_table(x[:, 1:], offset, recipe.k, recipe.periodic_phi)
        arrays["neighbour"] = near
        if recipe.with_ax:
            arrays["ax"] = aggregate(seen, near, offset)
    if recipe.radius:
        edges, edge_offset = radius_table(x[:, 1:], offset, recipe.radius)
        arrays["edge"], arrays["edge_size"] = edges.T.copy(), np.diff(edge_offset)
    if recipe.views:
        jets = find_jets(x, offset, recipe.jets)
        arrays |= {name: _FRAMES[name](jets) for name in recipe.views}
    if recipe.observables is not None:
        found = recipe.observables(x, offset)
        columns = [np.asarray(v, np.float32) for v in found.values()]
        arrays["observables"] = np.stack(columns, axis=1)
        arrays["observable_names"] = np.array(list(found))
    return arrays


def _sums(x, rows):
    """Returns [4, 3]: count, sum, sum of squares and maximum of the features."""
    x = x[rows].astype(np.float64)
    highest = x.max(axis=0, initial=-np.inf)
    return np.stack([np.full(3, len(x)), x.sum(axis=0), (x**2).sum(axis=0), highest])


def _statistics(parts):
    count, total, squares = np.sum([part[:3] for part in parts], axis=0)
    if not count[0]:
        return None
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    highest = np.max([part[3] for part in parts], axis=0)
    return {
        "mean": mean.tolist(),
        "std": std.tolist(),
        "max": highest.tolist(),
        "mean_square": float((squares / count).mean()),
    }


def _join(folder, paths, request, allow_unscaled):
    """Joins the chunks to a store and checks what can be seen in the whole only."""
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted call
    folder.mkdir()
    size = _column(paths, "size")
    if not len(size):
        name = request["source"].get("name", request["source"])
        raise ValueError(
            f"{name}: none of {request['rows']} rows holds an event with a particle"
        )
    event_id, empty = _column(paths, "event_id"), _column(paths, "empty_id")
    label = _column(paths, "label") if request["labelled"] else None
    seen = _statistics([_load(path, "seen") for path in paths])
    check_scale(seen["max"][0], allow_unscaled)  # type: ignore[index]
    small = {"offset": _offset(size), "event_id": event_id}
    statistics = {"all": seen}
    if label is not None:
        small["label"] = label
        parts = [_load(path, "seen_background") for path in paths]
        statistics["background"] = _statistics(parts)
    edges = 0
    if request["radius"]:
        small["edge_offset"] = _offset(_column(paths, "edge_size"))
        edges = int(small["edge_offset"][-1])
    for name, array in small.items():
        with replace_file(folder / f"{name}.npy") as file:
            np.save(file, array)
    counts = {"particles": int(size.sum()), "events": len(size), "edges": edges}
    columns = _join_large(folder, paths, counts)
    stored = [name for name in ARRAYS if name in small or name in columns]
    x = np.load(folder / "x.npy", mmap_mode="r")
    names = []
    if "observables" in columns:
        names = _load(paths[0], "observable_names").tolist()
    labels, label_counts = np.unique([] if label is None else label, return_counts=True)
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "feature_version": FEATURE_VERSION,
        "request": request,
        **counts,
        "label_counts": {
            str(int(k)): int(n) for k, n in zip(labels, label_counts, strict=True)
        },
        "empty_events": len(empty),
        "empty_rows": empty[:_EMPTY_NAMED].tolist(),
        "arrays": stored,
        "sha256": {name: array_sha256(folder, name) for name in stored},
        "columns": columns,
        "observables": names,
        "statistics": statistics,
        "label_sha256": label_sha256(label),
        "first_sha256": end_sha256(x, small["offset"], "first"),
        "last_sha256": end_sha256(x, small["offset"], "last"),
    }
    write_json(folder / "meta.json", meta)


def _join_large(folder, paths, counts):
    """Writes the arrays of a row per particle, edge or event; never holds one whole."""
    with np.load(paths[0]) as first:
        shapes = {name: first[name].shape for name in ARRAYS if name in first.files}
    shapes = {name: shape[1:] for name, shape in shapes.items() if len(shape) > 1}
    for name, row in shapes.items():
        kind, counted, _ = ARRAYS[name]
        shape = (counts[counted], *row)
        with replace_file(folder / f"{name}.npy") as file:
            header = {"descr": np.dtype(kind).str, "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            for path in paths:
                part = np.ascontiguousarray(_load(path, name), kind)
                file.write(part.data)
    return {name: row[0] for name, row in shapes.items()}


def _offset(size):
    offset = np.zeros(len(size) + 1, np.int64)
    np.cumsum(size, out=offset[1:])
    return offset


def _column(paths, name):
    return np.concatenate([_load(path, name) for path in paths])


def _load(path, name):
    with np.load(path) as file:
        return file[name]
