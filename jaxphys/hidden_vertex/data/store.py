"""The ragged store: events as memory-mapped arrays, any event is one slice.

A folder with x.npy, offset.npy, label.npy, event_id.npy, the optional neighbour.npy,
ax.npy, edge.npy with edge_offset.npy, observables.npy, jets.npy or event.npy (what a
model of jets or of whole events sees), and meta.json.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from jaxphys.hidden_vertex.physics.events import Events
from jaxphys.hidden_vertex.physics.graphs import features
from jaxphys.hidden_vertex.physics.jets import CONSTITUENTS, JETS, PARTICLES

FORMAT = "jaxphys hidden_vertex store"
VERSION = 1
# of how particles become features and graphs: a change makes old stores unusable
FEATURE_VERSION = 1
# name -> (type, what the rows are, shape of a row: a 0 in it if meta.json tells)
ARRAYS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "x": ("float32", "particles", (3,)),
    "offset": ("int64", "events + 1", ()),
    "label": ("int8", "events", ()),
    "event_id": ("int64", "events", ()),
    "neighbour": ("uint16", "particles", (0,)),
    "ax": ("float32", "particles", (3,)),
    "edge": ("uint16", "edges", (2,)),
    "edge_offset": ("int64", "events + 1", ()),
    "observables": ("float32", "events", (0,)),
    "jets": ("float32", "events", (JETS, CONSTITUENTS, 3)),
    "event": ("float32", "events", (PARTICLES, 3)),
}
# log pT of a particle: 20 would be 5e8 GeV, so larger values are no logarithms
MOST_LOG_PT = 20.0
_BLOCK = 2**20  # particles at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
    """Events on disk; the arrays are memory maps, read when they are indexed.

    Attributes:
        folder: Where they lie.
        meta: Content of meta.json.
        x: [N, 3] float32 pT in GeV, eta, phi.
        offset: [E + 1] int64.
        event_id: [E] int64, row of the source file.
        label: [E] int8, None without labels.
        neighbour: [N, k] uint16 within the event, 65535 for none; None if not stored.
        ax: [N, 3] float32, mean of the features of a particle and its neighbours.
        edge: [M, 2] uint16 sender, receiver within the event, of the radius graph.
        edge_offset: [E + 1] int64.
        observables: [E, F] float32, named in meta["observables"].
        jets: [E, 2, 48, 3] float32, see
            `jaxphys.hidden_vertex.physics.jets.jets_frame`.
        event: [E, 128, 3] float32, see
            `jaxphys.hidden_vertex.physics.jets.event_frame`.
    """

    folder: pathlib.Path
    meta: dict[str, Any]
    x: np.ndarray
    offset: np.ndarray
    event_id: np.ndarray
    label: np.ndarray | None = None
    neighbour: np.ndarray | None = None
    ax: np.ndarray | None = None
    edge: np.ndarray | None = None
    edge_offset: np.ndarray | None = None
    observables: np.ndarray | None = None
    jets: np.ndarray | None = None
    event: np.ndarray | None = None

    def __len__(self):
        return len(self.event_id)

    @property
    def sizes(self) -> np.ndarray:
        """Returns the number of particles of every event, [E] int64."""
        return np.diff(self.offset)

    @property
    def label_counts(self) -> dict[int, int]:
        """Returns the number of events of each label; empty without labels."""
        return {int(k): count for k, count in self.meta["label_counts"].items()}

    @property
    def fingerprint(self) -> str:
        """Returns what identifies the data (in a checkpoint, for example)."""
        keys = ("events", "particles", "label_sha256", "first_sha256", "last_sha256")
        text = json.dumps([self.meta[key] for key in keys])
        return hashlib.sha256(text.encode()).hexdigest()

    def __getitem__(self, position: int) -> np.ndarray:
        """Returns the particles [n, 3] of one event."""
        position = range(len(self))[position]
        return self.x[self.offset[position] : self.offset[position + 1]]

    def rows(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of x of some events and their offset in that list.

        Args:
            positions: [n] events.

        Returns:
            (rows [M] int64, offset [n + 1] int64).
        """
        return ragged_rows(self.offset, positions)

    def events(self, positions: np.ndarray) -> Events:
        """Returns a copy of some events."""
        positions = np.asarray(positions)
        rows, offset = self.rows(positions)
        label = None if self.label is None else np.asarray(self.label[positions])
        return Events(
            np.asarray(self.x[rows]),
            offset,
            label,
            np.asarray(self.event_id[positions]),
            np.zeros(0, np.int64),
        )


def ragged_rows(
    offset: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of some segments, one after the other.

    Args:
        offset: [E + 1].
        positions: [n] segments.

    Returns:
        (rows [M] int64, offset [n + 1] int64 of the segments in `rows`).
    """
    first = np.asarray(offset[positions], np.int64)
    sizes = np.asarray(offset[np.asarray(positions) + 1], np.int64) - first
    found = np.zeros(len(first) + 1, np.int64)
    np.cumsum(sizes, out=found[1:])
    return np.arange(found[-1]) + np.repeat(first - found[:-1], sizes), found


def open_store(folder) -> Store:
    """Opens a store.

    Raises:
        ValueError: If it is missing, incomplete, of another version, or the arrays do
            not belong together.
    """
    folder = pathlib.Path(folder)
    path = folder / "meta.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no store there (expected {path}): run prepare")
    try:
        meta = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    expected = {
        "format": FORMAT,
        "version": VERSION,
        "feature_version": FEATURE_VERSION,
    }
    for key, value in expected.items():
        if meta.get(key) != value:
            raise ValueError(
                f"{path}: {key}: expected {value!r}, got {meta.get(key)!r}: prepare "
                "the data again"
            )
    arrays = {name: _open_array(folder, name, meta) for name in meta["arrays"]}
    store = Store(folder, meta, **arrays)
    if store.offset[0] != 0 or store.offset[-1] != len(store.x):
        raise ValueError(
            f"{folder}/offset.npy: expected 0 to {len(store.x)}, got {store.offset[0]} "
            f"to {store.offset[-1]}"
        )
    if label_sha256(store.label) != meta["label_sha256"]:
        raise ValueError(f"{folder}/label.npy: its checksum is not that of meta.json")
    return store


def _open_array(folder, name, meta):
    kind, counted, row = ARRAYS[name]
    counts = {key: meta[key] for key in ("events", "particles", "edges")}
    shape = (meta["events"] + 1 if counted == "events + 1" else counts[counted],)
    shape += tuple(n or meta["columns"][name] for n in row)
    path = folder / f"{name}.npy"
    try:
        # an empty file cannot be mapped
        array = np.load(path, mmap_mode="r" if np.prod(shape) else None)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a whole array (truncated?): {error}") from error
    if array.shape != shape or array.dtype != kind:
        raise ValueError(
            f"{path}: expected {kind} {list(shape)}, got {array.dtype} "
            f"{list(array.shape)}"
        )
    return array


def check_store(store: Store) -> None:
    """Reads a store once and checks it against its checksums and its own rules.

    Raises:
        ValueError: If particles, neighbours or row numbers are not as they were
            written; names the array and the event.
    """
    for name, expected in store.meta.get("sha256", {}).items():
        if array_sha256(store.folder, name) != expected:
            raise ValueError(
                f"{store.folder}/{name}.npy: its checksum is not that of meta.json: "
                "damaged or changed; prepare the data again"
            )
    for end in ("first", "last"):
        if end_sha256(store.x, store.offset, end) != store.meta[f"{end}_sha256"]:
            raise ValueError(
                f"{store.folder}/x.npy: the checksum of the {end} events is not that "
                "of meta.json"
            )
    for name in ("offset", "event_id"):
        steps = np.diff(getattr(store, name))
        if len(steps) and steps.min() < 1:
            raise ValueError(
                f"{store.folder}/{name}.npy: expected ascending numbers, event "
                f"{int(steps.argmin())} is followed by a step of {steps.min()}"
            )
    for start in range(0, len(store.x), _BLOCK):
        block = store.x[start : start + _BLOCK]
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1) | (block[:, 0] <= 0))
        if len(bad):
            event = np.searchsorted(store.offset, start + bad[0], side="right") - 1
            raise ValueError(
                f"{store.folder}/x.npy: event {event}: expected finite numbers and "
                f"pT > 0, got {block[bad[0]]}"
            )


def array_sha256(folder, name: str) -> str:
    """Returns the checksum of the file of an array."""
    with open(pathlib.Path(folder) / f"{name}.npy", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def label_sha256(label: np.ndarray | None) -> str:
    """Returns the checksum of the label column; that of nothing without labels."""
    content = b"" if label is None else np.ascontiguousarray(label, np.int8).tobytes()
    return hashlib.sha256(content).hexdigest()


def end_sha256(x: np.ndarray, offset: np.ndarray, end: str) -> str:
    """Returns the checksum of the particles of the "first" or "last" 1,000 events."""
    edge = min(1000, len(offset) - 1)
    part = x[: offset[edge]] if end == "first" else x[offset[-1 - edge] :]
    return hashlib.sha256(np.ascontiguousarray(part, np.float32).tobytes()).hexdigest()


def feature_statistics(
    store: Store, positions: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns mean, std, max of the model's features and their mean square.

    Args:
        store: The data.
        positions: [n] events to take; None takes all.

    Returns:
        mean, std, max: [3] float64 over particles; mean_square: scalar, over
        particles and features.
    """
    positions = np.arange(len(store)) if positions is None else np.sort(positions)
    total, squares = np.zeros(3), np.zeros(3)
    highest, count = np.full(3, -np.inf), 0
    for start in range(0, len(positions), 4096):
        rows, _ = store.rows(positions[start : start + 4096])
        x = features(store.x[rows]).astype(np.float64)
        total += x.sum(axis=0)
        squares += (x**2).sum(axis=0)
        highest = np.maximum(highest, x.max(axis=0, initial=-np.inf))
        count += len(x)
    if not count:
        raise ValueError(f"{store.folder}: no event to take statistics of")
    mean = total / count
    return {
        "mean": mean,
        "std": np.sqrt(np.maximum(squares / count - mean**2, 0)),
        "max": highest,
        "mean_square": np.asarray(squares.sum() / count / 3),
    }


def check_scale(highest_log_pt: float, allow_unscaled: bool = False) -> None:
    """Raises ValueError if the first feature cannot be a logarithm of pT.

    Args:
        highest_log_pt: Largest value of the first feature.
        allow_unscaled: Accept it all the same (--allow_unscaled).
    """
    if highest_log_pt > MOST_LOG_PT and not allow_unscaled:
        raise ValueError(
            f"first feature: expected log pT, at most {MOST_LOG_PT}, got "
            f"{highest_log_pt:.4g}: raw pT in its place makes a loss of over 1000 "
            "(--allow_unscaled takes it all the same)"
        )
