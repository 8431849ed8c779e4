"""Global batches by index: a pure function of (seed, epoch, index).

Because batch i of an epoch depends on nothing else, a run can be resumed at any step
and every host can build its own rows of the same batch.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Protocol, cast

import grain
import jax
import numpy as np

PyTree = Any
Order = Callable[[int], np.ndarray]
Plan = list[tuple[int, int, int]]  # (first batch, number of batches, capacity)
Part = Callable[[int], slice]


class Batches(Protocol):
    """Batches of one data set; every leaf's leading axis is the global batch axis."""

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch."""
        ...

    def batch(self, epoch: int, index: int, part: slice) -> PyTree:
        """Returns rows `part` of global batch `index`, as numpy arrays."""
        ...

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns a value that is equal for batches of equal shape."""
        ...

    def resident(self, epoch: int) -> PyTree:
        """Returns arrays that stay on the device (the same object if equal) or None."""
        ...

    def expand(self, resident: PyTree, batch: PyTree) -> PyTree:
        """Turns a batch of `batch` into what the step sees; traced by the compiler."""
        ...


def shuffled(size: int, seed: int) -> Order:
    """Returns epoch -> permutation of `size` rows, keyed by (seed, epoch)."""

    def order(epoch: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
        return generator.permutation(size).astype(np.int32)

    return order


def sequential(size: int) -> Order:
    """Returns epoch -> 0, 1, ..., size-1."""
    rows = np.arange(size, dtype=np.int32)
    return lambda epoch: rows


@dataclasses.dataclass
class ArrayBatches:
    """Batches of equally long arrays, with weight 0 on the rows that pad the last one.

    Attributes:
      arrays: name -> array `[N, ...]`, or a function epoch -> such a mapping (fresh
        data in every epoch; the same number of rows each time).
      batch_size: rows of a global batch, B.
      order: epoch -> permutation of the rows.
      on_device: keep the arrays on the device; batches are then rows to gather.

    A batch that the step sees holds each array as `[B, ...]` and "weight" `[B]`,
    float32, 1 for a row of the data set and 0 for padding.
    """

    arrays: Mapping[str, np.ndarray] | Callable[[int], Mapping[str, np.ndarray]]
    batch_size: int
    order: Order
    on_device: bool = True

    def __post_init__(self) -> None:
        self._epoch_arrays: tuple[int, Mapping[str, np.ndarray]] = (-1, {})
        self._epoch_order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int32))
        sizes = {name: len(array) for name, array in self._load(0).items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"arrays of unequal length: {sizes}")
        self.size = next(iter(sizes.values()))
        if self.size == 0:
            raise ValueError("a data set without rows")

    def _load(self, epoch: int) -> Mapping[str, np.ndarray]:
        if not callable(self.arrays):
            return self.arrays
        held = self._epoch_arrays
        if held[0] != epoch:
            held = (epoch, self.arrays(epoch))
            self._epoch_arrays = held
        return held[1]

    def _rows(self, epoch: int, index: int, part: slice) -> tuple[np.ndarray, ...]:
        held = self._epoch_order
        if held[0] != epoch:
            held = (epoch, self.order(epoch))
            if len(held[1]) != self.size:
                raise ValueError(f"order: {len(held[1])} rows, expected {self.size}")
            self._epoch_order = held  # one assignment: prefetch threads may race here
        start, stop, _ = part.indices(self.batch_size)
        first = index * self.batch_size
        rows = held[1][first + start : first + stop]
        weight = np.zeros(stop - start, np.float32)
        weight[: len(rows)] = 1
        padded = np.zeros(stop - start, np.int32)
        padded[: len(rows)] = rows
        return padded, weight

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches; the last one may be padded."""
        del epoch
        return -(-self.size // self.batch_size)

    def batch(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns rows `part` of a batch: data, or the rows to gather on the device."""
        rows, weight = self._rows(epoch, index, part)
        if self.on_device:
            return {"rows": rows, "weight": weight}
        arrays = self._load(epoch)
        return {**{k: np.asarray(a[rows]) for k, a in arrays.items()}, "weight": weight}

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns one value: all batches have one shape."""
        del epoch, index
        return self.batch_size

    def resident(self, epoch: int) -> Mapping[str, np.ndarray] | None:
        """Returns the arrays if they stay on the device."""
        return self._load(epoch) if self.on_device else None

    def expand(self, resident: PyTree, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Gathers the rows of a batch from the arrays on the device."""
        if resident is None:
            return dict(batch)
        gathered = {
            k: a.at[batch["rows"]].get(mode="clip") for k, a in resident.items()
        }
        return {**gathered, "weight": batch["weight"]}


@dataclasses.dataclass
class FirstThen:
    """Batches of one data set for some epochs, then of another; nothing is resident.

    Attributes:
      first: of epochs 0 to `epochs` - 1.
      then: of all later ones.
      epochs: how many.
    """

    first: Batches
    then: Batches
    epochs: int

    def _of(self, epoch: int) -> Batches:
        return self.first if epoch < self.epochs else self.then

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch."""
        return self._of(epoch).num_batches(epoch)

    def batch(self, epoch: int, index: int, part: slice) -> PyTree:
        """Returns rows `part` of global batch `index`, as numpy arrays."""
        return self._of(epoch).batch(epoch, index, part)

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns a value that is equal for batches of equal shape."""
        return self._of(epoch).shape_key(epoch, index)

    def resident(self, epoch: int) -> None:
        """Returns None."""
        del epoch

    def expand(self, resident: PyTree, batch: PyTree) -> PyTree:
        """Returns the batch as it is."""
        del resident
        return batch


class _Stacks:
    """Random access to the stacks of batches of one epoch, for grain."""

    def __init__(self, batches: Batches, epoch: int, plan: Plan, part: Part):
        self._batches, self._epoch, self._plan, self._part = batches, epoch, plan, part

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, item: int) -> tuple[int, int, PyTree]:
        # grain asks for item i mod len, so any integer is a valid one
        first, count, capacity = self._plan[int(item) % len(self._plan)]
        part = self._part(first)  # of all: a stack has one shape
        rows = [self._batches.batch(self._epoch, first + i, part) for i in range(count)]
        # a stack has a fixed number of places, so that one compilation serves all
        rows += [rows[-1]] * (capacity - count)
        return first, count, jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def plan_stacks(
    batches: Batches, epoch: int, start: int, capacity: int, cuts: Callable[[int], int]
) -> Plan:
    """Groups the batches of an epoch into stacks that go to the device together.

    Args:
      batches: the data.
      epoch: which epoch.
      start: index of the first batch that is still to come.
      capacity: places of a stack.
      cuts: index of a batch -> how many batches may go before the loop must look up
        (an evaluation or a checkpoint counted in steps).

    Returns:
      (first batch, number of batches, capacity) of each stack, in order; all batches
      of a stack have one shape.
    """
    plan, total = [], batches.num_batches(epoch)
    while start < total:
        most = min(capacity, cuts(start), total - start)
        key = batches.shape_key(epoch, start)
        count = 1
        while count < most and batches.shape_key(epoch, start + count) == key:
            count += 1
        plan.append((start, count, capacity))
        start += count
    return plan


def read_stacks(
    batches: Batches, epoch: int, plan: Plan, part: Part
) -> Iterator[tuple[int, int, PyTree]]:
    """Reads the stacks of a plan ahead in a thread, in order.

    Args:
      batches: the data.
      epoch: which epoch.
      plan: from `plan_stacks`.
      part: index of a batch -> the rows of it that this process holds; the same for
        batches of one shape.

    Yields:
      (first batch, number of batches, stack); each leaf of a stack is
      `[capacity, rows, ...]`.
    """
    if not plan:
        return
    source = _Stacks(batches, epoch, plan, part)
    if len(plan) == 1:  # nothing to read ahead: no threads
        yield source[0]
        return
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    yield from grain.MapDataset.source(cast(Any, source)).to_iter_dataset(options)
