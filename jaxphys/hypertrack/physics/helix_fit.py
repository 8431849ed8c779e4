"""Momentum and direction of tracks from their hits alone.

In a field along z a track is a circle in x-y and, against the turning angle, a straight
line in z. All tracks of an event are fitted together by sums over their hits.
"""

from typing import NamedTuple

import numpy as np

FIELD_TESLA = 2.0
# pT in GeV of a radius of 1 mm in a field of 1 T
_GEV_PER_TESLA_MM = 0.299792458e-3


class Helices(NamedTuple):
    """Fitted tracks; NaN where there are too few hits, each [K].

    Attributes:
      pt: transverse momentum, GeV.
      eta: pseudorapidity.
      phi: azimuth of the momentum where the track is nearest to the beam line, in
        (-pi, pi].
      charge: sign of the charge in a field along +z; 0 where it is not known.
      d0: distance of the circle from the beam line, mm.
      z0: z where the track is nearest to the beam line, mm.
    """

    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    charge: np.ndarray
    d0: np.ndarray
    z0: np.ndarray


def fit_helices(
    position: np.ndarray,
    labels: np.ndarray,
    num_tracks: int | None = None,
    field_tesla: float = FIELD_TESLA,
) -> Helices:
    """Fits a helix to the hits of every track.

    The circle is the algebraic least-squares one (Kasa), which is accurate where the
    sagitta is large against the errors of the hits: below about 20 GeV here. Only the
    first half turn of a track is assumed to be there.

    Args:
      position: of the hits, mm, [N, 3].
      labels: track of each hit, 0..K-1, or -1, [N].
      num_tracks: K; None takes the largest label + 1.
      field_tesla: along z.
    """
    labels = np.asarray(labels)
    keep = labels >= 0
    track, hits = labels[keep], np.asarray(position, np.float64)[keep]
    count = int(labels.max(initial=-1)) + 1 if num_tracks is None else num_tracks
    size = np.bincount(track, minlength=count)

    def total(values: np.ndarray) -> np.ndarray:
        # without hits the counts of numpy are integers
        return np.bincount(track, values, count).astype(np.float64)

    centre = np.stack([total(hits[:, i]) for i in range(2)], axis=1)
    centre /= np.maximum(size, 1)[:, None]
    u, v = (hits[:, :2] - centre[track]).T
    scale = np.sqrt(total(u * u + v * v) / np.maximum(size, 1))
    scale = np.where(scale > 0, scale, 1)
    u, v = u / scale[track], v / scale[track]
    middle, radius = _circles(u, v, total, size)
    middle = middle * scale[:, None] + centre
    radius = radius * scale
    distance = np.hypot(*middle.T)
    angle = np.arctan2(hits[:, 1] - middle[track, 1], hits[:, 0] - middle[track, 0])
    # the point of the circle that is nearest to the beam line
    start = np.arctan2(-middle[:, 1], -middle[:, 0])
    turned = (angle - start[track] + np.pi) % (2 * np.pi) - np.pi
    sense = np.sign(total(turned))
    arc = radius[track] * turned * sense[track]
    slope, z0 = _lines(arc, hits[:, 2], total, size)
    phi = start + sense * np.pi / 2
    with np.errstate(invalid="ignore"):
        known = (size >= 3) & np.isfinite(radius) & (radius > 0)
        values = {
            "pt": _GEV_PER_TESLA_MM * field_tesla * radius,
            "eta": np.arcsinh(slope),
            "phi": np.arctan2(np.sin(phi), np.cos(phi)),
            "d0": np.abs(distance - radius),
            "z0": z0,
        }
    found = {name: np.where(known, value, np.nan) for name, value in values.items()}
    # a positive charge turns clockwise in a field along +z
    return Helices(charge=np.where(known, -sense, 0).astype(int), **found)


def _circles(u, v, total, size) -> tuple[np.ndarray, np.ndarray]:
    """Returns centres [K, 2] and radii [K]; NaN where the hits fix no circle."""
    one = np.ones(len(u))
    columns = (u, v, one)
    normal = np.empty((len(size), 3, 3))
    right = np.empty((len(size), 3))
    square = u * u + v * v
    for i, a in enumerate(columns):
        right[:, i] = total(a * square)
        for j, b in enumerate(columns):
            normal[:, i, j] = total(a * b)
    with np.errstate(invalid="ignore"):
        condition = np.abs(np.linalg.det(normal))
        good = (size >= 3) & (condition > 1e-12 * np.maximum(size, 1) ** 3)
    found = np.full((len(size), 3), np.nan)
    found[good] = np.linalg.solve(normal[good], right[good][..., None])[..., 0]
    middle = found[:, :2] / 2
    with np.errstate(invalid="ignore"):
        radius = np.sqrt(found[:, 2] + (middle**2).sum(axis=1))
    return middle, radius


def _lines(x, y, total, size) -> tuple[np.ndarray, np.ndarray]:
    """Returns slopes and values at 0 of straight lines y(x), [K] each."""
    many = np.maximum(size, 1)
    x = np.nan_to_num(x)
    mean_x, mean_y = total(x) / many, total(y) / many
    spread = total(x * x) / many - mean_x**2
    common = total(x * y) / many - mean_x * mean_y
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(spread > 0, common / spread, np.nan)
    return slope, mean_y - slope * mean_x
