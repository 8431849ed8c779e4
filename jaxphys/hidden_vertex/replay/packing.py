"""Graphs of any size packed into parts of one size, for one compilation.

A part is what `jaxphys.hidden_vertex.model.model` describes, here with senders and
receivers.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np

Part = dict[str, np.ndarray]
PER_GRAPH = ("n_node", "weight", "slot")
PER_EDGE = ("senders", "receivers", "edge_weight")


def pad(part: Part, nodes: int, edges: int, num_graphs: int) -> Part:
    """Fills a part up to given sizes.

    The nodes of padding belong to the last graph, its edges are loops of the last node.

    Args:
      part: with senders and receivers; it has fewer graphs and nodes than there will be
        unless it fits exactly.
      nodes: N.
      edges: E.
      num_graphs: G.
    """
    missing = nodes - len(part["x"])
    last = {"graph_index": num_graphs - 1, "senders": nodes - 1, "receivers": nodes - 1}
    sizes = dict.fromkeys(part, nodes) | dict.fromkeys(PER_GRAPH, num_graphs)
    sizes |= dict.fromkeys(PER_EDGE, edges)
    padded = {}
    for name, array in part.items():
        shape = (sizes[name] - len(array), *array.shape[1:])
        fill = np.full(shape, last.get(name, 0), array.dtype)
        padded[name] = np.concatenate([array, fill])
    padded["n_node"][-1] += missing
    return padded


def join(parts: Sequence[Part]) -> Part:
    """Puts parts one after the other into one."""
    nodes = np.cumsum([0, *(len(p["x"]) for p in parts)])
    counts = np.cumsum([0, *(len(p["n_node"]) for p in parts)])
    shift = {"senders": nodes, "receivers": nodes, "graph_index": counts}
    joined = {}
    for name in parts[0]:
        moved = [
            p[name] + (shift[name][i].astype(np.int32) if name in shift else 0)
            for i, p in enumerate(parts)
        ]
        joined[name] = np.concatenate(moved).astype(parts[0][name].dtype)
    return joined


@dataclasses.dataclass(frozen=True)
class EdgeListBatches:
    """Batches of single graphs in a given order, all padded to one shape.

    Attributes:
      parts: a part per graph.
      size: graphs of a batch; the last one of an epoch may be short.
      order: epoch -> the order of the graphs.
    """

    parts: Sequence[Part]
    size: int
    order: Callable[[int], np.ndarray]

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches of an epoch."""
        return -(-len(self.order(epoch)) // self.size)

    def batch(self, epoch: int, index: int, part: slice) -> Part:
        """Returns a batch with D = 1."""
        rows = self.order(epoch)[index * self.size : (index + 1) * self.size]
        sizes = []
        for name in ("x", "senders"):
            counts = sorted((len(p[name]) for p in self.parts), reverse=True)
            sizes.append(sum(counts[: self.size]))
        joined = join([self.parts[row] for row in rows])
        padded = pad(joined, sizes[0] + 1, sizes[1], self.size + 1)
        return jax.tree.map(lambda a: a[None][part], padded)

    def shape_key(self, epoch: int, index: int) -> Hashable:
        """Returns one value: all batches have one shape."""
        del epoch, index
        return self.size

    def resident(self, epoch: int) -> None:
        """Returns nothing: no data stays on the device."""
        del epoch

    def expand(self, resident: Any, batch: Part) -> Part:
        """Returns the batch."""
        del resident
        return batch
