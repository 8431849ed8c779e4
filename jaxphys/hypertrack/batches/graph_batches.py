"""Batches of candidate graphs of fixed shapes, made in the background."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxphys.hypertrack.batches.graph_draws import GraphDraws
from jaxphys.hypertrack.batches.graphs import (
    Bucket,
    choose_buckets,
    empty_graph,
    find_bucket,
    pack_graph,
)

PyTree = Any
Layout = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass
class GraphBatches:
    """Batches of D graphs; one depends on the draws and on (epoch, index) only.

    What the step sees: the arrays of `jaxphys.hypertrack.batches.graphs.pack_graph`
    with D before them, what `layout` adds, and
        slot: `[D]` int32, number of the graph in the global batch.
        weight: `[D]` float32, 1 for a graph, 0 for what fills up the last batch of an
            evaluation (no hits, no edges).
    All graphs of a batch have the shape of one bucket.

    Attributes:
        draws: the graphs.
        batch_size: graphs of a global batch, D; the devices must divide it.
        buckets: shapes, the smallest first; () takes those of `buckets_for`.
        iterations: batches of an epoch; training graphs go on from epoch to epoch.
            0 makes an evaluation: graph n is always of event n modulo events.
        repeats: graphs per event of an evaluation.
        layout: applied to every padded graph on the host, which then has reverse_edge.
        reverse: keep reverse_edge, see `pack_graph`, for the step.
        workers: threads that make the next batches meanwhile; 0 makes none ahead.
    """

    draws: GraphDraws
    batch_size: int = 1
    buckets: Sequence[Bucket] = ()
    iterations: int = 1
    repeats: int = 1
    layout: Layout | None = None
    reverse: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.iterations < 0 or self.repeats < 1:
            raise ValueError(
                "batch_size, iterations, repeats: expected at least 1, 0 and 1, got "
                f"{self.batch_size}, {self.iterations}, {self.repeats}"
            )
        if not self.buckets:
            self.buckets = buckets_for(self.draws, 0 if self._fixed else 64)
        self._ahead: dict[Hashable, Future] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.workers) if self.workers else None

    @property
    def _fixed(self):
        return self.iterations == 0

    @property
    def num_graphs(self) -> int:
        """Graphs of an epoch."""
        if self._fixed:
            return self.repeats * len(self.draws.events)
        return self.iterations * self.batch_size

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches; the last one of an evaluation is filled up."""
        del epoch
        return -(-self.num_graphs // self.batch_size)

    def _keys(self, epoch, index):
        """Returns the (iteration, slot) of the graphs of a batch; None fills up."""
        if not self._fixed:
            iteration = epoch * self.iterations + index
            return [(iteration, slot) for slot in range(self.batch_size)]
        first = index * self.batch_size
        numbers = range(first, first + self.batch_size)
        return [(-1, n) if n < self.num_graphs else None for n in numbers]

    def shape_key(self, epoch: int, index: int) -> Bucket:
        """Returns the bucket that holds every graph of a batch.

        Raises:
            ValueError: a graph is larger than every bucket.
        """
        chosen = self.buckets[0]
        for key in self._keys(epoch, index):
            if key is not None:
                sizes, event_id = self.draws.sizes(*key), self.draws.event_id(*key)
                bucket = find_bucket(self.buckets, sizes, event_id)
                chosen = max(chosen, bucket, key=self.buckets.index)
        return chosen

    def batch(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns the graphs `part` of a batch."""
        start, stop, _ = part.indices(self.batch_size)
        if self._pool is None:
            return self._make(epoch, index, start, stop)
        with self._lock:
            own = self._ahead.pop((epoch, index, start, stop), None)
            self._make_ahead(epoch, index, start, stop)
        return own.result() if own else self._make(epoch, index, start, stop)

    def _make_ahead(self, epoch, index, start, stop):
        last = self.num_batches(epoch)
        following = range(index + 1, min(index + 1 + self.workers, last))
        wanted = [(epoch, i, start, stop) for i in following]
        for key in [key for key in self._ahead if key not in wanted]:
            self._ahead.pop(key).cancel()
        for key in wanted:
            if key not in self._ahead and self._pool is not None:
                self._ahead[key] = self._pool.submit(self._make, *key)

    def _make(self, epoch, index, start, stop):
        bucket = self.shape_key(epoch, index)
        if len(self.buckets) > 1 and bucket == self.buckets[-1]:
            _LOG.info("batch %d of epoch %d: largest bucket %s", index, epoch, bucket)
        graphs = []
        for slot, key in enumerate(self._keys(epoch, index)[start:stop], start):
            graph = empty_graph() if key is None else self.draws.graph(*key)
            reverse = self.reverse or self.layout is not None
            packed = pack_graph(graph, bucket, reverse)
            packed["slot"] = np.asarray(slot, np.int32)
            packed["weight"] = np.asarray(key is not None, np.float32)
            graphs.append(packed if self.layout is None else self.layout(packed))
        names = set(graphs[0]) - (set() if self.reverse else {"reverse_edge"})
        return {name: np.stack([g[name] for g in graphs]) for name in sorted(names)}

    def resident(self, epoch: int) -> None:
        """Returns nothing: no data stays on the device."""
        del epoch

    def expand(self, resident: PyTree, batch: PyTree) -> PyTree:
        """Returns the batch."""
        del resident
        return batch


def buckets_for(draws: GraphDraws, sample: int = 64, **options) -> tuple[Bucket, ...]:
    """Chooses buckets by the first graphs that will be drawn.

    Args:
        draws: the graphs.
        sample: training graphs to look at; 0 looks at one of each event of an
            evaluation.
        options: of `jaxphys.hypertrack.batches.graphs.choose_buckets`.
    """
    if sample:
        sizes = [draws.sizes(i, 0) for i in range(sample)]
    else:
        sizes = [draws.fixed_sizes(i) for i in range(len(draws.events))]
    return choose_buckets(np.array(sizes), **options)
