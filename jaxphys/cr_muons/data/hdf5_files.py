"""HDF5 files of events: primaries, muons and counts as plain arrays.

primaries (N, 7) are major, minor, energy, zenith, mass, time, depth; muons (M, 6) are
major, minor, energy, x, y, time; counts (N,) are the muons of an event. There an event
without muons is held as one muon of energy 0, which is taken out again.
"""

import dataclasses
import importlib
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.schema import primaries_of_columns
from jaxphys.cr_muons.physics.events import Events

SUFFIXES = (".h5", ".hdf5", ".hdf")
_COLUMNS = {"primaries": 7, "muons": 6}
_BLOCK = 100_000  # events that are read together


@dataclasses.dataclass(frozen=True, eq=False)
class Hdf5Events:
    """Events in an HDF5 file.

    Attributes:
        path: The file.
        stored_offsets: [N + 1] int64, first stored muon of an event.
        group_start: [G + 1] int64 first row of each block, then the rows.
        size: Bytes of the numbers.
    """

    path: str
    stored_offsets: np.ndarray
    group_start: np.ndarray
    size: int

    @property
    def num_rows(self) -> int:
        """Number of events."""
        return len(self.stored_offsets) - 1

    def read(self, start: int, stop: int, showers: bool = True) -> Events:
        """Reads the rows start <= row < stop; `showers` are read in any case.

        Raises:
            ValueError: If the file is damaged or a shower has a wrong number.
        """
        del showers
        first, last = self.stored_offsets[start], self.stored_offsets[stop]
        try:
            with _h5py().File(self.path) as file:
                raw = file["primaries"][start:stop]
                muons = file["muons"][first:last]
        except (OSError, KeyError) as error:
            raise ValueError(
                f"{self.path}: rows {start} to {stop}: cannot be read, the file is "
                f"truncated or damaged: {error}"
            ) from error
        ids = raw[:, :2].astype(np.float64)
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(~((ids >= 0) & (ids < 2**63)).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{self.path}: row {start + bad[0]}, column primaries: expected the "
                f"numbers of a shower >= 0, got {ids[bad[0]].tolist()}"
            )
        primaries, _ = primaries_of_columns(raw)
        offsets = self.stored_offsets[start : stop + 1] - first
        num_muons = np.diff(offsets)
        single = np.flatnonzero(num_muons == 1)
        none = single[muons[offsets[single], 2] == 0]  # E = 0 stands for no muon
        keep = np.ones(len(muons), bool)
        keep[offsets[none]] = False
        num_muons[none] = 0
        chosen = np.ascontiguousarray(muons[keep][:, 2:5], np.float32)
        return Events(
            primaries, num_muons.astype(np.int32), chosen, ids.astype(np.uint64)
        )


def open_hdf5(path: str) -> Hdf5Events:
    """Opens an HDF5 file; the counts are read.

    Raises:
        ValueError: If the file is truncated or its arrays do not fit together.
    """
    try:
        with _h5py().File(path) as file:
            missing = [n for n in ("primaries", "muons", "counts") if n not in file]
            if missing:
                raise ValueError(
                    f"{path}: arrays missing: {', '.join(missing)}; expected primaries "
                    "(N, 7), muons (M, 6) and counts (N,)"
                )
            counts: Any = file["counts"][()]
            shapes = {name: file[name].shape for name in _COLUMNS}
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except OSError as error:
        raise ValueError(
            f"{path}: not a whole HDF5 file (truncated?): {error}"
        ) from error
    for name, columns in _COLUMNS.items():
        rows = len(counts) if name == "primaries" else int(counts.sum())
        if shapes[name] != (rows, columns):
            raise ValueError(
                f"{path}: {name}: expected shape {(rows, columns)} (from counts), got "
                f"{shapes[name]}"
            )
    if len(counts) and counts.min() < 0:
        raise ValueError(
            f"{path}: row {int(np.argmax(counts < 0))}, counts: expected >= 0, got "
            f"{counts.min()}"
        )
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    starts = np.append(np.arange(0, max(len(counts), 1), _BLOCK), len(counts))
    size = 4 * (7 * len(counts) + 6 * int(counts.sum()))
    return Hdf5Events(path, offsets, starts.astype(np.int64), size)


def write_hdf5(path: str, events: Events) -> None:
    """Writes events; one without muons becomes one muon of energy 0."""
    empty = events.num_muons == 0
    stored = np.where(empty, 1, events.num_muons).astype(np.int32)
    primaries = np.zeros((len(events), 7), np.float32)
    primaries[:, :2] = events.showers
    primaries[:, [2, 3, 4, 6]] = events.primaries
    muons = np.zeros((int(stored.sum()), 6), np.float32)
    muons[:, :2] = np.repeat(events.showers, stored, axis=0)
    muons[np.repeat(~empty, stored), 2:5] = events.muons
    with _h5py().File(path, "w") as file:
        file["primaries"], file["muons"], file["counts"] = primaries, muons, stored


def _h5py() -> Any:
    importlib.import_module("hdf5plugin")  # compression that others may have used
    return importlib.import_module("h5py")
