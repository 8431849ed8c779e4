"""Pivots: a few hits of one track, found by walks along likely edges.

All walks of all components go forward together, a step at a time, on arrays.
"""

from typing import NamedTuple

import numpy as np

from jaxphys.hypertrack.inference.kept_graph import KeptGraph

ODDS_EPSILON = 1e-3


class Walks(NamedTuple):
    """Walks on a graph.

    Attributes:
      path: nodes in order, -1 after the end, [W, num_pivots].
      weight: sum of the log odds of the edges, [W] float32.
    """

    path: np.ndarray
    weight: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """Whether a walk came to its full length, [W]."""
        return np.all(self.path >= 0, axis=1)

    def take(self, rows: np.ndarray) -> "Walks":
        """Returns some of the walks."""
        return Walks(self.path[rows], self.weight[rows])


class Seeds(NamedTuple):
    """Where walks begin, sorted by group, the first choice of a group first.

    Attributes:
      node: [S].
      group: walks of one group compete; groups are numbered 0..G-1, [S].
      component: of each group, [G].
    """

    node: np.ndarray
    group: np.ndarray
    component: np.ndarray


def choose_seeds(
    component: np.ndarray,
    active: np.ndarray,
    order_by: np.ndarray,
    top: int,
    groups: int = 1,
) -> Seeds:
    """Returns the active nodes of smallest key of every component.

    Args:
      component: of each node, or -1, [N].
      active: whether a node may be a seed, [N].
      order_by: the key, [N].
      top: seeds of a group.
      groups: groups of a component; the last ones may be smaller or missing.
    """
    node = np.flatnonzero(active & (component >= 0))
    node = node[np.lexsort((order_by[node], component[node]))]
    of = component[node]
    begins = np.r_[True, of[1:] != of[:-1]] if len(of) else np.zeros(0, bool)
    first = np.flatnonzero(begins)
    rank = np.arange(len(of)) - np.repeat(first, np.diff(np.append(first, len(of))))
    keep = rank < top * groups
    node, of, rank = node[keep], of[keep], rank[keep]
    names = np.stack([of, rank // top], axis=1)
    found, group = np.unique(names, axis=0, return_inverse=True)
    return Seeds(node, group.reshape(-1), found[:, 0])


def greedy_walks(
    graph: KeptGraph,
    active: np.ndarray,
    seeds: np.ndarray,
    num_pivots: int,
    threshold: float,
) -> Walks:
    """Walks from each seed to the likeliest active node that is not on its path.

    Args:
      graph: kept edges; a row belongs to the node where a walk stands.
      active: [N].
      seeds: [W].
      num_pivots: nodes of a whole walk.
      threshold: a walk ends where no edge is above.
    """

    def choose(prob: np.ndarray, owner: np.ndarray, walks: int) -> np.ndarray:
        best = np.zeros(walks, prob.dtype)
        np.maximum.at(best, owner, prob)
        good = (prob == best[owner]) & (prob > threshold)
        return _first_of(owner, good, walks)

    return _walk(graph, active, seeds, num_pivots, choose)


def random_walks(
    graph: KeptGraph,
    active: np.ndarray,
    seeds: np.ndarray,
    num_pivots: int,
    threshold: float,
    rng: np.random.Generator,
) -> Walks:
    """Walks as `greedy_walks`, to an edge above the threshold drawn by probability."""

    def choose(prob: np.ndarray, owner: np.ndarray, walks: int) -> np.ndarray:
        share = np.where(prob > threshold, prob, 0).astype(np.float64)
        total = np.bincount(owner, share, walks)
        before = np.concatenate([[0.0], np.cumsum(total)])
        wanted = before[owner] + (rng.random(walks) * total)[owner]
        good = (np.cumsum(share) > wanted) & (share > 0)
        return _first_of(owner, good, walks)

    return _walk(graph, active, seeds, num_pivots, choose)


def _first_of(owner: np.ndarray, good: np.ndarray, walks: int) -> np.ndarray:
    """Returns the first good place of each owner, or -1; owners are sorted."""
    place = np.flatnonzero(good)
    who, first = np.unique(owner[place], return_index=True)
    found = np.full(walks, -1)
    found[who] = place[first]
    return found


def _walk(graph, active, seeds, num_pivots, choose) -> Walks:
    path = np.full((len(seeds), num_pivots), -1)
    path[:, 0] = seeds
    weight = np.zeros(len(seeds), np.float32)
    going = np.arange(len(seeds))
    for step in range(1, num_pivots):
        place, owner = graph.rows(path[going, step - 1])
        column = graph.column[place]
        free = active[column]
        for earlier in range(step):
            free &= column != path[going, earlier][owner]
        place, owner = place[free], owner[free]
        chosen = choose(graph.prob[place], owner, len(going))
        on = chosen >= 0
        going, edge = going[on], place[chosen[on]]
        a = graph.prob[edge].astype(np.float32)
        path[going, step] = graph.column[edge]
        weight[going] += np.log(a / (1 - a + np.float32(ODDS_EPSILON)))
    return Walks(path, weight)


def best_of_groups(walks: Walks, group: np.ndarray) -> Walks:
    """Returns the walk of largest weight of each group, the earlier one of equals.

    Args:
      walks: sorted by group.
      group: of each walk, 0..G-1 without gaps, [W].
    """
    order = np.lexsort((np.arange(len(group)), -walks.weight, group))
    _, first = np.unique(group[order], return_index=True)
    return walks.take(order[first])


def spanned(
    graph: KeptGraph, active: np.ndarray, pivots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the active nodes that a kept edge joins to a pivot, for every set.

    Args:
      graph: kept edges; a row belongs to the pivot.
      active: [N].
      pivots: of each set, [S, num_pivots].

    Returns:
      Nodes and the set 0..S-1 of each, sorted by set and node.
    """
    place, owner = graph.rows(pivots.reshape(-1))
    column = graph.column[place]
    keep = active[column]
    key = (owner // pivots.shape[1])[keep] * graph.num_nodes + column[keep]
    key = np.unique(key)
    return key % max(graph.num_nodes, 1), key // max(graph.num_nodes, 1)


def whole_component(
    component: np.ndarray, active: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the active nodes of each set's component, as `spanned` does.

    Args:
      component: of each node, or -1, [N].
      active: [N].
      wanted: component of each set, [S].
    """
    node = np.flatnonzero(active & (component >= 0))
    node = node[np.argsort(component[node], kind="stable")]
    of = component[node]
    start = np.searchsorted(of, wanted)
    count = np.searchsorted(of, wanted, side="right") - start
    owner = np.repeat(np.arange(len(wanted)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return node[start[owner] + within], owner
