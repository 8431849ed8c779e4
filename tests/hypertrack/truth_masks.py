"""The decisions of a perfect transformer."""

import numpy as np

from jaxphys.hypertrack.inference.micrographs import Masks


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
