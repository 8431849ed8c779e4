"""Official hit weights of the TrackML challenge: hard tracks and their ends count more.

A weight is the product of one for the transverse momentum of the particle and one for
the place of the hit along its track; the weights of an event sum to one.
"""

import numpy as np

_PT_GEV = np.array([0.05, 0.5, 3.0])
_PT_WEIGHT = np.array([0.2, 0.2, 1.0])
_ORDER = np.array([10, 8, 6, 5, 3, 3, 3, 5, 6], np.float64)
FEWEST_HITS, MOST_HITS = 4, 20


def momentum_weight(pt: np.ndarray) -> np.ndarray:
    """Returns the weights of particles by their transverse momenta.

    Args:
        pt: GeV, `[P]`.

    Returns:
        `[P]` float64: 0 below 0.05 GeV, 0.2 up to 0.5 GeV, rising to 1 at 3 GeV.
    """
    return np.where(pt < _PT_GEV[0], 0.0, np.interp(pt, _PT_GEV, _PT_WEIGHT))


def order_table() -> np.ndarray:
    """Returns the weight of the k-th hit of a track of n hits, `[21, 21]` float64.

    Row n holds n numbers of sum 1, and zeros; rows below 4 are zero. Longer tracks use
    row 20, where the last column stands for every later hit.
    """
    table = np.zeros((MOST_HITS + 1, MOST_HITS + 1))
    places = np.arange(len(_ORDER))
    for n in range(FEWEST_HITS, MOST_HITS + 1):
        row = np.interp(np.arange(n) * (len(_ORDER) - 1) / (n - 1), places, _ORDER)
        table[n, :n] = row / row.sum()
    return table


def hit_weights(
    z: np.ndarray,
    label: np.ndarray,
    vertex_z: np.ndarray,
    pt: np.ndarray,
    counted: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the official weights of the hits of an event.

    Args:
        z: hit positions along the beam, `[N]`, mm (the official weights take the true
            ones).
        label: row of the particle of each hit, `[N]`; -1 is noise.
        vertex_z: where the particles start, `[P]`, mm.
        pt: transverse momenta, `[P]`, GeV.
        counted: particles that have weight, `[P]` bool; all by default. The first
            phase of the challenge left out secondaries.

    Returns:
        `[N]` float64 of sum 1, or all 0 where no particle counts.
    """
    num_tracks = len(pt)
    weight = np.zeros(len(z))
    order = np.lexsort((np.abs(z - vertex_z[label]) if num_tracks else z, label))
    signal = order[np.count_nonzero(label < 0) :]
    track = label[signal]
    count = np.bincount(track, minlength=num_tracks)
    rank = np.arange(len(signal)) - (np.cumsum(count) - count)[track]
    by_track = momentum_weight(np.asarray(pt, np.float64))
    if counted is not None:
        by_track = by_track * counted
    by_place = order_table()[
        np.minimum(count[track], MOST_HITS), np.minimum(rank, MOST_HITS)
    ]
    weight[signal] = by_track[track] * by_place
    total = weight.sum()
    return weight / total if total > 0 else weight
