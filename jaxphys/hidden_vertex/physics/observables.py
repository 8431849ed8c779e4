"""Numbers of an event that a physicist would cut on, and how well such cuts do.

A cut has a direction, and whoever chooses it knows the signal: the cuts of `BASELINES`
are a bar for scores that know nothing, not rivals of the same kind.
"""

from collections.abc import Callable, Mapping

import numpy as np

from jaxphys.hidden_vertex.physics.graphs import LOG_EPSILON
from jaxphys.hidden_vertex.physics.jets import (
    JETS,
    RADIUS,
    Jets,
    Momenta,
    cluster,
    find_jets,
    jet_momenta,
    momenta,
    offset_of,
    wrapped,
)

Values = Mapping[str, np.ndarray]
ORACLE_MASS = 3500.0  # GeV, of the resonance in the signal of the LHC Olympics
TAU_RADIUS = 1.5  # of the exclusive kT clustering that finds the axes

# name -> value that is higher for the signal: the signs are fixed, not fitted
BASELINES: dict[str, Callable[[Values], np.ndarray]] = {
    "mean log pT": lambda o: o["mean_log_pt"],
    "-tau21 leading": lambda o: -o["tau21_1"],
    "-tau21 sum": lambda o: -(o["tau21_1"] + o["tau21_2"]),
    "-tau21 product": lambda o: -(o["tau21_1"] * o["tau21_2"]),
    "m leading": lambda o: o["m1"],
    "m1 + m2": lambda o: o["m1"] + o["m2"],
    "max(m1, m2)": lambda o: np.maximum(o["m1"], o["m2"]),
    "min(m1, m2)": lambda o: np.minimum(o["m1"], o["m2"]),
    "|m1 - m2|": lambda o: np.abs(o["m1"] - o["m2"]),
    "mjj": lambda o: o["mjj"],
    "-n": lambda o: -o["n"],
    "-|mjj - 3500|": lambda o: -np.abs(o["mjj"] - ORACLE_MASS),
}
ORACLES = frozenset({"-|mjj - 3500|"})  # they know the mass of the resonance


def cone_observables(
    particles: np.ndarray, offset: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the observables of events with jets that are cones.

    Args:
        particles: [N, 3] pT in GeV, eta, phi.
        offset: [E + 1].

    Returns:
        name -> [E] float32: those of `jet_observables`.
    """
    return jet_observables(find_jets(particles, offset))


def antikt_observables(
    particles: np.ndarray, offset: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the observables of events with anti-kT jets; needs fastjet.

    Args:
        particles: [N, 3] pT in GeV, eta, phi.
        offset: [E + 1].

    Returns:
        name -> [E] float32: those of `jet_observables`, and tau21_1, tau21_2.

    Raises:
        ImportError: fastjet is not installed.
    """
    jets = find_jets(particles, offset, "fastjet")
    ratio = tau21(jets).astype(np.float32)
    return {**jet_observables(jets), "tau21_1": ratio[:, 0], "tau21_2": ratio[:, 1]}


def jet_observables(jets: Jets) -> dict[str, np.ndarray]:
    """Returns what is known of events and their jets.

    Returns:
        name -> [E] float32: n (particles), mean_log_pt, for both jets pt1 (GeV), eta1,
        phi1, m1 (GeV), ..., and mjj (GeV). An absent jet has zeros, mjj is then 0.
    """
    n = np.diff(jets.offset)
    log_pt = np.log(jets.particles[:, 0] + float(LOG_EPSILON))
    total = np.bincount(jets.event, log_pt, len(n))
    found = jet_momenta(jets)
    columns = {"n": n, "mean_log_pt": total / np.maximum(n, 1)}
    for j in range(JETS):
        columns |= {
            f"pt{j + 1}": found.pt[:, j],
            f"eta{j + 1}": found.eta[:, j],
            f"phi{j + 1}": found.phi[:, j],
            f"m{j + 1}": found.mass[:, j],
        }
    columns["mjj"] = dijet_mass(found)
    return {name: values.astype(np.float32) for name, values in columns.items()}


def dijet_mass(found: Momenta) -> np.ndarray:
    """Returns the mass of two jets in GeV, [E]; 0 where one is absent."""
    pt1, pt2 = found.pt.T
    m1, m2 = found.mass.T
    across = np.hypot(pt1, m1) * np.hypot(pt2, m2)
    along = np.cosh(found.rapidity[:, 0] - found.rapidity[:, 1])
    angle = np.cos(found.phi[:, 0] - found.phi[:, 1])
    square = m1**2 + m2**2 + 2 * (across * along - pt1 * pt2 * angle)
    return np.where(found.pt.min(axis=1) > 0, np.sqrt(np.maximum(square, 0)), 0)


def tau21(jets: Jets) -> np.ndarray:
    """Returns the ratio tau_2 / tau_1 of every jet, [E, 2]; needs fastjet.

    tau_N is sum of pT min over axes of dR / sum of pT, the axes being the N exclusive
    kT jets of the constituents. A jet of fewer than two constituents, or whose
    constituents lie at one place, has no two prongs and gets 1.

    Reference: Thaler and Van Tilburg, arXiv:1011.2268, beta = 1.

    Raises:
        ImportError: fastjet is not installed.
    """
    x, number, offset = jets.members()
    sizes = np.diff(offset)
    enough = np.flatnonzero(sizes > 1)
    rows = np.flatnonzero(sizes[number] > 1)
    x, sets = x[rows], offset_of(sizes[enough])
    ratio = np.ones(len(sizes))
    if len(enough):
        one, two = (_tau(x, sets, count) for count in (1, 2))
        ratio[enough] = np.where(one > 0, two / np.where(one > 0, one, 1), 1)
    return ratio.reshape(-1, JETS)


def _tau(x, offset, axes):
    """Returns tau_N of each set of particles, [K]."""
    index, _, constituents = cluster(x, offset, "kt", TAU_RADIUS, axes)
    number = np.repeat(np.arange(len(constituents)), constituents)  # [K N axes]
    rows = index + offset[number // axes]
    found = momenta(x[rows], number, x[rows[offset_of(constituents)[:-1]], 1:])
    axis = np.stack([found.rapidity, found.phi], axis=1).reshape(-1, axes, 2)
    own = np.repeat(np.arange(len(axis)), np.diff(offset))
    away = x[:, None, 1:] - axis[own]  # [M, N, 2]
    distance = np.hypot(away[..., 0], wrapped(away[..., 1])).min(axis=1) / RADIUS
    total = np.bincount(own, x[:, 0] * distance, len(axis))
    return total / np.bincount(own, x[:, 0], len(axis))


def baseline_scores(observables: Values) -> dict[str, tuple[np.ndarray, bool]]:
    """Returns the `BASELINES` whose observables are there.

    Args:
        observables: name -> [E]; without fastjet there is no tau21.

    Returns:
        name -> (values [E] float64, whether it is one of the `ORACLES`).
    """
    found = {}
    for name, score in BASELINES.items():
        if "tau21" in name and not {"tau21_1", "tau21_2"} <= set(observables):
            continue
        values = np.asarray(score(observables), np.float64)
        found[name] = values, name in ORACLES
    return found
