"""Checks of the arrays of a trajectory, before anything is computed from them.

A gather on a device clamps an index that is out of range without a word, so every
neighbour is looked at here, once: the result is noted beside the data.
"""

import json
import math
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from jaxphys.data.files import write_json
from jaxphys.gdynet.data.sources import LENGTHS, Source

NOTE = ".validated.json"
NOTE_VERSION = 1
MOST_ATOMIC_NUMBER = 99  # the embedding has 100 rows
_SCAN_BYTES = 2**26  # read at a time
_SAMPLED = 512  # frames that the median of the last neighbour is taken of


class Facts(NamedTuple):
    """What a scan finds of distances, A.

    Attributes:
        nearest: Smallest distance.
        median_last: Median distance of the last neighbour, over a sample of frames.
    """

    nearest: float
    median_last: float


def check_source(
    source: Source,
    *,
    directions: bool = False,
    cutoff: float = 0.0,
    scan: bool = True,
    progress: bool = False,
) -> Facts | None:
    """Checks one source: shapes and types, then every number.

    Args:
        source: What to check.
        directions: Directions are needed (ferro).
        cutoff: Last Gaussian centre, A; 0: no warnings about distances.
        scan: Read the large arrays, unless a note says that it has been done.
        progress: Show a progress bar.

    Returns:
        What the scan found, None without one.

    Raises:
        FileNotFoundError: If directions are needed and missing.
        ValueError: Names file, first place and value.

    Warns:
        UserWarning: If targets repeat or distances do not go with the cutoff.
    """
    if directions and source.directions is None:
        raise FileNotFoundError(
            f"missing: {source.path('atom_directions')} (model_type=gdynet_ferro)"
        )
    _check_shapes(source)
    _check_atoms(source)
    if not scan:
        return None
    facts = _read_note(source)
    if facts is None:
        facts = _scan(source, progress)
        _write_note(source, facts)
    _warn(source, facts, cutoff)
    return facts


def check_together(sources: Sequence[Source]) -> None:
    """Raises ValueError unless all sources hold the same atoms and targets."""
    first = sources[0]
    for other in sources[1:]:
        for name in ("atom_types", "target_index"):
            one, two = (np.asarray(getattr(s, name)) for s in (first, other))
            if not np.array_equal(one, two):
                raise ValueError(
                    f"{other.path(name)}: expected what {first.path(name)} holds, got "
                    f"{_difference(one, two)}"
                )
        one, two = first.nbr_lists.shape[2], other.nbr_lists.shape[2]
        if one != two:
            raise ValueError(
                f"{other.path('nbr_lists')}: {two} neighbours per atom, expected "
                f"{one} as in {first.path('nbr_lists')}"
            )


def _difference(one, two):
    if one.shape != two.shape:
        return f"{len(two)} entries for {len(one)}"
    i = int(np.flatnonzero(one != two)[0])
    return f"{two[i]} for {one[i]} at index {i}"


def _check_shapes(source: Source) -> None:
    lists, dists = source.nbr_lists, source.nbr_dists
    for name, array in source.large.items():
        if len(array.shape) != 3 or 0 in array.shape:
            raise ValueError(
                f"{source.path(name)}: expected [frames, atoms, ...], none of them 0, "
                f"got shape {_shape(array)}"
            )
    if lists.shape[1:] != dists.shape[1:]:
        raise ValueError(
            f"{source.path('nbr_dists')}: shape {_shape(dists)}, expected that of "
            f"{source.path('nbr_lists')}, {_shape(lists)}"
        )
    frames, atoms = source.num_frames, lists.shape[1]
    if source.directions is not None and source.directions.shape[1:] != (atoms, 3):
        raise ValueError(
            f"{source.path('atom_directions')}: expected shape ({frames}, {atoms}, 3), "
            f"got {_shape(source.directions)}"
        )
    for name, array in source.large.items():
        if array.shape[0] not in (1, frames):  # one frame stands for all
            raise ValueError(
                f"{source.path(name)}: {array.shape[0]} frames, expected {frames} as "
                "in the other arrays (or 1 for all)"
            )
        wanted = "iu" if name == "nbr_lists" else "fiu"
        if array.dtype.kind not in wanted:
            kind = "integers" if name == "nbr_lists" else "numbers"
            raise ValueError(
                f"{source.path(name)}: expected {kind}, got type {array.dtype}"
            )
    lengths = np.asarray(source.lengths)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or not len(lengths):
        raise ValueError(f"{source.path(LENGTHS)}: expected whole numbers in a row")
    if lengths.min() < 1 or lengths.sum() != frames:
        raise ValueError(
            f"{source.path(LENGTHS)}: expected numbers > 0 of sum {frames}, got sum "
            f"{lengths.sum()}, smallest {lengths.min()}"
        )


def _shape(array):
    return tuple(array.shape)


def _check_atoms(source: Source) -> None:
    atoms = source.nbr_lists.shape[1]
    types, targets = np.asarray(source.atom_types), np.asarray(source.target_index)
    for name, array in (("atom_types", types), ("target_index", targets)):
        if array.ndim != 1:
            raise ValueError(
                f"{source.path(name)}: expected one row, got shape {array.shape}"
            )
        if len(array) and array.dtype.kind not in "iu":
            raise ValueError(
                f"{source.path(name)}: expected integers, got type {array.dtype}"
            )
    if len(types) != atoms:
        raise ValueError(
            f"{source.path('atom_types')}: {len(types)} atoms, expected {atoms} as in "
            f"{source.path('nbr_lists')}"
        )
    if not len(targets):
        raise ValueError(f"{source.path('target_index')}: expected targets, got none")
    for name, array, most in (
        ("atom_types", types, MOST_ATOMIC_NUMBER),
        ("target_index", targets, atoms - 1),
    ):
        bad = np.flatnonzero((array < 0) | (array > most))
        if len(bad):
            raise ValueError(
                f"{source.path(name)}: expected 0 to {most}, got {array[bad[0]]} at "
                f"index {bad[0]}"
            )
    distinct, counts = np.unique(targets, return_counts=True)
    if len(distinct) < len(targets):
        warnings.warn(
            f"{source.path('target_index')}: atom {distinct[counts > 1][0]} is named "
            f"{counts.max()} times: its states count as often",
            UserWarning,
            stacklevel=4,
        )


def _scan(source: Source, progress: bool) -> Facts:
    """Looks at every number, some frames at a time."""
    atoms, nearest = source.nbr_lists.shape[1], math.inf
    total = sum(array.shape[0] for array in source.large.values())
    bar = tqdm.tqdm(
        total=total,
        desc=f"check {source.name}",
        unit="row",
        disable=not progress,
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )
    with bar:
        # the lists first: distances may be computed from them
        for name, array in source.large.items():
            row = int(np.prod(array.shape[1:])) * array.dtype.itemsize
            step = max(1, _SCAN_BYTES // max(row, 1))
            for start in range(0, array.shape[0], step):
                part = np.asarray(array[start : start + step])
                _check_part(source, name, part, start, atoms)
                if name == "nbr_dists":
                    nearest = min(nearest, float(part.min()))
                bar.update(len(part))
    dists = source.nbr_dists
    rows = np.unique(np.linspace(0, dists.shape[0] - 1, _SAMPLED).astype(np.int64))
    last = np.asarray(dists[rows], np.float32)[..., -1]
    return Facts(nearest, float(np.median(last)))


def _check_part(source, name, part, start, atoms):
    if name == "nbr_lists":
        good, expected = (part >= 0) & (part < atoms), f"an atom from 0 to {atoms - 1}"
    elif name == "nbr_dists":
        good, expected = np.isfinite(part) & (part >= 0), "a finite distance >= 0"
    else:
        good, expected = np.isfinite(part), "a finite number"
    if good.all():
        return
    place = np.unravel_index(int(np.argmin(good)), good.shape)
    index = (start + int(place[0]), *(int(i) for i in place[1:]))
    raise ValueError(
        f"{source.path(name)}: expected {expected}, got {part[place]} at index {index}"
    )


def _warn(source, facts, cutoff):
    where = source.path("nbr_dists")
    if cutoff > 0 and facts.nearest > cutoff:
        warnings.warn(
            f"{where}: every distance is above cutoff={cutoff:g} A (the smallest is "
            f"{facts.nearest:.4g}): the Gaussians see nothing",
            UserWarning,
            stacklevel=4,
        )
    elif cutoff > 0 and facts.median_last < cutoff / 2:
        warnings.warn(
            f"{where}: the last neighbour lies at {facts.median_last:.4g} A (median), "
            f"less than half of cutoff={cutoff:g} A: more neighbours or a smaller "
            "cutoff would use the Gaussians better",
            UserWarning,
            stacklevel=4,
        )


def _state(source: Source) -> dict[str, Any]:
    """Returns size and date of the files, which change when the content does."""
    found = {}
    for name, path in source.paths.items():
        stat = os.stat(path)
        found[name] = [pathlib.Path(path).name, stat.st_size, stat.st_mtime_ns]
    return {"version": NOTE_VERSION, "files": found}


def _read_note(source: Source) -> Facts | None:
    if source.folder is None:
        return None
    try:
        note = json.loads((source.folder / NOTE).read_text())
        if note["state"] == _state(source):
            return Facts(*note["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or of another version: look again
    return None


def _write_note(source: Source, facts: Facts) -> None:
    if source.folder is None:
        return
    try:
        note = {"state": _state(source), "facts": list(facts)}
        write_json(source.folder / NOTE, note)
    except OSError:
        pass  # a folder that cannot be written to is scanned every time


def species(source: Any) -> dict[int, int]:
    """Returns atomic number -> targets of it; more than one hints at static labels.

    Args:
        source: Has atom_types and target_index.
    """
    kinds = np.asarray(source.atom_types)[np.asarray(source.target_index)]
    numbers, counts = np.unique(kinds, return_counts=True)
    return {int(z): int(c) for z, c in zip(numbers, counts, strict=True)}


def describe(trajectories: Any, tau: int, batch_size: int) -> list[str]:
    """Returns lines for --mode=prepare --check_only: shapes, counts, one sample.

    Args:
        trajectories: A `Trajectories`.
        tau: Lag in frames.
        batch_size: Pairs of a batch.
    """
    lengths = trajectories.lengths
    pairs = int(np.maximum(lengths - tau, 0).sum())
    lines = [
        f"{len(lengths)} trajectories of {lengths.min()} to {lengths.max()} frames, "
        f"{trajectories.num_frames} in all",
        f"{trajectories.num_atoms} atoms, {len(trajectories.target_index)} targets, "
        f"{trajectories.num_neighbours} neighbours",
        f"{pairs} pairs at tau={tau}: {pairs // batch_size} full batches of "
        f"{batch_size} an epoch, {pairs % batch_size} pairs left over",
    ]
    names = ["nbr_lists", "nbr_dists"]
    names += ["directions"] if trajectories.has_directions else []
    target = int(trajectories.target_index[0])
    for name in names:
        row = trajectories.read(name, np.zeros(1, np.int64))[0, target]
        kept = "one for all frames" if trajectories.static(name) is not None else ""
        lines.append(f"{name} of frame 0, atom {target}: {row.tolist()} {kept}".strip())
    kinds = species(trajectories)
    lines.append(f"targets by atomic number: {kinds}")
    if len(kinds) > 1:
        lines.append(
            "static_identity: the targets are of several species, so a constant label "
            "alone gives a high VAMP score"
        )
    return lines
