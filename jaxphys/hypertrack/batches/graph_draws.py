"""Which event and which part of it a training graph is made of, by number.

Every draw is keyed by (seed, purpose, iteration, slot) and nothing else: a run that is
resumed, or spread over other devices, sees the same graphs.
"""

import collections
import dataclasses
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.batches.graphs import Graph, make_graph
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.model.candidates import count_edges
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.physics.events import Event

_EVENT, _PERIOD, _PART, _EACH = range(4)  # purposes
_PARTS, _SIZES = 64, 1 << 16  # how many are kept
_FIXED = -1  # in place of an iteration, for the graphs of an evaluation


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """How graphs are drawn from events.

    Attributes:
        rfactor_start: smallest fraction of the pile-up to keep.
        rfactor_end: largest one; each graph draws its own in between.
        noise_ratio: mean fraction of noise hits; negative as in the data.
        reduce: one of `jaxphys.hypertrack.data.reduction.MODES`.
        period: probability that a graph takes a new event rather than the one of the
            iteration before.
        seed: of all draws.
    """

    rfactor_start: float = 0.01
    rfactor_end: float = 0.01
    noise_ratio: float = 0.05
    reduce: str = "track"
    period: float = 1.0
    seed: int = 12345

    def __post_init__(self) -> None:
        if not 0 < self.rfactor_start <= self.rfactor_end <= 1:
            raise ValueError(
                "rfactor_start, rfactor_end: expected 0 < start <= end <= 1, got "
                f"{self.rfactor_start}, {self.rfactor_end}"
            )
        if not 0 < self.period <= 1:
            raise ValueError(f"period: expected in (0, 1], got {self.period}")

    def generator(self, purpose: int, iteration: int, slot: int) -> np.random.Generator:
        """Returns the generator of one purpose of one graph."""
        # the smallest iteration is _FIXED, and keys are not negative
        return np.random.default_rng([self.seed, purpose, iteration + 1, slot])

    def place(self, num_events: int, iteration: int, slot: int) -> int:
        """Returns which of the events a training graph is made of."""
        while iteration > 0 and self.period < 1:
            drawn = self.generator(_PERIOD, iteration, slot).random()
            if drawn < self.period:
                break
            iteration -= 1
        return int(self.generator(_EVENT, iteration, slot).integers(num_events))


class GraphDraws:
    """Graphs by (iteration, slot): a pure function, with what is needed twice kept.

    Safe to use from several threads.
    """

    def __init__(
        self,
        events: Sequence[Event] | Any,
        model: VoxelModel,
        settings: DrawSettings,
        node2node: str = "",
        cricket_compat: bool = False,
        keep_events: int = 64,
    ):
        """Makes the draws.

        Args:
            events: has a length, and an `Event` at every place.
            model: trained voxels.
            settings: of the draws.
            node2node: which pairs are true; empty takes the mode of the voxels.
            cricket_compat: see `jaxphys.hypertrack.physics.truth_graph.true_pairs`.
            keep_events: events that stay in memory, with the cells of their hits.

        Raises:
            ValueError: there are no events.
        """
        if not len(events):
            raise ValueError("events: expected at least one, got none")
        self.events, self.model, self.settings = events, model, settings
        self._mode = (node2node, cricket_compat)
        self._events = _Kept(keep_events)
        self._parts = _Kept(_PARTS)
        self._sizes = _Kept(_SIZES)

    def sizes(self, iteration: int, slot: int) -> tuple[int, int, int]:
        """Returns the hits, edges and tracks of a training graph without making it."""
        return self._known(iteration, slot)[0]

    def graph(self, iteration: int, slot: int) -> Graph:
        """Returns a training graph."""
        event, cells = self._part(iteration, slot)
        return make_graph(event, self.model, cells, *self._mode)

    def event_id(self, iteration: int, slot: int) -> int:
        """Returns the event that a training graph is made of."""
        return self._known(iteration, slot)[1]

    def fixed_sizes(self, number: int) -> tuple[int, int, int]:
        """Returns the hits, edges and tracks of a graph of an evaluation."""
        return self.sizes(_FIXED, number)

    def fixed_graph(self, number: int) -> Graph:
        """Returns graph `number` of an evaluation: of event number modulo events."""
        return self.graph(_FIXED, number)

    def _known(self, iteration, slot):
        """Returns the sizes of a graph and its event; they are small and stay."""

        def measure():
            event, cells = self._part(iteration, slot)
            edges = count_edges(self.model, cells)
            return (event.num_hits, edges, event.num_tracks), event.event_id

        return self._sizes.get((iteration, slot), measure)

    def _part(self, iteration, slot):
        return self._parts.get((iteration, slot), lambda: self._draw(iteration, slot))

    def _draw(self, iteration, slot):
        settings, count = self.settings, len(self.events)
        if iteration == _FIXED:
            place, purpose = slot % count, _EACH
        else:
            place, purpose = settings.place(count, iteration, slot), _PART
        whole = self._events.get(place, lambda: self._load(place))
        rng = settings.generator(purpose, iteration, slot)
        rfactor = rng.uniform(settings.rfactor_start, settings.rfactor_end)
        event = reduce(whole.event, rfactor, settings.noise_ratio, rng, settings.reduce)
        return event, whole.cells_of(event)

    def _load(self, place):
        event = self.events[place]
        if not event.has_truth:
            raise ValueError(f"event {event.event_id}: training needs the truth of it")
        cells = self.model.cells(event.position)
        order = np.argsort(event.hit_id, kind="stable")
        return _Located(event, event.hit_id[order], cells[order])


@dataclasses.dataclass(frozen=True)
class _Located:
    """An event whose cells are known, by ascending hit_id: parts look them up."""

    event: Event
    hit_id: np.ndarray
    cells: np.ndarray

    def cells_of(self, part: Event) -> np.ndarray:
        return self.cells[np.searchsorted(self.hit_id, part.hit_id)]


class _Kept:
    """Values by key, the latest ones kept; made outside of the lock."""

    def __init__(self, most: int):
        self._most = most
        self._values: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value
