"""Batches of muon bundles of static shape, read from files at random access.

An epoch is planned from the counts alone, so that batch i is a pure function of
(seed, epoch, i): it can be read by any process at any time, and a run that is resumed
sees what the uninterrupted one would have.
"""

import dataclasses
import pathlib
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from jaxphys.cr_muons.batches.blocks import BlockStore, Key, Orders
from jaxphys.cr_muons.batches.packing import (
    MEASURED_BATCHES,
    MOST_BUCKETS,
    Packed,
    choose_buckets,
    choose_budget,
    plan_parts,
)
from jaxphys.cr_muons.batches.shuffle import (
    Segment,
    make_windows,
    order_of_windows,
    take_turns,
    window_order,
)
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.index import DataIndex
from jaxphys.cr_muons.data.outliers import write_outliers
from jaxphys.cr_muons.physics.events import Events

PyTree = Any
SUBSETS = ("all", "train", "validation")
UNSHUFFLED_WINDOW = 65_536  # rows that are decoded together at least
ORDERED_ROWS = 4_000_000  # whose order is kept from the plan to the batches


@dataclasses.dataclass(frozen=True, eq=False)
class EpochPlan:
    """Where the events of an epoch come from.

    Attributes:
        segments: Ranges of windows in the order of the epoch.
        segment_start: [S + 1] int64, first event of a segment, then the events.
        edges: [P + 1] int64, first event of a part, then the events.
        needed: [P] int64, muons of a part.
        last_segment: File -> the number of its last segment.
    """

    epoch: int
    segments: list[Segment]
    segment_start: np.ndarray
    edges: np.ndarray
    needed: np.ndarray
    last_segment: dict[int, int]


@dataclasses.dataclass(eq=False)
class MuonBatches:
    """Batches of the events of a data set.

    What the step sees, with D parts (split over the devices) of b = batch_size / D
    events at most, in m places for muons:
        primaries: [D, b, 4] float32 energy GeV, zenith rad, mass GeV, depth m; energy
            and mass 1 where there is no event.
        num_muons: [D, b] int32, 0 where there is no event.
        muons: [D, m, 3] float32 energy GeV, x m, y m; (1, 0, 0) in empty places.
        muon_event: [D, m] int32, the event of a muon, ascending; b in empty places.
        event_mask: [D, b] float32, 1 for an event.

    The last batch of an epoch is padded; every event is in exactly one batch.

    Attributes:
        index: The data set, from `jaxphys.cr_muons.data.index.scan`.
        batch_size: Events of a global batch at most.
        parts: D; the devices must divide it. Part k of a batch does not depend on the
            number of devices.
        subset: "all", or "train" and "validation" of a split by shower.
        val_fraction: Of the showers.
        split_seed: Another one makes another split.
        filters: Which events are trained on.
        muon_budget: Places for muons of a global batch; 0 chooses.
        muon_buckets: Places of a part to pad to, ascending, the last the budget of a
            part; empty chooses.
        shuffle: Shuffle events, windows and files anew in every epoch.
        shuffle_seed: Of the order.
        shuffle_window: Events that are shuffled among each other; 0: of a whole file.
        multi_file_shuffle: Files that take turns of `turn_rows` events; 0: none.
        turn_rows: 0: batch_size.
        most_events: Only the first so many events of the subset; 0: all.
        prefetch: Blocks that are read ahead in the background.
        workers: Threads that do; 0: nothing is read ahead.
    """

    index: DataIndex
    batch_size: int
    parts: int = 1
    subset: str = "all"
    val_fraction: float = 0.0
    split_seed: int = 0
    filters: Filters = dataclasses.field(default_factory=Filters)
    muon_budget: int = 0
    muon_buckets: tuple[int, ...] = ()
    shuffle: bool = False
    shuffle_seed: int = 42
    shuffle_window: int = 0
    multi_file_shuffle: int = 0
    turn_rows: int = 0
    most_events: int = 0
    prefetch: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        self._check()
        self._kept = [self._keep(file) for file in self.index.files]
        if self.most_events:
            left = self.most_events
            for kept in self._kept:
                kept[np.flatnonzero(kept)[left:]] = False
                left -= int(kept.sum())
        most = self.shuffle_window if self.shuffle else UNSHUFFLED_WINDOW
        self._windows = [
            make_windows(i, file.file.group_start, most)
            for i, file in enumerate(self.index.files)
        ]
        self.size = int(sum(int(kept.sum()) for kept in self._kept))
        if not self.size:
            raise ValueError(
                f"data: no event is left for {self.subset}: {self.counts()}"
            )
        counts = (self._counts_of(i) for i in range(len(self._kept)))
        self.budget = choose_budget(
            self._sample_counts(),
            self.batch_size,
            self.parts,
            self.muon_budget,
            max(int(c.max(initial=0)) for c in counts),
        )
        self._plan: EpochPlan | None = None
        opened = max(self.multi_file_shuffle, 1)
        self._store = BlockStore(
            self._read_block,
            opened + 1 + self.prefetch,
            self.workers if self.prefetch else 0,
        )
        self._orders = Orders(min(ORDERED_ROWS, self.size))  # of one epoch
        self.buckets = self.muon_buckets or choose_buckets(
            self.plan(0).needed, self.budget
        )

    def _check(self):
        if self.parts < 1 or self.batch_size < 1 or self.batch_size % self.parts:
            raise ValueError(
                f"batch_size (global): expected a multiple of the {self.parts} parts, "
                f"got {self.batch_size}"
            )
        if self.subset not in SUBSETS:
            raise ValueError(
                f"subset: expected one of {', '.join(SUBSETS)}, got {self.subset!r}"
            )
        names = ("shuffle_window", "multi_file_shuffle", "turn_rows", "most_events")
        names += ("prefetch",)
        for name in names:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected >= 0, got {getattr(self, name)}")
        given = self.muon_buckets
        if given and (list(given) != sorted(set(given)) or len(given) > MOST_BUCKETS):
            raise ValueError(
                f"muon_buckets: expected at most {MOST_BUCKETS} ascending numbers, got "
                f"{given}"
            )

    def _keep(self, file):
        kept = file.good_rows(self.filters.kept(file.num_muons))
        if self.subset != "all":
            validation = file.validation(self.val_fraction, self.split_seed)
            kept &= validation if self.subset == "validation" else ~validation
        return kept

    def _counts_of(self, file):
        return self.index.files[file].num_muons[self._kept[file]]

    def _sample_counts(self):
        """Returns counts of the first events of epoch 0, for the budget."""
        found, events = [], 0
        segments = self._segments(0)
        for segment in segments:
            order = self._order(segment.window, 0)[segment.start : segment.stop]
            found.append(self.index.files[segment.window.file].num_muons[order])
            events += len(order)
            if events >= MEASURED_BATCHES * self.batch_size:
                break
        return np.concatenate(found)

    def counts(self) -> dict[str, int]:
        """Returns how many events there are and why others are left out."""
        facts, files = self.index.facts, self.index.files
        outliers = [
            file.good_rows(self.filters.outliers(file.num_muons)) for file in files
        ]
        empty = int(facts["empty"]) if self.filters.drop_empty else 0
        return {
            "events": int(facts["events"]),
            "kept": int(sum(int(kept.sum()) for kept in self._kept)),
            "bad_rows": int(facts["bad_rows"]),
            "outliers": int(sum(int(found.sum()) for found in outliers)),
            "empty_dropped": empty,
        }

    def _kept_rows(self, window):
        inside = self._kept[window.file][window.start : window.stop]
        return window.start + np.flatnonzero(inside)

    def _order(self, window, epoch):
        """Returns the rows of a window in the order of an epoch."""
        seed = self.shuffle_seed if self.shuffle else None
        return window_order(window, self._kept_rows(window), epoch, seed)

    def _segments(self, epoch):
        seed = self.shuffle_seed if self.shuffle else None
        files = [
            [(w, int(self._kept[w.file][w.start : w.stop].sum())) for w in of_file]
            for of_file in order_of_windows(self._windows, epoch, seed)
        ]
        rows = self.turn_rows or self.batch_size
        return take_turns(files, self.multi_file_shuffle, rows)

    def plan(self, epoch: int) -> EpochPlan:
        """Returns where the events of an epoch come from; the last plan is kept."""
        held = self._plan
        if held is not None and held.epoch == epoch:
            return held
        segments = self._segments(epoch)
        lengths = [segment.stop - segment.start for segment in segments]
        start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        edges, needed = plan_parts(
            self._counts_in_order(segments, epoch),
            self.batch_size // self.parts,
            self.budget,
        )
        last = {segment.window.file: i for i, segment in enumerate(segments)}
        held = EpochPlan(epoch, segments, start, edges, needed, last)
        self._plan = held
        self.index.cache.announce([self.index.files[file].file.path for file in last])
        return held

    def _counts_in_order(self, segments, epoch) -> Iterator[np.ndarray]:
        for segment in segments:
            order = self._held_order(segment.window, epoch)
            rows = order[segment.start : segment.stop]
            yield self.index.files[segment.window.file].num_muons[rows]

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches; the last one may be padded."""
        return -(-len(self.plan(epoch).needed) // self.parts)

    def _bucket(self, plan, index):
        needed = plan.needed[index * self.parts : (index + 1) * self.parts]
        fits = [places for places in self.buckets if places >= needed.max()]
        return fits[0] if fits else self.budget

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns (events, muons) of a part, equal for batches of equal shape."""
        plan = self.plan(epoch)
        return self.batch_size // self.parts, self._bucket(plan, index)

    def batch(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns the parts `part` of a batch as numpy arrays, see the class."""
        plan = self.plan(epoch)
        start, stop, _ = part.indices(self.parts)
        muons = self._bucket(plan, index)
        packed = Packed.empty(stop - start, self.batch_size // self.parts, muons)
        first = index * self.parts
        last = min(first + stop, len(plan.needed))
        for number in range(first + start, last):
            pieces = self._pieces(plan, plan.edges[number], plan.edges[number + 1])
            packed.fill(number - first - start, pieces)
        return packed.arrays

    def _pieces(self, plan, first, last):
        """Yields (block, positions in it) of the events first <= e < last."""
        number = int(np.searchsorted(plan.segment_start, first, side="right")) - 1
        while first < last:
            segment, begin = plan.segments[number], int(plan.segment_start[number])
            stop = min(int(last), int(plan.segment_start[number + 1]))
            order = self._held_order(segment.window, plan.epoch)
            inside = slice(segment.start + int(first) - begin, None)
            rows = order[inside][: stop - int(first)]
            block = self._block(plan, number)
            offset = segment.window.block[0]
            # consecutive rows are copied as they lie
            run = not self.shuffle and rows[-1] - rows[0] + 1 == len(rows)
            if run:
                yield block, slice(int(rows[0]) - offset, int(rows[-1]) + 1 - offset)
            else:
                yield block, rows - offset
            file, is_end = segment.window.file, stop == plan.segment_start[number + 1]
            if is_end and plan.last_segment[file] == number:
                self.index.cache.release(self.index.files[file].file.path)
            first, number = stop, number + 1

    def _held_order(self, window, epoch):
        return self._orders.get(
            (epoch, window.file, window.number), lambda: self._order(window, epoch)
        )

    def _block(self, plan, number):
        key = _key(plan.segments[number])
        ahead: list[Key] = []
        for segment in plan.segments[number + 1 : number + 1 + self._look]:
            if _key(segment) != key and _key(segment) not in ahead:
                ahead.append(_key(segment))
            if len(ahead) >= self.prefetch:
                break
        block = self._store.get(key)
        self._store.expect(ahead)
        return block

    @property
    def _look(self):
        return 2 * self.multi_file_shuffle + self.prefetch + 2

    def _read_block(self, key):
        number, start, stop = key
        file = self.index.files[number]
        block = file.file.read(start, stop, showers=False)
        if not np.array_equal(block.num_muons, file.num_muons[start:stop]):
            raise ValueError(
                f"{file.file.path}: rows {start} to {stop}: other numbers of muons "
                "than when the data was indexed: the file has changed"
            )
        return block

    def resident(self, epoch: int) -> PyTree:
        """Returns None: nothing stays on the device."""
        del epoch
        return None

    def expand(self, resident: PyTree, batch: PyTree) -> PyTree:
        """Returns the batch as it is."""
        del resident
        return batch

    def events(self, most: int = 0) -> Events:
        """Returns the first events of the subset in the order of the files.

        Args:
            most: How many; 0: all, which must fit in memory.
        """
        blocks, missing = [], most or self.size
        for of_file in self._windows:
            for window in of_file:
                rows = self._kept_rows(window)[:missing]
                if len(rows):
                    block = self.index.files[window.file].file.read(*window.block)
                    blocks.append(block.select(rows - window.block[0]))
                    missing -= len(rows)
        return Events.concatenate(blocks)

    def write_outliers(
        self, folder: str | pathlib.Path, process: int = 0, processes: int = 1
    ) -> int:
        """Writes the outliers in the training schema, see `outliers`."""
        return write_outliers(
            self.index, self.filters, self.batch_size, folder, process, processes
        )


def _key(segment) -> Key:
    window = segment.window
    return window.file, *window.block
