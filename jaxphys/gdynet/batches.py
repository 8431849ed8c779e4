"""Batches of pairs of frames a lag apart."""

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxphys.data.batches import Order, sequential, shuffled
from jaxphys.gdynet.data.dataset import TYPES, Pairs, Trajectories

PyTree = Any
_BLOCK = 2**26  # bytes that are converted at a time


@dataclasses.dataclass
class PairBatches:
    """Batches of pairs; batch i depends on (order, epoch, i) only.

    What the step sees:
        nbr_lists_0, nbr_lists_t: [B, N, M] int32.
        nbr_dists_0, nbr_dists_t: [B, N, M] float32, A.
        directions_0, directions_t: [B, N, 3] float32, where asked for.
        weight: [B] float32, 1 for a pair, 0 for what fills up the last batch.
        pair: [B] int32, number of the pair in the data set.

    Only the frames of a batch are read. What is the same in every frame is sent to
    the device once, and comes without _0 and _t as [1, N, M] or [1, N, 3].

    Attributes:
        trajectories: The data.
        pairs: Which frames go together.
        batch_size: B, of a global batch.
        order: Epoch -> permutation of the pairs.
        drop_last: Leave an incomplete last batch out, instead of filling it up.
        directions: Send directions too.
        on_device: Keep the frames of the pairs on the device and gather there.
    """

    trajectories: Trajectories
    pairs: Pairs
    batch_size: int
    order: Order
    drop_last: bool = False
    directions: bool = False
    on_device: bool = False

    def __post_init__(self) -> None:
        size = self.pairs.size
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected >= 1, got {self.batch_size}")
        if not self.pairs.num_batches(self.batch_size, self.drop_last):
            raise ValueError(
                f"{self.trajectories.names[0]} ...: {size} pairs at "
                f"tau={self.pairs.tau} make no full batch of batch_size="
                f"{self.batch_size}: lower batch_size or tau, or add frames"
            )
        self._names = ["nbr_lists", "nbr_dists"]
        if self.directions:
            if not self.trajectories.has_directions:
                raise ValueError(
                    "directions: expected them in every trajectory, they are missing"
                )
            self._names.append("directions")
        static = {n: self.trajectories.static(n) for n in self._names}
        self._static = {n: _narrow(a) for n, a in static.items() if a is not None}
        self._streamed = [n for n in self._names if n not in self._static]
        self._epoch_order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int32))
        self._resident: dict[str, np.ndarray] | None = self._static or None
        if self.on_device:
            self._keep_frames()

    def _keep_frames(self) -> None:
        """Reads the frames of the blocks, as the device will hold them."""
        blocks = self.pairs.blocks
        sizes = blocks[:, 1] - blocks[:, 0]
        # a frame's row on the device is its number less what its block leaves out
        self._shift = blocks[:, 0] - (np.cumsum(sizes) - sizes)
        self._block_starts = blocks[:, 0]
        if np.any(np.diff(self._block_starts) <= 0):
            raise ValueError("blocks: expected them in ascending order")
        frames = np.concatenate([np.arange(a, b) for a, b in blocks])
        kept = {n: _read_all(self.trajectories, n, frames) for n in self._streamed}
        self._resident = {**self._static, **kept}

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch."""
        del epoch
        return self.pairs.num_batches(self.batch_size, self.drop_last)

    def rows(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns pair, weight, frame_0 and frame_t, each [rows], of a batch."""
        held = self._epoch_order
        if held[0] != epoch:
            held = (epoch, self.order(epoch))
            if len(held[1]) != self.pairs.size:
                raise ValueError(
                    f"order: {len(held[1])} pairs, expected {self.pairs.size}"
                )
            self._epoch_order = held  # one assignment: prefetch threads may race here
        start, stop, _ = part.indices(self.batch_size)
        first = index * self.batch_size
        found = held[1][first + start : first + stop]
        weight = np.zeros(stop - start, np.float32)
        weight[: len(found)] = 1
        pair = np.zeros(stop - start, np.int32)
        pair[: len(found)] = found
        frame_0, frame_t = self.pairs.frames(pair)
        return {"pair": pair, "weight": weight, "frame_0": frame_0, "frame_t": frame_t}

    def batch(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns rows `part` of a batch: frames, or where they lie on the device."""
        rows = self.rows(epoch, index, part)
        found = {"pair": rows["pair"], "weight": rows["weight"]}
        for time in ("0", "t"):
            frames = rows[f"frame_{time}"]
            if self.on_device:
                found[f"row_{time}"] = self._row(frames)
            else:
                for name in self._streamed:
                    values = self.trajectories.read(name, frames)
                    found[f"{name}_{time}"] = _narrow(values, self._most_atoms())
        return found

    def _row(self, frames):
        block = np.searchsorted(self._block_starts, frames, side="right") - 1
        return (frames - self._shift[block]).astype(np.int32)

    def _most_atoms(self):
        return self.trajectories.num_atoms

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns one value: all batches have one shape."""
        del epoch, index
        return self.batch_size

    def resident(self, epoch: int) -> PyTree:
        """Returns what stays on the device: static geometry, or all frames, or None."""
        del epoch
        return self._resident

    def expand(self, resident: PyTree, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Gathers the frames of a batch; whole numbers become int32."""
        found = {"pair": batch["pair"], "weight": batch["weight"]}
        for name in self._names:
            held = (resident or {}).get(name)
            if name in self._static:  # one frame: what depends on it is computed once
                found[name] = jnp.asarray(held, TYPES[name])
                continue
            for time in ("0", "t"):
                if held is None:
                    values = batch[f"{name}_{time}"]
                else:
                    values = held.at[batch[f"row_{time}"]].get(mode="clip")
                found[f"{name}_{time}"] = jnp.asarray(values, TYPES[name])
        return found


def train_batches(
    trajectories: Trajectories,
    pairs: Pairs,
    batch_size: int,
    seed: int,
    *,
    directions: bool = False,
    on_device: bool = False,
) -> PairBatches:
    """Returns batches in a new order each epoch, keyed by (seed, epoch).

    Raises:
        ValueError: If there are fewer pairs than a batch takes.
    """
    return PairBatches(
        trajectories,
        pairs,
        batch_size,
        shuffled(pairs.size, seed),
        drop_last=True,
        directions=directions,
        on_device=on_device,
    )


def eval_batches(
    trajectories: Trajectories,
    pairs: Pairs,
    batch_size: int,
    *,
    directions: bool = False,
    on_device: bool = False,
) -> PairBatches:
    """Returns batches of every pair once, in order; the last one is filled up."""
    return PairBatches(
        trajectories,
        pairs,
        batch_size,
        sequential(pairs.size),
        directions=directions,
        on_device=on_device,
    )


def device_bytes(trajectories: Trajectories, directions: bool = False) -> int:
    """Returns the bytes that all frames take on a device with on_device."""
    atoms, width = trajectories.num_atoms, trajectories.num_neighbours
    index = _index_type(atoms).itemsize
    row = {"nbr_lists": atoms * width * index, "nbr_dists": atoms * width * 4}
    if directions:
        row["directions"] = atoms * 12
    static = {name: trajectories.static(name) is not None for name in row}
    return sum(
        size * (1 if static[name] else trajectories.num_frames)
        for name, size in row.items()
    )


def _index_type(count):
    """Returns the smallest type of the numbers 0 .. count - 1 that is sent."""
    for kind in (np.uint8, np.uint16):
        if count <= np.iinfo(kind).max + 1:
            return np.dtype(kind)
    return np.dtype(np.int32)


def _narrow(values, count=None):
    """Returns whole numbers in the smallest type that holds them; floats unchanged."""
    if values.dtype.kind == "f":
        return values
    return values.astype(_index_type(values.shape[1] if count is None else count))


def _read_all(trajectories, name, frames):
    """Reads an array of many frames without a second copy of the whole."""
    row = trajectories.read(name, frames[:1])
    kept = np.empty((len(frames), *row.shape[1:]), _narrow(row).dtype)
    step = max(1, _BLOCK // max(row.nbytes, 1))
    for start in range(0, len(frames), step):
        part = frames[start : start + step]
        kept[start : start + step] = trajectories.read(name, part)
    return kept
