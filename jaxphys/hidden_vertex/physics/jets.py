"""The two jets of an event, and what a network sees of them; numpy, on the host.

All events of a call are treated at once: particles lie one after the other, and sums
over an event are sums over a segment. Distances are those in (eta, phi), phi periodic.
"""

import importlib
from typing import Any, NamedTuple

import numpy as np

KINDS = ("cones", "fastjet")
RADIUS = 1.0
JETS = 2
CONSTITUENTS = 48  # of a jet, in its frame
PARTICLES = 128  # of an event, in its frame
_PASSES = 3  # of a cone: each one moves the axis to the mean of the members
_BLOCK = 256  # events at a time: their particles stay in the cache


class Jets(NamedTuple):
    """The jets of events, the one of larger pT first.

    Attributes:
        particles: [N, 3] float64 pT in GeV, eta, phi, in each event by falling pT;
            equal ones in the order of the file.
        offset: [E + 1] int64, event e has the particles offset[e] to offset[e + 1].
        jet: [N] int8, 0 or 1 for the members of a jet, -1 for the others.
    """

    particles: np.ndarray
    offset: np.ndarray
    jet: np.ndarray

    def __len__(self):
        return len(self.offset) - 1

    @property
    def event(self) -> np.ndarray:
        """Returns the event of every particle, [N] int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def members(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the particles of the jets, jet after jet, in each by falling pT.

        Returns:
            (particles [M, 3] float64, jet [M] int64 of 2 E: jet j of event e is 2 e +
            j, offset [2 E + 1] int64 of the jets in the particles).
        """
        parts = [np.flatnonzero(self.jet == j) for j in range(JETS)]
        number = [JETS * self.event[rows] + j for j, rows in enumerate(parts)]
        number = np.concatenate(number)
        order = np.argsort(number, kind="stable")
        offset = offset_of(np.bincount(number, minlength=JETS * len(self)))
        rows = np.concatenate(parts)[order]
        return self.particles[rows], number[order], offset


class Momenta(NamedTuple):
    """Sums of the massless particles of jets; an empty jet has zeros.

    Attributes:
        pt: [...] in GeV.
        rapidity: [...].
        phi: [...] in [-pi, pi].
        mass: [...] in GeV.
    """

    pt: np.ndarray
    rapidity: np.ndarray
    phi: np.ndarray
    mass: np.ndarray

    @property
    def eta(self) -> np.ndarray:
        """Returns the pseudorapidity, [...]."""
        along = np.hypot(self.pt, self.mass) * np.sinh(self.rapidity)
        return np.arcsinh(along / np.where(self.pt > 0, self.pt, 1))


def find_jets(particles: np.ndarray, offset: np.ndarray, kind: str = "cones") -> Jets:
    """Finds the two jets of radius 1 of every event.

    "cones": an axis starts at the hardest particle and is moved to the pT-weighted mean
    of the particles within the radius; those around the axis of the third pass are the
    jet. The second jet is found in the same way among the others. "fastjet": the two
    leading anti-kT jets.

    Args:
        particles: [N, 3] pT > 0 in GeV, eta, phi, in any order within an event.
        offset: [E + 1] the particles of event e are offset[e] to offset[e + 1].
        kind: "cones" or "fastjet", which needs the package of that name.

    Raises:
        ValueError: an unknown kind.
        ImportError: fastjet is not installed.
    """
    if kind not in KINDS:
        raise ValueError(f"jets: expected one of {KINDS}, got {kind!r}")
    parts = []
    for start in range(0, len(offset) - 1, _BLOCK):
        edges = np.asarray(offset[start : start + _BLOCK + 1], np.int64)
        x = np.asarray(particles[edges[0] : edges[-1]], np.float64)
        parts.append(_find(x, edges - edges[0], kind))
    if not parts:
        return Jets(np.zeros((0, 3)), np.zeros(1, np.int64), np.zeros(0, np.int8))
    sizes = np.concatenate([np.diff(part.offset) for part in parts])
    return Jets(
        np.concatenate([part.particles for part in parts]),
        offset_of(sizes),
        np.concatenate([part.jet for part in parts]),
    )


def _find(x, offset, kind):
    event = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    x = x[np.lexsort((-x[:, 0], event))]
    if kind == "fastjet":
        jet = _antikt(x, offset, event)
    else:
        jet = np.full(len(x), -1, np.int8)
        for j in range(JETS):
            rows = np.flatnonzero(jet < 0)
            jet[rows[_cone(x[rows], event[rows], len(offset) - 1)]] = j
    found = Jets(x, offset, jet)
    pt = jet_momenta(found).pt
    if kind == "cones":  # the jet of the hardest particle need not be the harder jet
        swap = (pt[:, 1] > pt[:, 0])[event] & (jet >= 0)
        jet[swap] = 1 - jet[swap]
    return found


def _cone(x, event, events):
    """Returns which particles lie in the cone of their event, [N] bool.

    Args:
        x: [N, 3] in each event by falling pT.
        event: [N] ascending.
        events: E.
    """
    pt, eta, phi = np.ascontiguousarray(x.T)
    inside = np.zeros(len(x), bool)
    first = _first(event)
    axis = np.zeros((2, events))
    axis[:, event[first]] = eta[first], phi[first]
    for last in range(_PASSES)[::-1]:
        d_eta, d_phi = eta - axis[0, event], wrapped(phi - axis[1, event])
        inside = d_eta * d_eta + d_phi * d_phi <= RADIUS**2
        if last:
            weight = pt * inside
            total = np.bincount(event, weight, events)
            total[total == 0] = 1
            axis[0] += np.bincount(event, weight * d_eta, events) / total
            axis[1] += np.bincount(event, weight * d_phi, events) / total
    return inside


def _antikt(x, offset, event):
    """Returns the jet of every particle: 0, 1 or -1, [N] int8."""
    index, jets, constituents = cluster(x, offset, "antikt", RADIUS)
    jet_event = np.repeat(np.arange(len(jets)), jets)
    number = np.repeat(np.arange(len(jet_event)), constituents)
    rows = index + offset[jet_event[number]]
    found = momenta(x[rows], number, x[rows[offset_of(constituents)[:-1]], 1:])
    order = np.lexsort((-found.pt, jet_event))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - offset_of(jets)[jet_event]
    jet = np.full(len(event), -1, np.int8)
    jet[rows] = np.where(rank < JETS, rank, -1)[number]
    return jet


def cluster(
    x: np.ndarray, offset: np.ndarray, algorithm: str, radius: float, exclusive: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters massless particles with FastJet, E scheme.

    Args:
        x: [N, 3] pT, eta, phi.
        offset: [E + 1] the sets that are clustered; none is empty.
        algorithm: "antikt" or "kt".
        radius: Of the algorithm.
        exclusive: Number of exclusive jets, at most the size of the smallest set; 0:
            inclusive jets.

    Returns:
        (index of the constituents in their set [M], jets of each set [E], constituents
        of each jet [sum of jets]), jets in FastJet's order.

    Raises:
        ImportError: FastJet is not installed.
    """
    try:
        names = ("awkward", "fastjet")
        ak, fastjet = (importlib.import_module(name) for name in names)
    except ImportError as error:
        raise ImportError(
            "fastjet jets need the package fastjet: pip install 'jaxphys[events]'"
        ) from error
    pt, eta, phi = x.T
    columns = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": pt * np.cosh(eta),
    }
    flat = ak.zip(columns, with_name="Momentum4D")
    rule = getattr(fastjet, f"{algorithm}_algorithm")
    sets = ak.unflatten(flat, np.diff(offset))
    sequence: Any = fastjet.ClusterSequence(sets, fastjet.JetDefinition(rule, radius))
    if exclusive:
        found = sequence.exclusive_jets_constituent_index(njets=exclusive)
    else:
        found = sequence.constituent_index()
    jets = ak.to_numpy(ak.num(found, axis=1))
    constituents = ak.to_numpy(ak.flatten(ak.num(found, axis=2)))
    index = ak.to_numpy(ak.flatten(ak.flatten(found)))
    return index.astype(np.int64), jets.astype(np.int64), constituents.astype(np.int64)


def jet_momenta(jets: Jets) -> Momenta:
    """Returns the momenta of the jets, [E, 2] each.

    They are summed relative to the hardest member, where nothing cancels: the mass of
    a jet of one particle is exactly 0.
    """
    x, number, offset = jets.members()
    found = momenta(x, number, _hardest(x, offset))
    return Momenta(*(column.reshape(-1, JETS) for column in found))


def momenta(x: np.ndarray, number: np.ndarray, start: np.ndarray) -> Momenta:
    """Returns the sums of sets of massless particles, [K] each.

    Args:
        x: [M, 3] pT, eta, phi.
        number: [M] set of a particle.
        start: [K, 2] eta, phi of one particle of each set.
    """
    sets = len(start)
    pt, d_eta = x[:, 0], x[:, 1] - start[number, 0]
    d_phi = x[:, 2] - start[number, 1]
    # along the first particle, in the system where it has no longitudinal momentum
    along = np.bincount(number, pt * np.cos(d_phi), sets)
    across = np.bincount(number, pt * np.sin(d_phi), sets)
    beam = np.bincount(number, pt * np.sinh(d_eta), sets)
    curve = np.sinh(d_eta / 2) ** 2 + np.sin(d_phi / 2) ** 2
    excess = np.bincount(number, 2 * pt * curve, sets)  # energy - along
    energy = along + excess
    square = excess * (energy + along) - across**2 - beam**2
    real = energy > 0
    return Momenta(
        np.hypot(along, across),
        start[:, 0] + np.arctanh(beam / np.where(real, energy, 1)),
        wrapped(start[:, 1] + np.arctan2(across, along)),
        np.sqrt(np.maximum(square, 0)),
    )


def jets_frame(jets: Jets, most: int = CONSTITUENTS) -> np.ndarray:
    """Returns the hardest constituents of the jets, in the frame of their jet.

    Its origin is the w-weighted mean of the places, its x the main axis of the jet;
    the third moments along x and y are not negative.

    Args:
        jets: The jets.
        most: Constituents to keep, M.

    Returns:
        [E, 2, M, 3] float32: share w of the pT of the jet, x, y, by falling w; w = 0
        where there is no constituent.
    """
    x, number, offset = jets.members()
    count = len(offset) - 1
    weight = x[:, 0] / np.bincount(number, x[:, 0], count)[number]
    e, p = _relative(x, number, offset, weight)[:2]

    def moment(values):
        return np.bincount(number, weight * values, count)

    theta = 0.5 * np.arctan2(2 * moment(e * p), moment(e * e) - moment(p * p))
    cos, sin = np.cos(theta)[number], np.sin(theta)[number]
    turned = []
    for place in (e * cos + p * sin, p * cos - e * sin):
        sign = np.where(moment(place**3) < 0, -1.0, 1.0)
        turned.append(place * sign[number])
    rank = np.arange(len(x)) - offset[number]
    kept = rank < most
    frame = np.zeros((count, most, 3), np.float32)
    columns = np.stack([weight, *turned], axis=1)
    frame[number[kept], rank[kept]] = columns[kept]
    return frame.reshape(-1, JETS, most, 3)


def event_frame(jets: Jets, most: int = PARTICLES) -> np.ndarray:
    """Returns the hardest particles of the events, turned to the axis of the first jet.

    The axis lies at phi = 0 and eta >= 0; it is the pT-weighted mean of the members.

    Args:
        jets: The jets.
        most: Particles to keep, M.

    Returns:
        [E, M, 3] float32: pT in GeV, eta, phi, by falling pT; pT = 0 where there is no
        particle.
    """
    members, number, offset = jets.members()
    weight = members[:, 0] / np.bincount(number, members[:, 0])[number]
    axis = _relative(members, number, offset, weight)[2][::JETS]  # [E, 2]
    event = jets.event
    x = jets.particles
    place = x[:, 1] * np.where(axis[:, 0] < 0, -1.0, 1.0)[event]
    turned = np.stack([x[:, 0], place, wrapped(x[:, 2] - axis[event, 1])], axis=1)
    rank = np.arange(len(x)) - jets.offset[event]
    kept = rank < most
    frame = np.zeros((len(jets), most, 3), np.float32)
    frame[event[kept], rank[kept]] = turned[kept]
    return frame


def _relative(x, number, offset, weight):
    """Returns eta and phi of members about the mean of their jet, and the means.

    Args:
        x: [M, 3] members, jet after jet.
        number: [M].
        offset: [K + 1].
        weight: [M], 1 in each jet.

    Returns:
        (eta [M], phi [M], means [K, 2]).
    """
    start = _hardest(x, offset)
    d_eta = x[:, 1] - start[number, 0]
    d_phi = wrapped(x[:, 2] - start[number, 1])
    means = [np.bincount(number, weight * d, len(start)) for d in (d_eta, d_phi)]
    means = np.stack(means, axis=1)
    return d_eta - means[number, 0], d_phi - means[number, 1], start + means


def _hardest(x, offset):
    """Returns eta, phi of the hardest member of each jet, [K, 2]; 0 for empty ones."""
    real = np.diff(offset) > 0
    start = np.zeros((len(real), 2))
    start[real] = x[offset[:-1][real], 1:]
    return start


def _first(segment):
    """Returns where each segment of an ascending list begins."""
    return np.flatnonzero(np.diff(segment, prepend=-1))


def offset_of(sizes: np.ndarray) -> np.ndarray:
    """Returns where segments of some sizes begin and end, [K + 1] int64."""
    offset = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offset[1:])
    return offset


def wrapped(phi: np.ndarray) -> np.ndarray:
    """Returns angles in [-pi, pi]."""
    return phi - 2 * np.pi * np.rint(phi / (2 * np.pi))
