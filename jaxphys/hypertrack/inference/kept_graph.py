"""The graph of the candidate edges that pass the cut, by rows, and its components."""

import dataclasses

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph


@dataclasses.dataclass(frozen=True, eq=False)
class KeptGraph:
    """Edges above a threshold without self edges, sorted by row and column.

    Attributes:
      indptr: where the row of each node begins, [N + 1].
      column: destination of each edge, [K].
      prob: its probability, [K].
    """

    indptr: np.ndarray
    column: np.ndarray
    prob: np.ndarray

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.indptr) - 1

    def rows(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the edges of some nodes and which of the nodes each belongs to.

        Args:
          nodes: [W].

        Returns:
          Places in `column` and `prob`, and the index 0..W-1 of the node, in order.
        """
        start = self.indptr[nodes]
        count = self.indptr[nodes + 1] - start
        owner = np.repeat(np.arange(len(nodes)), count)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        return start[owner] + within, owner

    def components(self, least: int = 1) -> np.ndarray:
        """Returns the weakly connected component of each node, or -1, [N] int32.

        They are numbered by size, then by their first node; those of fewer than `least`
        nodes are none.
        """
        size = self.num_nodes
        matrix = sp.csr_array(
            (np.ones(len(self.column), bool), self.column, self.indptr), (size, size)
        )
        count, found = csgraph.connected_components(matrix, connection="weak")
        sizes = np.bincount(found, minlength=count)
        first = np.full(count, size)
        np.minimum.at(first, found, np.arange(size))
        number = np.full(count, -1, np.int32)
        order = np.lexsort((first, sizes))
        order = order[sizes[order] >= least]
        number[order] = np.arange(len(order))
        return number[found] if size else number


def kept_graph(
    edge_index: np.ndarray, prob: np.ndarray, num_nodes: int, threshold: float
) -> KeptGraph:
    """Returns the graph of the edges whose probability is above a threshold.

    Args:
      edge_index: sources and destinations, [2, E].
      prob: [E].
      num_nodes: N.
      threshold: an edge at it is not kept.

    Raises:
      ValueError: probabilities and edges do not belong together, or one is NaN.
    """
    edge_index, prob = np.asarray(edge_index), np.asarray(prob)
    if prob.shape != edge_index.shape[1:]:
        raise ValueError(
            f"prob: expected one for each of {edge_index.shape[1]} edges, got "
            f"{prob.shape}"
        )
    if np.isnan(prob).any():
        raise ValueError(f"prob: expected numbers, got {np.isnan(prob).sum()} NaN")
    keep = (prob > threshold) & (edge_index[0] != edge_index[1])
    source, column = edge_index[0][keep], edge_index[1][keep]
    order = np.lexsort((column, source))
    counts = np.bincount(source, minlength=num_nodes)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return KeptGraph(indptr, column[order], prob[keep][order])
