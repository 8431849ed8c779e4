"""Micrographs for training, made on the host by the rounds of the clustering itself."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxphys.hypertrack.inference.clustering import ClusterSettings, cluster
from jaxphys.hypertrack.inference.micrographs import Masks, Sets, stack


def pivot_majority(track: np.ndarray) -> np.ndarray:
    """Returns the most frequent label of each row, the smallest of equals.

    Args:
      track: labels of the pivots, -1 for noise, [..., p].

    Returns:
      [...]; -1 where noise is the most frequent.
    """
    track = np.asarray(track)
    count = (track[..., :, None] == track[..., None, :]).sum(axis=-1)
    most = count == count.max(axis=-1, keepdims=True)
    largest = np.iinfo(track.dtype).max
    return np.where(most, track, largest).min(axis=-1)


def truth_masks(track: np.ndarray) -> Masks:
    """Returns the decisions of a perfect transformer.

    Args:
      track: true track of each node, -1 for noise, [N].

    Returns:
      A function that gives 1 to the nodes of the track of most pivots and 0 to others;
      a set with a majority of noise has no such node.
    """

    def masks(rows: np.ndarray, mask: np.ndarray, pivots: np.ndarray) -> np.ndarray:
        target = pivot_majority(track[pivots])[:, None]
        return ((track[rows] == target) & (target >= 0) & mask).astype(np.float32)

    return masks


def training_sets(
    edge_index: np.ndarray,
    prob: np.ndarray,
    position: np.ndarray,
    track: np.ndarray,
    settings: ClusterSettings,
    rng: np.random.Generator,
    masks: Masks | None = None,
) -> Sets:
    """Returns the pivot sets that the clustering of a graph meets in all its rounds.

    Args:
      edge_index: [2, E].
      prob: [E].
      position: mm, [N, 3].
      track: true track of each node, -1 for noise, [N].
      settings: of the clustering.
      rng: of the seeds.
      masks: decides which hits leave after each round. None takes the truth: then a
        transformer that marks nothing yet learns all the same, no program runs between
        rounds, and the search ends early.

    Returns:
      The sets; those with a majority of noise among their pivots are left out, because
      they carry no loss.
    """
    decide = truth_masks(track) if masks is None else masks
    found = cluster(edge_index, prob, position, settings, decide, rng=rng)
    wanted = pivot_majority(np.asarray(track)[found.sets.pivots]) >= 0
    return found.sets.take(np.flatnonzero(wanted))


def host_micrographs(
    batch: Mapping[str, np.ndarray],
    prob: np.ndarray,
    settings: ClusterSettings,
    seeds: Sequence[Sequence[int]],
    shape: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Returns the micrographs of the graphs of a padded batch.

    Args:
      batch: position [D, N, 3], node_mask [D, N], edge_index [D, 2, E], edge_mask
        [D, E] and track [D, N].
      prob: probabilities of the edges, [D, E].
      settings: of the clustering.
      seeds: of the draws of each graph, for example (seed, iteration, slot).
      shape: (S, n) of the result; None takes the smallest of a ladder that fits.

    Returns:
      See `micrographs.stack`.
    """
    sets = []
    for d, seed in enumerate(seeds):
        real = np.asarray(batch["edge_mask"][d]) > 0
        # padding comes last; without it the draws do not depend on the bucket
        hits = int((np.asarray(batch["node_mask"][d]) > 0).sum())
        sets.append(
            training_sets(
                np.asarray(batch["edge_index"][d])[:, real],
                np.asarray(prob[d])[real],
                np.asarray(batch["position"][d])[:hits],
                np.asarray(batch["track"][d])[:hits],
                settings,
                np.random.default_rng(list(seed)),
            )
        )
    return stack(sets, shape)
