"""Frames of molecular dynamics, and pairs of frames a lag apart.

Frames have one number through all trajectories, in the order in which these are given.
Nothing is loaded until it is asked for, and then only the frames that are.
"""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.gdynet.data.sources import Source, make_source, open_sources
from jaxphys.gdynet.data.validation import check_source, check_together

# from this number of trajectories on a split gives away whole ones
WHOLE_TRAJECTORIES = 10
TYPES = {
    "nbr_lists": np.dtype(np.int32),
    "nbr_dists": np.dtype(np.float32),
    "directions": np.dtype(np.float32),
}


class Trajectories:
    """Trajectories of the same atoms, of any lengths.

    Attributes:
        sources: Where they lie.
        atom_types: [N] int32 atomic numbers.
        target_index: [n] int32 atoms whose states are wanted.
        starts: [T] int64 number of the first frame of a trajectory.
        lengths: [T] int64 frames of a trajectory, F_r.
        names: T names, for messages.
    """

    def __init__(self, sources: Sequence[Source]):
        self.sources = tuple(sources)
        first = self.sources[0]
        self.atom_types = np.asarray(first.atom_types).astype(np.int32)
        self.target_index = np.asarray(first.target_index).astype(np.int32)
        parts = [np.asarray(s.lengths, np.int64) for s in self.sources]
        self.lengths = np.concatenate(parts)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.names = [
            s.name if len(part) == 1 else f"{s.name}, trajectory {r}"
            for s, part in zip(self.sources, parts, strict=True)
            for r in range(len(part))
        ]
        frames = np.array([s.num_frames for s in self.sources])
        self._first = np.cumsum(frames) - frames  # of every source
        self.num_frames = int(frames.sum())

    @property
    def num_atoms(self) -> int:
        """N."""
        return len(self.atom_types)

    @property
    def num_neighbours(self) -> int:
        """M."""
        return self.sources[0].nbr_lists.shape[2]

    @property
    def has_directions(self) -> bool:
        """Whether every trajectory has directions."""
        return all(source.directions is not None for source in self.sources)

    def static(self, name: str) -> Any:
        """Returns what is the same in every frame of every trajectory, or None.

        Args:
            name: "nbr_lists", "nbr_dists" or "directions".

        Returns:
            [1, N, ...] int32 or float32.
        """
        arrays = [getattr(source, name) for source in self.sources]
        if any(a.shape[0] != 1 or s.num_frames == 1 for a, s in self._with(arrays)):
            return None
        rows = [np.asarray(array[:1]) for array in arrays]
        if any(not np.array_equal(row, rows[0]) for row in rows[1:]):
            return None
        return rows[0].astype(TYPES[name])

    def _with(self, arrays):
        return zip(arrays, self.sources, strict=True)

    def read(self, name: str, frames: np.ndarray) -> np.ndarray:
        """Reads one array of some frames.

        Args:
            name: "nbr_lists", "nbr_dists" or "directions".
            frames: [B] numbers of frames, in any order.

        Returns:
            [B, N, ...] int32 or float32.
        """
        frames = np.asarray(frames, np.int64)
        which = np.searchsorted(self._first, frames, side="right") - 1
        used = np.unique(which)
        shape = getattr(self.sources[0], name).shape[1:]
        found = np.empty((len(frames), *shape), TYPES[name])
        for s in used:
            array = getattr(self.sources[s], name)
            mine = slice(None) if len(used) == 1 else which == s
            rows = frames[mine] - self._first[s]
            # a row that serves every frame is stored once
            found[mine] = array[np.zeros(1, np.int64) if array.shape[0] == 1 else rows]
        return found

    def trajectory_of(self, frames: Any) -> np.ndarray:
        """Returns [B] the trajectories of frames."""
        return np.searchsorted(self.starts, np.asarray(frames), side="right") - 1


def open_trajectories(
    places: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    directions: bool = False,
    cutoff: float = 0.0,
    scan: bool = True,
    progress: bool = False,
) -> Trajectories:
    """Opens and checks trajectories.

    Args:
        places: See `jaxphys.gdynet.data.sources.open_sources`.
        directions: They are needed (ferro).
        cutoff: Last Gaussian centre, A, for warnings about distances; 0: none.
        scan: Read every neighbour and distance once (see `validation`).
        progress: Show a progress bar meanwhile.

    Raises:
        FileNotFoundError: Names everything that is missing.
        ValueError: If something is wrong; names file, first place and value.
    """
    sources = open_sources(places, directions)
    for source in sources:
        check_source(
            source, directions=directions, cutoff=cutoff, scan=scan, progress=progress
        )
    check_together(sources)
    return Trajectories(sources)


def from_arrays(
    arrays: Mapping[str, Any], name: str = "arrays", directions: bool = False
) -> Trajectories:
    """Makes trajectories of arrays in memory, named like the files of a folder."""
    source = make_source(name, arrays)
    check_source(source, directions=directions)
    return Trajectories([source])


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of frames f and f + tau that lie in one block of one trajectory.

    Attributes:
        blocks: [K, 2] int64 first frame and the one after the last.
        tau: Lag in frames.
        stride: Only every stride-th f of a block.
    """

    blocks: np.ndarray
    tau: int
    stride: int = 1

    def __post_init__(self) -> None:
        if self.tau < 1 or self.stride < 1:
            raise ValueError(
                f"tau, stride: expected >= 1 frame, got {self.tau}, {self.stride}"
            )
        blocks = np.asarray(self.blocks, np.int64).reshape(-1, 2)
        starts = np.maximum(blocks[:, 1] - blocks[:, 0] - self.tau, 0)
        counts = -(-starts // self.stride)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "_ends", np.cumsum(counts))

    @property
    def size(self) -> int:
        """P."""
        ends = self._ends  # type: ignore[attr-defined]
        return int(ends[-1]) if len(ends) else 0

    def num_batches(self, batch_size: int, drop_last: bool) -> int:
        """Returns full batches, or all of them with the last one maybe short."""
        return self.size // batch_size if drop_last else -(-self.size // batch_size)

    def frames(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the frames of pairs.

        Args:
            positions: [B] 0 .. P - 1; trajectory-major, then by time.

        Returns:
            (f [B], f + tau [B]) int64.
        """
        ends = self._ends  # type: ignore[attr-defined]
        positions = np.asarray(positions, np.int64)
        block = np.searchsorted(ends, positions, side="right")
        before = np.where(block > 0, ends[block - 1], 0)
        first = self.blocks[block, 0] + self.stride * (positions - before)
        return first, first + self.tau


def all_pairs(trajectories: Trajectories, tau: int, stride: int = 1) -> Pairs:
    """Returns the pairs of whole trajectories.

    Raises:
        ValueError: If a trajectory has no pair, naming it.
    """
    starts, lengths = trajectories.starts, trajectories.lengths
    pairs = Pairs(np.stack([starts, starts + lengths], axis=1), tau, stride)
    short = np.flatnonzero(lengths <= tau)
    if len(short):
        r = int(short[0])
        raise ValueError(
            f"{trajectories.names[r]}: {lengths[r]} frames, expected more than "
            f"tau={tau}"
        )
    return pairs


def split_blocks(
    trajectories: Trajectories,
    fractions: Sequence[float],
    tau: int,
    *,
    block: int = 0,
    seed: int = 0,
) -> list[np.ndarray]:
    """Splits one data set, into whole trajectories or into blocks of time.

    With at least 10 trajectories whole ones are given away, in the order of a
    permutation. With fewer each is cut into blocks, given to the parts in turn such
    that their shares grow alike, and tau frames are left out where the part changes,
    so that no frame of one part is correlated with the next by the lag.

    Args:
        trajectories: The data.
        fractions: Shares of the parts, for example 0.8, 0.1, 0.1.
        tau: Lag in frames.
        block: Frames of a block; 0: one block per part and trajectory.
        seed: Of the permutation.

    Returns:
        For each part blocks [K, 2], as `Pairs` takes them.

    Raises:
        ValueError: If the shares are out of range or a part gets no pair.
    """
    shares = np.asarray(fractions, np.float64)
    if len(shares) < 2 or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"split={list(fractions)}: expected two or more shares > 0 of sum 1"
        )
    if block < 0 or 0 < block <= tau:
        raise ValueError(
            f"split_block={block}: expected 0 or more frames than tau={tau}"
        )
    starts, lengths = trajectories.starts, trajectories.lengths
    if len(lengths) >= WHOLE_TRAJECTORIES:
        random = np.random.Generator(np.random.Philox(key=[seed, len(lengths)]))
        order = random.permutation(len(lengths))
        bounds = np.round(np.cumsum([0, *shares]) * len(lengths)).astype(int)
        parts = [np.sort(order[a:b]) for a, b in itertools.pairwise(bounds)]
        found = [np.stack([starts[p], starts[p] + lengths[p]], axis=1) for p in parts]
    else:
        found = _in_time(starts, lengths, shares, tau, block)
    for i, blocks in enumerate(found):
        if not Pairs(blocks, tau).size:
            raise ValueError(
                f"split={list(fractions)}: part {i} holds no pair of frames: expected "
                f"more frames than tau={tau} in a block, got {lengths.sum()} frames in "
                f"{len(lengths)} trajectories, split_block={block}"
            )
    return found


def _in_time(starts, lengths, shares, tau, block):
    found = [[] for _ in shares]
    given = np.zeros(len(shares))
    for start, length in zip(starts, lengths, strict=True):
        if block:
            cuts = [*range(0, int(length), block), int(length)]
        else:
            cuts = np.round(np.cumsum([0, *shares]) * length).astype(int).tolist()
        before = -1
        for i, (a, b) in enumerate(itertools.pairwise(cuts)):
            # the part that is furthest behind its share
            part = int(np.argmin(given / shares)) if block else i
            given[part] += b - a
            if part == before:
                found[part][-1][1] = start + b
            else:
                gap = tau if before >= 0 else 0
                found[part].append([start + min(a + gap, b), start + b])
            before = part
    return [
        np.array([b for b in blocks if b[1] > b[0]], np.int64).reshape(-1, 2)
        for blocks in found
    ]
