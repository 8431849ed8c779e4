"""How well candidate graphs hold the true pairs, over all N x N pairs of an event.

All counts come from sparse sums; the numbers are Python integers, because the pairs of
a full event overflow 32 bits.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from jaxphys.hypertrack.model.candidates import count_edges
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.truth_graph import pair_keys, true_pairs


@dataclasses.dataclass(frozen=True)
class EdgeCounts:
    """Pairs of hits by truth and by whether the graph joins them, diagonal included.

    Attributes:
        pos: true pairs.
        neg: all others.
        tp: true and joined.
        tn: neither.
        fp: joined, not true.
        fn: true, not joined.
    """

    pos: int
    neg: int
    tp: int
    tn: int
    fp: int
    fn: int

    @property
    def edges(self) -> int:
        """Edges of the graph."""
        return self.tp + self.fp

    @property
    def accuracy(self) -> float:
        """Pairs that are right, of all."""
        return _ratio(self.tp + self.tn, self.pos + self.neg)

    @property
    def purity(self) -> float:
        """True edges, of all edges."""
        return _ratio(self.tp, self.edges)

    @property
    def tpr(self) -> float:
        """Joined pairs, of the true ones."""
        return _ratio(self.tp, self.pos)

    @property
    def fpr(self) -> float:
        """Joined pairs, of those that are not true."""
        return _ratio(self.fp, self.neg)


def _ratio(part, whole):
    return part / whole if whole else math.nan


def edge_counts(
    edge_label: np.ndarray, num_true_pairs: int, num_hits: int
) -> EdgeCounts:
    """Counts from the labels of all candidate edges.

    Args:
        edge_label: `[E]`, 1 for a true pair.
        num_true_pairs: distinct true pairs of the event.
        num_hits: N.
    """
    true_edges = int(np.count_nonzero(edge_label))
    return _counts(len(edge_label), true_edges, num_true_pairs, num_hits)


def _counts(edges, tp, pos, num_hits):
    neg, fp = num_hits**2 - pos, edges - tp
    return EdgeCounts(pos, neg, tp, neg - fp, fp, pos - tp)


def candidate_counts(
    model: VoxelModel, event: Event, cricket_compat: bool = False
) -> EdgeCounts:
    """Counts of the candidate graph of an event without making the graph.

    The truth is that of the model's node2node.
    """
    cells = model.cells(event.position)
    pairs = true_pairs(
        event.position, *event.track_hits(), model.node2node, cricket_compat
    )
    if model.node2node == "cricket" and cricket_compat:
        keys = pair_keys(pairs, event.num_hits)
        pairs = np.stack(np.divmod(keys, max(event.num_hits, 1)))
    joined = model.matrix[cells[pairs[0]], cells[pairs[1]]] if pairs.size else []
    found = int(np.sum(joined))
    return _counts(count_edges(model, cells), found, pairs.shape[1], event.num_hits)


@dataclasses.dataclass(frozen=True)
class MeanRates:
    """Rates over events: (mean, error of the mean) each; the error is NaN for one.

    Attributes:
        events: how many.
        tpr: joined pairs of the true ones.
        fpr: joined pairs of the others.
        purity: true edges of all.
        edges: per event.
    """

    events: int
    tpr: tuple[float, float]
    fpr: tuple[float, float]
    purity: tuple[float, float]
    edges: tuple[float, float]


def mean_rates(counts: Iterable[EdgeCounts]) -> MeanRates:
    """Averages the rates of events; events without true pairs are left out."""
    kept = [c for c in counts if c.pos]
    means = {
        name: _mean_error([float(getattr(c, name)) for c in kept])
        for name in ("tpr", "fpr", "purity", "edges")
    }
    return MeanRates(len(kept), **means)


def _mean_error(values):
    values = np.array([value for value in values if math.isfinite(value)])
    if not len(values):
        return math.nan, math.nan
    if len(values) == 1:
        return float(values[0]), math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
