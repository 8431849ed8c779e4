"""A simplified particle-flow detector, with the parameters of the Delphes CMS card.

Particles fly to the calorimeters, leave tracks and energy there, and what remains of
a tower after its tracks are accounted for becomes a neutral particle. All events of a
batch are treated at once.

Reference: J. de Favereau et al. (Delphes 3), JHEP 02 (2014) 057.
"""

import dataclasses

import numpy as np

MAX_PARTICLES = 700
MAX_ETA = 5.0
TRACKER_ETA = 2.5
MIN_TRUE_PT = 1e-3
MIN_PT = 0.1
RADIUS_M, HALF_LENGTH_M, FIELD_TESLA = 1.29, 3.0, 3.8

_NEUTRINOS = (12, 14, 16)
_ELECTRON, _MUON, _PHOTON = 11, 13, 22
# charge of the particle (not of the antiparticle) by its number
_CHARGE = {
    **{11: -1, 13: -1, 211: 1, 321: 1, 2212: 1},
    **{3222: 1, 3112: -1, 3312: -1, 3334: -1},
}
_MIXED = (310, 3122)  # K0S and Lambda
_MIXED_ECAL = 0.3  # part of their energy that the ECAL sees
_COARSE = 0.175  # width of a cell in the forward calorimeters
# probability of a track: (pT <= 1 GeV, pT > 1 GeV) in |eta| <= 1.5, then <= 2.5
_EFFICIENCY = {
    "hadron": ((0.70, 0.95), (0.60, 0.85)),
    "electron": ((0.73, 0.95), (0.50, 0.83)),
    "muon": ((0.75, 0.99), (0.70, 0.98)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """Final particles of a generator, event after event.

    Attributes:
        pdg: [N] Monte Carlo numbers.
        momentum: [N, 4] float64 px, py, pz, energy in GeV.
        offset: [E + 1], event e has the particles offset[e] to offset[e + 1].
    """

    pdg: np.ndarray
    momentum: np.ndarray
    offset: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Calorimeter:
    """Cells, resolution and thresholds of the ECAL or the HCAL.

    Attributes:
        fine_eta: Cells of this pseudorapidity, and so many a turn, below |eta| = edge.
        edge: Beyond, cells are 0.175 wide in eta and phi.
        fine_turn: Cells a turn below the edge.
        min_energy: GeV; a tower with less is empty.
        min_significance: The same, in resolutions.
        electromagnetic: The ECAL.
    """

    fine_eta: float
    edge: float
    fine_turn: int
    min_energy: float
    min_significance: float
    electromagnetic: bool

    def sigma(self, energy, eta):
        """Returns the resolution in GeV."""
        return (ecal_sigma if self.electromagnetic else hcal_sigma)(energy, eta)

    def cells(self, eta, phi):
        """Returns the cells of directions.

        Returns:
            (key [N] int64; low [N, 2] and high [N, 2], the edges in eta and phi).
        """
        outer = np.abs(eta) >= self.edge
        width = np.where(outer, _COARSE, self.fine_eta)
        turn = np.where(outer, round(2 * np.pi / _COARSE), self.fine_turn)
        i = np.floor(eta / width).astype(np.int64)
        j = np.floor((phi / (2 * np.pi) + 0.5) % 1.0 * turn).astype(np.int64)
        j = np.minimum(j, turn - 1)
        key = ((i + 512) * 2 + outer) * 512 + j
        low = np.stack([i * width, j * 2 * np.pi / turn - np.pi], axis=1)
        high = low + np.stack([width, 2 * np.pi / turn], axis=1)
        for edges in (low, high):
            edges[:, 0] = np.clip(edges[:, 0], -MAX_ETA, MAX_ETA)
        return key, low, high


def ecal_sigma(energy, eta):
    """Returns the resolution of the ECAL in GeV."""
    eta = np.abs(eta)
    central = np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.4**2)
    forward = np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy)
    factor = np.where(eta <= 1.5, 1 + 0.64 * eta**2, 2.16 + 5.6 * (eta - 2) ** 2)
    return np.where(eta <= 2.5, factor * central, forward)


def hcal_sigma(energy, eta):
    """Returns the resolution of the HCAL in GeV."""
    central = np.sqrt((0.05 * energy) ** 2 + 1.5**2 * energy)
    forward = np.sqrt((0.13 * energy) ** 2 + 2.7**2 * energy)
    return np.where(np.abs(eta) <= 3.0, central, forward)


ECAL = Calorimeter(0.01745, 3.0, 360, 0.5, 2.0, True)
HCAL = Calorimeter(0.087, 1.653, 72, 1.0, 1.0, False)


def phi_at_calorimeter(pt, eta, phi, charge):
    """Returns the azimuth where the helix of a particle meets the calorimeter.

    Args:
        pt: [N] GeV.
        eta: [N].
        phi: [N] at the vertex.
        charge: [N], 0 flies straight.
    """
    curve = pt / (0.3 * FIELD_TESLA)  # radius in m
    half = RADIUS_M / (2 * curve)
    length = HALF_LENGTH_M / np.maximum(np.abs(np.sinh(eta)), 1e-9)
    wall = 2 * curve * np.arcsin(np.minimum(half, 1.0))
    # a looper never meets the wall and leaves at the end
    arc = np.where(half > 1.0, length, np.minimum(wall, length))
    return phi - charge * arc / (2 * curve)


def track_efficiency(pt, eta, pdg):
    """Returns the probability that a charged particle leaves a track."""
    kind = np.abs(pdg)
    row, column = (np.abs(eta) > 1.5).astype(int), (pt > 1.0).astype(int)
    table = {name: np.array(values) for name, values in _EFFICIENCY.items()}
    found = np.select(
        [kind == _ELECTRON, kind == _MUON],
        [table["electron"][row, column], table["muon"][row, column]],
        table["hadron"][row, column],
    )
    return np.where((np.abs(eta) <= TRACKER_ETA) & (pt > MIN_PT), found, 0.0)


def track_sigma(pt, eta):
    """Returns the relative resolution of the pT of a track."""
    eta = np.abs(eta)
    a = np.select([eta <= 0.5, eta <= 1.5], [0.06, 0.10], 0.25)
    b = np.select([eta <= 0.5, eta <= 1.5], [0.0013, 0.0017], 0.0031)
    return np.sqrt(a**2 + (b * pt) ** 2)


def log_normal(mean, sigma, rng: np.random.Generator):
    """Draws positive numbers of a mean > 0 and a standard deviation."""
    width2 = np.log1p((sigma / mean) ** 2)
    draw = rng.standard_normal(np.shape(mean))
    return np.exp(np.log(mean) - 0.5 * width2 + np.sqrt(width2) * draw)


def flow(calorimeter: Calorimeter, event, eta, phi, deposit, track, energy, sigma, rng):
    """Compares the towers of a calorimeter with the tracks that lead to them.

    Args:
        calorimeter: ECAL or HCAL.
        event: [N] event of every particle that reaches this calorimeter.
        eta: [N] direction at the calorimeter.
        phi: [N].
        deposit: [N] true energy left there, GeV, > 0.
        track: [N] bool, the particle left a track.
        energy: [N] measured energy of the track, GeV.
        sigma: [N] resolution of that energy, GeV.
        rng: Random generator.

    Returns:
        (scale [N], factor for the momentum of every track; neutral [M, 4]: event,
        energy, eta and phi of the energy that no track explains).
    """
    key, low, high = calorimeter.cells(eta, phi)
    _, first, tower = np.unique(
        event * 2**20 + key, return_index=True, return_inverse=True
    )
    low, high = low[first], high[first]
    centre = 0.5 * (low[:, 0] + high[:, 0])
    count = len(first)
    true = np.bincount(tower, deposit, count)
    seen = log_normal(true, calorimeter.sigma(true, centre), rng)
    width = calorimeter.sigma(seen, centre)
    least, ratio = calorimeter.min_energy, calorimeter.min_significance
    seen = np.where((seen < least) | (seen < ratio * width), 0.0, seen)
    tracks = np.bincount(tower, np.where(track, energy, 0.0), count)
    spread = np.sqrt(np.bincount(tower, np.where(track, sigma, 0.0) ** 2, count))
    excess = np.maximum(seen - tracks, 0.0)
    kept = (excess > least) & (excess > ratio * np.hypot(spread, width))
    merged = (tracks > 0) & ~kept
    best = np.ones(count)
    weight = 1 / spread[merged] ** 2, 1 / width[merged] ** 2
    mean = weight[0] * tracks[merged] + weight[1] * seen[merged]
    best[merged] = mean / (weight[0] + weight[1]) / tracks[merged]
    place = low[kept] + (high - low)[kept] * rng.random((np.count_nonzero(kept), 2))
    neutral = np.column_stack([event[first][kept], excess[kept], place])
    return best[tower], neutral


def detect(truth: Truth, rng: np.random.Generator):
    """Returns what the detector makes of final particles.

    Args:
        truth: Particles of E events.
        rng: Random generator.

    Returns:
        (particles [N, 3] float32: pT in GeV, eta, phi in [-pi, pi]; offset [E + 1]).
    """
    num_events = len(truth.offset) - 1
    event, pdg, pt, eta, phi, energy = _visible(truth)
    kind, charge = np.abs(pdg), charge_of(pdg)
    track = (charge != 0) & (rng.random(len(pt)) < track_efficiency(pt, eta, pdg))
    relative = track_sigma(pt, eta)
    place = phi_at_calorimeter(pt, eta, phi, charge)
    track_pt = log_normal(pt, relative * pt, rng)
    track_energy = track_pt * np.cosh(eta)
    ecal = np.where(np.isin(kind, (_ELECTRON, _PHOTON)), 1.0, 0.0)
    ecal[np.isin(kind, _MIXED)] = _MIXED_ECAL
    neutrals = []
    for calorimeter, share in ((ECAL, ecal), (HCAL, 1.0 - ecal)):
        # muons leave nothing in either, and their tracks stay as they are
        there = np.flatnonzero((share > 0) & (kind != _MUON))
        columns = (event, eta, place, share * energy, track, track_energy)
        scale, neutral = flow(
            calorimeter,
            *(column[there] for column in columns),
            sigma=(relative * track_energy)[there],
            rng=rng,
        )
        track_pt[there] *= scale
        neutrals.append(neutral)
    rest = np.concatenate(neutrals)
    event = np.concatenate([event[track], rest[:, 0].astype(np.int64)])
    pt = np.concatenate([track_pt[track], rest[:, 1] / np.cosh(rest[:, 2])])
    direction = np.concatenate([np.stack([eta, phi], axis=1)[track], rest[:, 2:]])
    particles = np.column_stack([pt, direction]).astype(np.float32)
    kept = particles[:, 0] > MIN_PT
    particles, event = particles[kept], event[kept]
    order = np.argsort(event, kind="stable")
    return particles[order], _offset(np.bincount(event, minlength=num_events))


def _visible(truth):
    """Returns event, number, pT, eta, phi, energy of what can reach the detector."""
    event = np.repeat(np.arange(len(truth.offset) - 1), np.diff(truth.offset))
    px, py, pz, energy = truth.momentum.T
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / np.maximum(pt, 1e-30))
    seen = (pt > MIN_TRUE_PT) & (np.abs(eta) < MAX_ETA)
    seen &= ~np.isin(np.abs(truth.pdg), _NEUTRINOS)
    columns = (event, truth.pdg, pt, eta, np.arctan2(py, px), energy)
    return tuple(column[seen] for column in columns)


def charge_of(pdg):
    """Returns the charge of the particles that bend; 0 for all others."""
    charge = np.zeros(len(pdg))
    for number, sign in _CHARGE.items():
        charge[np.abs(pdg) == number] = sign
    return charge * np.sign(pdg)


def thin(particles, offset, rng: np.random.Generator, most: int = MAX_PARTICLES):
    """Drops particles at random where an event has more than a row can hold.

    Args:
        particles: [N, 3].
        offset: [E + 1].
        rng: Random generator.
        most: Particles that an event may keep.

    Returns:
        (particles [M, 3], offset [E + 1]); the order within events stays.
    """
    size = np.diff(offset)
    if size.max(initial=0) <= most:
        return particles, offset
    event = np.repeat(np.arange(len(size)), size)
    order = np.lexsort((rng.random(len(event)), event))
    rank = np.empty(len(event), np.int64)
    rank[order] = np.arange(len(event)) - np.repeat(offset[:-1], size)
    return particles[rank < most], _offset(np.minimum(size, most))


def _offset(size):
    return np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
