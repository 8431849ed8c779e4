"""Tracks from edge probabilities by pivots and the set transformer.

In rounds, every component of the graph of kept edges proposes a set of pivots, the
transformer marks which hits around the pivots belong to their track, and these hits
leave the component. All components go through a round together.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np

from jaxphys.hypertrack.inference import pivot_search
from jaxphys.hypertrack.inference.kept_graph import KeptGraph, kept_graph
from jaxphys.hypertrack.inference.micrographs import Masks, Sets, mask_probabilities
from jaxphys.options import check, option


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
    """How tracks are cut out of a graph with the transformer; its fields are flags."""

    GROUP: ClassVar = "evaluation"

    edge_threshold: float = option(
        0.55,
        "a candidate edge is kept if its probability is above this",
        minimum=0.0,
        maximum=1.0,
    )
    min_graph: int = option(
        4,
        "a component of the graph with fewer hits holds no track",
        unit="hits",
        minimum=1,
    )
    seed_strategy: str = option(
        "random",
        "where the search of a track begins: at any hit, or by the distance from the "
        "origin (max, min) or from the beam line (max_T, min_T)",
        choices=("random", "max", "min", "max_T", "min_T"),
    )
    seed_ktop_max: int = option(
        2,
        "searches that are begun in a round, of which the best one is taken",
        minimum=1,
    )
    num_pivots: int = option(
        3,
        "hits that stand for a track before the transformer",
        unit="hits",
        minimum=1,
        change="structural",
    )
    random_paths: int = option(
        1,
        "random walks of a search; 1: one greedy walk",
        minimum=1,
    )
    max_failures: int = option(
        2, "failed searches after which a hit is left alone", minimum=1
    )
    diffuse_threshold: float = option(
        0.4,
        "a walk ends where no edge has a probability above this",
        minimum=0.0,
        maximum=1.0,
    )
    micrograph_mode: str = option(
        "pivot-spanned",
        "hits that the transformer sees: those joined to a pivot, or the component "
        "(full)",
        choices=("pivot-spanned", "full"),
    )
    threshold_algo: str = option(
        "fixed",
        "threshold on the transformer's probability of a hit: fixed, or learned (soft)",
        choices=("fixed", "soft"),
        change="structural",
    )
    soft_width: float = option(
        0.001,
        "width of the learned threshold of --threshold_algo=soft",
        minimum=1e-9,
    )
    fixed_threshold: float = option(
        0.5,
        "a hit belongs to a track if the transformer's probability is above this, with "
        "--threshold_algo=fixed",
        minimum=0.0,
        maximum=1.0,
    )
    min_cluster_size: int = option(
        4, "a cluster with fewer hits is no track", unit="hits", minimum=1
    )
    pivots_per_round: int = option(
        1,
        "pivot sets that are taken from a component in a round; 1 is the original",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True, eq=False)
class Clustering:
    """The tracks of a graph and how they were found.

    Attributes:
      labels: track of each node, or -1, [N] int32.
      components: component of each node, or -1, [N] int32.
      sets: every pivot set with its micrograph, in order.
      round_of: of each set, [S].
      accepted: whether a set became a track, [S].
      trials: rounds that asked the transformer.
      rounds: rounds in which a component drew seeds.
      failures: of each node, [N].
    """

    labels: np.ndarray
    components: np.ndarray
    sets: Sets
    round_of: np.ndarray
    accepted: np.ndarray
    trials: int
    rounds: int
    failures: np.ndarray

    @property
    def num_clusters(self) -> int:
        """K."""
        return int(self.labels.max(initial=-1)) + 1


class _State(NamedTuple):
    """What a round changes in place; each [N]."""

    active: np.ndarray
    failures: np.ndarray
    labels: np.ndarray


def cluster(
    edge_index: np.ndarray,
    prob: np.ndarray,
    position: np.ndarray,
    settings: ClusterSettings,
    masks: Masks,
    *,
    priority: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    soft_threshold: float = 0.5,
) -> Clustering:
    """Finds the tracks of a graph.

    Args:
      edge_index: sources and destinations of the candidate edges, [2, E].
      prob: their probabilities, [E].
      position: of the hits, mm, [N, 3].
      settings: of the clustering.
      masks: the transformer on a padded batch of micrographs.
      priority: order of the random seeds of each round, smallest first, [T, N]; None
        draws it.
      rng: of the random seeds and walks; None begins at 0.
      soft_threshold: trained threshold of threshold_algo=soft.

    Returns:
      The tracks. Their numbers follow the order in which they were found.
    """
    graph = kept_graph(edge_index, prob, len(position), settings.edge_threshold)
    component = graph.components(settings.min_graph)
    return cluster_components(
        graph,
        component,
        position,
        settings,
        masks,
        priority=priority,
        rng=rng,
        soft_threshold=soft_threshold,
    )


def cluster_components(
    graph: KeptGraph,
    component: np.ndarray,
    position: np.ndarray,
    settings: ClusterSettings,
    masks: Masks,
    *,
    priority: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    soft_threshold: float = 0.5,
) -> Clustering:
    """Finds the tracks in the components of a graph of kept edges.

    Args:
      graph: kept edges.
      component: of each node, or -1, [N].
      position: see `cluster`, as all that follows.
      settings: see `cluster`.
      masks: see `cluster`.
      priority: see `cluster`.
      rng: see `cluster`.
      soft_threshold: see `cluster`.
    """
    num_nodes = len(position)
    state = _State(
        component >= 0, np.zeros(num_nodes, int), np.full(num_nodes, -1, np.int32)
    )
    rng = np.random.default_rng(0) if rng is None else rng
    norms = _norms(position, settings.seed_strategy)
    lots, rounds_of, accepted = [], [], []
    trials = rounds = 0
    while True:
        left = np.bincount(component[state.active], minlength=component.max(initial=0))
        state.active[state.active] = (
            left[component[state.active]] >= settings.num_pivots
        )
        if not state.active.any():
            break
        if norms is None:
            order_by = _priority(priority, rounds, num_nodes, rng)
        else:
            order_by = norms
        sets = _propose(graph, component, state, order_by, settings, rng)
        if len(sets):
            trials += 1
            good = _decide(sets, state, settings, masks, soft_threshold)
            lots.append(sets)
            rounds_of.append(np.full(len(sets), rounds))
            accepted.append(good)
        rounds += 1
    none = np.zeros(0, int)
    return Clustering(
        labels=state.labels,
        components=component,
        sets=Sets.joined(lots, settings.num_pivots),
        round_of=np.concatenate([none, *rounds_of]),
        accepted=np.concatenate([none.astype(bool), *accepted]),
        trials=trials,
        rounds=rounds,
        failures=state.failures,
    )


def _norms(position: np.ndarray, strategy: str) -> np.ndarray | None:
    if strategy == "random":
        return None
    columns = 2 if strategy.endswith("_T") else 3
    norm = np.linalg.norm(position[:, :columns], axis=1)
    return -norm if strategy.startswith("max") else norm


def _priority(
    priority: np.ndarray | None, round_: int, num_nodes: int, rng: np.random.Generator
) -> np.ndarray:
    if priority is None:
        return rng.random(num_nodes, np.float32)
    if round_ >= len(priority):
        raise ValueError(f"priority: {len(priority)} rounds given, more are needed")
    return priority[round_]


def _propose(
    graph: KeptGraph,
    component: np.ndarray,
    state: _State,
    order_by: np.ndarray,
    settings: ClusterSettings,
    rng: np.random.Generator,
) -> Sets:
    """Returns the pivot sets of a round; walks that ended early count as failures."""
    count = settings.num_pivots
    seeds = pivot_search.choose_seeds(
        component,
        state.active,
        order_by,
        settings.seed_ktop_max,
        settings.pivots_per_round,
    )
    start, group = seeds.node, seeds.group
    threshold = settings.diffuse_threshold
    if settings.random_paths > 1:
        start, group = _random_starts(seeds, settings.random_paths, rng)
        walks = pivot_search.random_walks(
            graph, state.active, start, count, threshold, rng
        )
    else:
        walks = pivot_search.greedy_walks(graph, state.active, start, count, threshold)
    best = pivot_search.best_of_groups(walks, group)
    whole = best.whole
    short = best.path[~whole]
    _fail(short[short >= 0], state, settings.max_failures)
    whole &= state.active[best.path].all(axis=1)
    best, owner = best.take(np.flatnonzero(whole)), seeds.component[whole]
    if settings.micrograph_mode == "full":
        # the sets of one component would have the same micrograph
        order = np.lexsort((-best.weight, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        pivots = best.path[first]
        found = pivot_search.whole_component(component, state.active, owner[first])
        return Sets.of(pivots, *found)
    found = pivot_search.spanned(graph, state.active, best.path)
    sets = Sets.of(best.path, *found)
    if settings.pivots_per_round == 1:
        return sets
    return sets.take(_apart(sets, best.weight, owner, len(component)))


def _random_starts(
    seeds: pivot_search.Seeds, paths: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each group, some of its seeds drawn with repetition."""
    size = np.bincount(seeds.group)
    begin = np.cumsum(size) - size
    draw = (rng.random((len(size), paths)) * size[:, None]).astype(int)
    start = seeds.node[(begin[:, None] + draw).reshape(-1)]
    return start, np.repeat(np.arange(len(size)), paths)


def _apart(
    sets: Sets, weight: np.ndarray, component: np.ndarray, num_nodes: int
) -> np.ndarray:
    """Returns sets none of whose pivots lies in another's micrograph, heavy ones first.

    Components decide at the same time: first each about its heaviest set, then about
    the next one.
    """
    order = np.lexsort((-weight, component))
    of = component[order]
    begins = np.flatnonzero(np.r_[True, of[1:] != of[:-1]]) if len(of) else of
    rank = np.arange(len(of)) - np.repeat(begins, np.diff(np.append(begins, len(of))))
    taken, pivot = np.zeros((2, num_nodes), bool)
    chosen = []
    for turn in range(int(rank.max(initial=-1)) + 1):
        candidates = order[rank == turn]
        some = sets.take(candidates)
        touched = np.bincount(some.owner, pivot[some.node], len(some)) > 0
        free = ~(touched | taken[some.pivots].any(axis=1))
        kept = some.take(np.flatnonzero(free))
        taken[kept.node] = True
        pivot[kept.pivots] = True
        chosen.append(candidates[free])
    found = np.concatenate([np.zeros(0, int), *chosen])
    return found[np.argsort(component[found], kind="stable")]


def _decide(
    sets: Sets,
    state: _State,
    settings: ClusterSettings,
    masks: Masks,
    soft_threshold: float,
) -> np.ndarray:
    """Makes tracks of the hits that the transformer marks; returns which sets did."""
    prob, owner = mask_probabilities(sets, masks), sets.owner
    threshold = settings.fixed_threshold
    if settings.threshold_algo == "soft":
        threshold = soft_threshold
        steep = np.clip((prob - threshold) / settings.soft_width, -80, 80)
        prob = prob / (1 + np.exp(-steep))
    marked = np.flatnonzero(prob > threshold)
    least = settings.min_cluster_size
    good = np.bincount(owner[marked], minlength=len(sets)) >= least
    marked = marked[good[owner[marked]]]
    if settings.pivots_per_round > 1:
        # a hit that two sets want goes to the one that is surer of it
        order = np.lexsort((-prob[marked], sets.node[marked]))
        _, first = np.unique(sets.node[marked][order], return_index=True)
        marked = np.sort(marked[order][first])
        good = np.bincount(owner[marked], minlength=len(sets)) >= least
        marked = marked[good[owner[marked]]]
    _fail(sets.pivots[~good].reshape(-1), state, settings.max_failures)
    number = np.cumsum(good) - 1 + state.labels.max(initial=-1) + 1
    state.labels[sets.node[marked]] = number[owner[marked]]
    state.active[sets.node[marked]] = False
    return good


def _fail(nodes: np.ndarray, state: _State, most: int) -> None:
    np.add.at(state.failures, nodes, 1)
    state.active[nodes[state.failures[nodes] >= most]] = False
