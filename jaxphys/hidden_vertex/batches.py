"""Batches of graphs of static shape from a ragged store.

A batch is D parts of G events each, stacked on a leading axis that is split over the
devices. The particles of a part lie one after the other in a budget of M places, the
last of which is always empty.
"""

import dataclasses
import math
from collections.abc import Hashable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxphys.data.batches import Order
from jaxphys.hidden_vertex.data.store import Store, ragged_rows
from jaxphys.hidden_vertex.physics.graphs import NO_NEIGHBOUR, features

PyTree = Any
_ROUND_UP = 128  # places, so that equal settings give few different shapes
_SPREADS = 3.0  # standard deviations of headroom in the small budget


@dataclasses.dataclass(frozen=True)
class Budget:
    """Places of a part: most batches fit the small budget, every one the large.

    Attributes:
        small: M, the last place stays empty.
        large: The same for a batch that does not fit.
    """

    small: int
    large: int

    def of(self, needed: np.ndarray) -> np.ndarray:
        """Returns the places for parts that need so many."""
        return np.where(needed < self.small, self.small, self.large)


def make_budget(sizes: np.ndarray, events: int, small: int = 0) -> Budget:
    """Chooses the places for parts of some events.

    Args:
        sizes: [E] particles (or edges) of the events that are drawn from.
        events: Events of a part, G.
        small: Places of the small budget; 0: mean + 3 standard deviations, which
            about 0.3 % of the parts exceed.

    Raises:
        ValueError: If there are no events or the numbers are out of range.
    """
    if not len(sizes) or events < 1 or small < 0:
        raise ValueError(
            "sizes, events, small: expected events, at least 1 in a part, and places "
            f">= 0, got {len(sizes)}, {events}, {small}"
        )
    most = min(events, len(sizes))
    largest = np.partition(sizes, len(sizes) - most)[len(sizes) - most :]
    large = _up(int(largest.sum()) + 1)
    if not small:
        mean, std = float(np.mean(sizes)), float(np.std(sizes))
        small = math.ceil(events * mean + _SPREADS * math.sqrt(events) * std) + 1
        small = _up(small)
    small = min(small, large)
    return Budget(small, large)


def _up(places):
    return -(-places // _ROUND_UP) * _ROUND_UP


@dataclasses.dataclass
class GraphBatches:
    """Batches of the graphs of some events; batch i depends on (order, epoch, i) only.

    What the step sees (see `jaxphys.hidden_vertex.model.model`), with D parts of G
    events in M places; the empty places make up one more graph, the last:
        x: [D, M, 3] float32 features (log pT, eta, phi), standardised if asked for; 0
            in empty places.
        graph_index: [D, M] int32, the event of a place; G in empty places.
        n_node: [D, G + 1] int32, particles of an event; the empty places at the end.
        weight: [D, G + 1] float32, 1 for an event, 0 for the last and for what is
            missing in the last batch.
        slot: [D, G + 1] int32, number of the event in the global batch.
        position: [D, G + 1] int32, the event in the store (0 where there is none).
        neighbours: [D, M, k] int32 places; the place itself where there is none.
        aggregate: [D, M, 3] float32 mean of x over a particle and its neighbours, if
            the store holds it.
        senders, receivers: [D, L] int32 places of the radius graph's edges (graph
            "radius", instead of neighbours); M - 1, an empty place, fills them up.

    Attributes:
        store: The data.
        positions: [E] the events to take.
        batch_size: Events of a global batch, D G.
        order: Epoch -> permutation of the E events.
        parts: D; the devices must divide it.
        graph: "knn" or "radius".
        node_budget: Places of a part, M; 0 chooses. A batch that needs more takes a
            second, larger shape.
        mean: [3] subtracted from the features, or None.
        std: [3] the features are divided by, or None.
        on_device: Keep the events on the device and gather there (graph "knn").
    """

    store: Store
    positions: np.ndarray
    batch_size: int
    order: Order
    parts: int = 1
    graph: str = "knn"
    node_budget: int = 0
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    on_device: bool = False

    def __post_init__(self) -> None:
        self._check()
        self.positions = np.asarray(self.positions, np.int64)
        taken = self.positions
        # [E] int64: small beside the particles, and read in any order
        self._first = np.asarray(self.store.offset[taken])
        self._sizes = np.asarray(self.store.offset[taken + 1]) - self._first
        per_part = self.batch_size // self.parts
        self.budget = make_budget(self._sizes, per_part, self.node_budget)
        self._edge_sizes = np.zeros(len(taken), np.int64)
        self.edge_budget = None
        if self.graph == "radius":
            offset = np.asarray(self.store.edge_offset)
            self._edge_first = offset[taken]
            self._edge_sizes = offset[taken + 1] - self._edge_first
            self.edge_budget = make_budget(self._edge_sizes, per_part)
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        self._arrays = self._stored()
        self._resident = self._load() if self.on_device else None

    def _check(self):
        if self.parts < 1 or self.batch_size < 1 or self.batch_size % self.parts:
            raise ValueError(
                f"batch_size (global): expected a multiple of the {self.parts} parts, "
                f"got {self.batch_size}"
            )
        if not len(self.positions):
            raise ValueError("a data set without events")
        needed = {"knn": "neighbour", "radius": "edge"}
        if self.graph not in needed:
            raise ValueError(f"graph: expected knn or radius, got {self.graph!r}")
        if getattr(self.store, needed[self.graph]) is None:
            raise ValueError(
                f"{self.store.folder}: holds no {self.graph} graphs: prepare it with "
                + ("k" if self.graph == "knn" else "radius")
            )
        if self.on_device and self.graph == "radius":
            raise ValueError("on_device: radius graphs are read from the store")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean, std: give both or none")

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches; the last one may be padded."""
        del epoch
        return -(-len(self.positions) // self.batch_size)

    def num_overflows(self, epoch: int) -> int:
        """Returns how many batches of an epoch take the large shape."""
        shapes = self._plan(epoch)[1]
        usual = self.edge_budget.small if self.edge_budget else 0
        return int((shapes != [self.budget.small, usual]).any(axis=1).sum())

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns the places of a part: particles and edges."""
        return tuple(self._plan(epoch)[1][index].tolist())

    def _plan(self, epoch):
        """Returns the events of an epoch [batches, D, G] and its shapes [batches, 2].

        -1 stands for no event. All parts of a batch have one shape.
        """
        held = self._epoch
        if held is None or held[0] != epoch:
            order = self.order(epoch)
            if len(order) != len(self.positions):
                raise ValueError(
                    f"order: {len(order)} events, expected {len(self.positions)}"
                )
            count = self.num_batches(epoch)
            events = np.full(count * self.batch_size, -1, np.int64)
            events[: len(order)] = order
            events = events.reshape(count, self.parts, -1)
            shapes = np.zeros((count, 2), np.int64)
            needed = self._needed(self._sizes, events)
            shapes[:, 0] = self.budget.of(needed)
            if self.edge_budget is not None:
                needed = self._needed(self._edge_sizes, events)
                shapes[:, 1] = self.edge_budget.of(needed)
            held = (epoch, events, shapes)
            self._epoch = held  # one assignment: prefetch threads may race here
        return held[1], held[2]

    @staticmethod
    def _needed(sizes, events):
        return np.where(events >= 0, sizes[events], 0).sum(axis=2).max(axis=1)

    def batch(self, epoch: int, index: int, part: slice) -> dict[str, np.ndarray]:
        """Returns the parts `part` of a batch, or what to gather on the device."""
        events, shapes = self._plan(epoch)
        chosen = events[index][part]  # [D, G]
        places, edge_places = shapes[index].tolist()
        slot = np.arange(self.batch_size, dtype=np.int32).reshape(self.parts, -1)[part]
        packed = {**self._pack(chosen, places), "slot": _with_padding(slot)}
        if self._resident is not None:
            return packed
        found = assemble(np, self._arrays, packed, self.mean, self.std)
        if self.edge_budget is not None:
            found |= self._pack_edges(chosen, packed["n_node"], places, edge_places)
        return found

    def _pack(self, chosen, places):
        real = chosen >= 0
        sizes = np.where(real, self._sizes[chosen], 0)  # [D, G]
        graph, place, within = _places(sizes, places)
        first = self._row_start()[chosen.reshape(-1)]
        row = np.zeros(len(chosen) * places, np.int64)
        row[place] = first[graph] + within
        graph_index = np.full(len(row), sizes.shape[1], np.int32)
        graph_index[place] = graph % sizes.shape[1]
        empty = places - sizes.sum(axis=1, keepdims=True)
        position = np.where(real, self.positions[chosen], 0)
        return {
            "row": _narrow(row.reshape(len(chosen), places)),
            "graph_index": graph_index.reshape(len(chosen), places),
            "n_node": np.concatenate([sizes, empty], axis=1).astype(np.int32),
            "weight": _with_padding(real.astype(np.float32)),
            "position": _with_padding(position.astype(np.int32)),
        }

    def _row_start(self):
        """Returns the first row of each event, where the arrays are gathered from."""
        return self._resident_first if self.on_device else self._first

    def _pack_edges(self, chosen, n_node, places, edge_places):
        count = np.where(chosen >= 0, self._edge_sizes[chosen], 0)
        graph, place, within = _places(count, edge_places)
        start = (np.cumsum(n_node, axis=1) - n_node)[:, :-1].reshape(-1)
        rows = self._edge_first[chosen.reshape(-1)][graph] + within
        edges = np.asarray(self.store.edge[rows], np.int32)  # type: ignore[index]
        edges += start[graph, None].astype(np.int32)
        ends = np.full((2, len(chosen) * edge_places), places - 1, np.int32)
        ends[:, place] = edges.T
        senders, receivers = ends.reshape(2, len(chosen), edge_places)
        return {"senders": senders, "receivers": receivers}

    def _stored(self):
        """Returns the arrays of a row per particle that a batch is gathered from."""
        names = ["x"]
        if self.graph == "knn":
            names.append("neighbour")
            if self.store.ax is not None:
                names.append("ax")
        return {name: np.asarray(getattr(self.store, name)) for name in names}

    def _load(self):
        """Returns the events of this data set, as the device keeps them."""
        rows, offset = ragged_rows(self.store.offset, self.positions)
        self._resident_first = offset[:-1]
        arrays = {name: array[rows] for name, array in self._arrays.items()}
        return {name: _seen(name, a, self.mean, self.std) for name, a in arrays.items()}

    def resident(self, epoch: int) -> Mapping[str, np.ndarray] | None:
        """Returns the events if they stay on the device: features, not raw pT."""
        del epoch
        return self._resident

    def expand(self, resident: PyTree, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Gathers the particles of a batch from the arrays on the device."""
        if resident is None:
            return dict(batch)
        return assemble(jnp, resident, batch, seen=True)


def assemble(
    xp: Any,
    arrays: Mapping[str, Any],
    packed: Mapping[str, Any],
    mean: Any = None,
    std: Any = None,
    seen: bool = False,
) -> dict[str, Any]:
    """Gathers the particles of a batch.

    Args:
        xp: numpy, or jax.numpy inside of a compiled function.
        arrays: x [N, 3], and maybe neighbour [N, k] uint16 and ax [N, 3].
        packed: row and graph_index [D, M], n_node [D, G + 1], and what is passed on.
        mean: [3] subtracted from the features, or None.
        std: [3] the features are divided by, or None.
        seen: x and ax are what the model sees already: no raw pT, standardised.

    Returns:
        The batch that `GraphBatches` describes.
    """
    batch = {name: value for name, value in packed.items() if name != "row"}
    row, graph_index, n_node = packed["row"], packed["graph_index"], packed["n_node"]
    empty = (graph_index == n_node.shape[1] - 1)[:, :, None]  # [D, M, 1]
    for name, new_name in (("x", "x"), ("ax", "aggregate")):
        if name in arrays:
            x = xp.take(arrays[name], row, axis=0, mode="clip")  # [D, M, 3]
            x = x if seen else _seen(name, x, mean, std)
            batch[new_name] = xp.where(empty, np.float32(0), x)
    if "neighbour" in arrays:
        local = xp.take(arrays["neighbour"], row, axis=0, mode="clip")  # [D, M, k]
        start = xp.cumsum(n_node, axis=1, dtype=np.int32) - n_node  # [D, G + 1]
        shift = xp.take_along_axis(start, graph_index, axis=1)[:, :, None]  # [D, M, 1]
        own = xp.arange(row.shape[1], dtype=np.int32)[None, :, None]
        missing = empty | (local == NO_NEIGHBOUR)
        batch["neighbours"] = xp.where(missing, own, local + shift)  # int32
    return batch


def _seen(name, x, mean, std):
    """Returns an array of the store as the model sees it."""
    if name not in ("x", "ax"):
        return x
    x = features(x.reshape(-1, 3)).reshape(x.shape) if name == "x" else x
    if mean is None:
        return x
    # the aggregate is a mean of features, so it is standardised like one
    return (x - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def _with_padding(values):
    """Returns values [D, G] and a 0 for the graph of empty places."""
    return np.concatenate([values, np.zeros_like(values[:, :1])], axis=1)


def _places(counts, places):
    """Lays segments of counts [D, G] into `places` places per part.

    Returns:
        (segment, place, number within the segment), each [sum of counts].
    """
    flat = counts.reshape(-1)
    segment = np.repeat(np.arange(len(flat)), flat)
    before = np.cumsum(flat) - flat
    within = np.arange(len(segment)) - before[segment]
    start = np.cumsum(counts, axis=1) - counts
    start += places * np.arange(len(counts))[:, None]
    return segment, start.reshape(-1)[segment] + within, within


def _narrow(rows):
    """Returns row numbers as int32 where they fit: JAX has no other by default."""
    fits = rows.size == 0 or rows.max() < 2**31
    return rows.astype(np.int32) if fits else rows
