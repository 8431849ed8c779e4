"""The exact track in a constant field."""

import numpy as np

from jaxphys.track_extrapolator.physics.propagate import KAPPA_PER_QOP


def helix(state, z0, z1, by_tesla: float) -> np.ndarray:
    """Returns states [N, 5] at z1 in the constant field (0, by_tesla, 0), exactly.

    In the x-z plane the track is a circle of radius p_xz / (0.299792458 |by_tesla|)
    (MeV, mm); its angle phi = atan(tx) obeys sin phi1 = sin phi0 - kappa By dz / cos
    lambda, with lambda the dip angle. A track that turns back before z1 becomes NaN.
    """
    x, y, tx, ty, qop = np.array(state, np.float64).T
    dz = np.asarray(z1, np.float64) - np.asarray(z0, np.float64)
    cos_dip = np.sqrt((1.0 + tx**2) / (1.0 + tx**2 + ty**2))
    tan_dip = ty / np.sqrt(1.0 + tx**2)
    curvature = KAPPA_PER_QOP * qop * by_tesla / cos_dip
    sin0, cos0 = tx / np.sqrt(1.0 + tx**2), 1.0 / np.sqrt(1.0 + tx**2)
    sin1 = sin0 - curvature * dz
    with np.errstate(invalid="ignore"):
        cos1 = np.sqrt(1.0 - sin1**2)
        turn = np.arcsin(sin0 * cos1 - cos0 * sin1)
    bent = curvature * dz != 0.0
    # dz / cos(phi) averaged over the arc; the limit without curvature is dz / cos0
    length = np.where(bent, turn / np.where(bent, curvature, 1.0), dz / cos0)
    return np.stack(
        [
            x + dz * (sin0 + sin1) / (cos0 + cos1),
            y + tan_dip * length,
            sin1 / cos1,
            tan_dip / cos1,
            qop,
        ],
        axis=1,
    )
