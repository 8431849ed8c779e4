"""Micrographs: the hits around a set of pivots, padded to a few static sizes.

The set transformer decides which hits of a micrograph belong to the track of its
pivots. Sets come in any number and size; they are padded to a small ladder of shapes,
so that a program is compiled for few of them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

NODE_SIZES = (16, 32, 64, 128, 256, 512)
# rows of a full batch of the transformer, beyond which larger batches gain nothing
_ROWS = 8192
_FEW = 4
# nodes [B, n] i32, node mask [B, n] bool, pivots [B, p] i32 -> probabilities [B, n]
Masks = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Sets:
    """Pivot sets and their micrographs, ragged.

    Attributes:
      pivots: nodes of each set, [S, p].
      node: nodes of all micrographs, [sum n], ascending within each.
      offset: where each begins, [S + 1].
    """

    pivots: np.ndarray
    node: np.ndarray
    offset: np.ndarray

    def __len__(self) -> int:
        """Returns the number of sets."""
        return len(self.pivots)

    @property
    def size(self) -> np.ndarray:
        """Nodes of each micrograph, [S]."""
        return np.diff(self.offset)

    @property
    def owner(self) -> np.ndarray:
        """Set of each node, [sum n]."""
        return np.repeat(np.arange(len(self)), self.size)

    def take(self, wanted: np.ndarray) -> "Sets":
        """Returns some of the sets, in the order of `wanted`, an array of numbers."""
        size = self.size[wanted]
        offset = np.concatenate([[0], np.cumsum(size)])
        within = np.arange(offset[-1]) - np.repeat(offset[:-1], size)
        place = np.repeat(self.offset[wanted], size) + within
        return Sets(self.pivots[wanted], self.node[place], offset)

    @classmethod
    def of(cls, pivots: np.ndarray, node: np.ndarray, owner: np.ndarray) -> "Sets":
        """Returns sets from the set 0..S-1 of each node, sorted by it."""
        counts = np.bincount(owner, minlength=len(pivots))
        return cls(pivots, node, np.concatenate([[0], np.cumsum(counts)]))

    @classmethod
    def joined(cls, parts: Sequence["Sets"], num_pivots: int) -> "Sets":
        """Returns the sets of several lots, one after the other."""
        if not parts:
            return cls(
                np.zeros((0, num_pivots), int), np.zeros(0, int), np.zeros(1, int)
            )
        sizes = np.concatenate([p.size for p in parts])
        return cls(
            np.concatenate([p.pivots for p in parts]),
            np.concatenate([p.node for p in parts]),
            np.concatenate([[0], np.cumsum(sizes)]),
        )


def node_size(largest: int) -> int:
    """Returns the padded size of micrographs of up to `largest` nodes."""
    for size in NODE_SIZES:
        if largest <= size:
            return size
    return 1 << int(largest - 1).bit_length()


def padded(
    sets: Sets, wanted: np.ndarray, num_sets: int, num_nodes: int
) -> dict[str, np.ndarray]:
    """Returns some sets as arrays of a static shape.

    Args:
      sets: all.
      wanted: numbers of those to take, at most `num_sets`.
      num_sets: S.
      num_nodes: n, at least the largest micrograph.

    Returns:
      rows [S, n] int32 (0 in padding), row_mask [S, n] bool, pivots [S, p] int32 and
      set_mask [S] bool.
    """
    rows = np.zeros((num_sets, num_nodes), np.int32)
    mask = np.zeros((num_sets, num_nodes), bool)
    pivots = np.zeros((num_sets, sets.pivots.shape[1]), np.int32)
    some = sets.take(wanted)
    owner = some.owner
    column = np.arange(len(some.node)) - some.offset[owner]
    rows[owner, column] = some.node
    mask[owner, column] = True
    pivots[: len(some)] = some.pivots
    return {
        "rows": rows,
        "row_mask": mask,
        "pivots": pivots,
        "set_mask": np.arange(num_sets) < len(some),
    }


def _lots(sets: Sets) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yields which sets share a batch and its padded shape, small ones first."""
    sizes = np.array([node_size(size) for size in np.unique(sets.size)])
    size_of = sizes[np.unique(sets.size, return_inverse=True)[1]]
    for size in np.unique(sizes):
        members = np.flatnonzero(size_of == size)
        most = max(_ROWS // int(size), 1)
        for start in range(0, len(members), most):
            lot = members[start : start + most]
            few = min(_FEW, most)
            yield lot, few if len(lot) <= few else most, int(size)


def mask_probabilities(sets: Sets, masks: Masks) -> np.ndarray:
    """Returns the probability of every node of every micrograph, [sum n] float32.

    Args:
      sets: any number of any size.
      masks: the transformer on a padded batch. It sees few shapes.
    """
    found = np.zeros(len(sets.node), np.float32)
    if not len(sets):
        return found
    for lot, num_sets, num_nodes in _lots(sets):
        batch = padded(sets, lot, num_sets, num_nodes)
        got = masks(batch["rows"], batch["row_mask"], batch["pivots"])
        prob = np.asarray(got)[batch["row_mask"]]
        size = sets.size[lot]
        begin = np.cumsum(size) - size
        place = np.repeat(sets.offset[lot] - begin, size) + np.arange(size.sum())
        found[place] = prob
    return found


def training_shape(sets: Sequence[Sets]) -> tuple[int, int]:
    """Returns a padded shape (S, n) that holds the micrographs of several graphs.

    Both are powers of two, so that there are few of them.
    """
    most = max((len(s) for s in sets), default=0)
    largest = max((int(s.size.max(initial=0)) for s in sets), default=0)
    return 1 << max(int(most - 1).bit_length(), 2), node_size(largest)


def stack(
    sets: Sequence[Sets], shape: tuple[int, int] | None = None
) -> dict[str, np.ndarray]:
    """Returns the micrographs of the graphs of a batch for the joint phase.

    Args:
      sets: of each graph, nodes numbered as in the graph.
      shape: (S, n); None takes the smallest of the ladder. Sets beyond S and sets with
        more than n nodes are left out, the largest first.

    Returns:
      rows [D, S, n] int32 (0 in padding), row_mask [D, S, n] bool, pivots [D, S, p]
      int32, set_mask [D, S] bool and left_out [D] int32, the sets without a place.
    """
    num_sets, num_nodes = shape or training_shape(sets)
    made = []
    for some in sets:
        order = np.argsort(some.size, kind="stable")
        fitting = order[some.size[order] <= num_nodes][:num_sets]
        batch = padded(some, np.sort(fitting), num_sets, num_nodes)
        made.append({**batch, "left_out": np.int32(len(some) - len(fitting))})
    return {name: np.stack([m[name] for m in made]) for name in made[0]}
