"""The detector: against hand-made numbers, step by step flight and a plain loop."""

import math

import numpy as np
import pytest

from jaxphys.hidden_vertex.simulation import response
from jaxphys.hidden_vertex.simulation.response import (
    ECAL,
    HCAL,
    Truth,
    charge_of,
    detect,
    ecal_sigma,
    flow,
    hcal_sigma,
    log_normal,
    phi_at_calorimeter,
    thin,
    track_efficiency,
    track_sigma,
)

PHOTON, ELECTRON, MUON, PION, NEUTRON, K0S, NEUTRINO = 22, 11, 13, 211, 2112, 310, 12


def truth(*events):
    """Returns events of massless particles (pdg, pT, eta, phi)."""
    rows = np.array([row for event in events for row in event], float).reshape(-1, 4)
    pdg, pt, eta, phi = rows.T
    columns = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)
    offset = np.cumsum([0, *map(len, events)])
    return Truth(pdg.astype(int), np.stack(columns, axis=1), offset)


def fly(pt, eta, phi, charge, step=1e-5):
    """Follows a helix in small steps to the wall or the end; returns the azimuth."""
    x = y = z = 0.0
    turn = charge * step * 0.3 * 3.8 / pt
    while math.hypot(x, y) < 1.29 and abs(z) < 3.0:
        phi -= 0.5 * turn
        x, y, z = (
            x + step * math.cos(phi),
            y + step * math.sin(phi),
            z + step * (math.sinh(eta)),
        )
        phi -= 0.5 * turn
    return math.atan2(y, x)


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize(
    ("pt", "eta"), [(50.0, 0.3), (1.0, -0.2), (2.0, 2.0), (0.5, 1.0), (0.3, -2.2)]
)
def test_helix_meets_the_calorimeter_where_small_steps_end(pt, eta, charge):
    found = phi_at_calorimeter(*np.array([[pt], [eta], [0.4], [charge]]))
    turned = np.angle(np.exp(1j * (found[0] - fly(pt, eta, 0.4, charge))))
    assert abs(turned) < 3e-4
    assert phi_at_calorimeter(*np.array([[pt], [eta], [0.4], [0]]))[0] == 0.4


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "expected"),
    [
        (211, 0.1, 0.0, 0.0),
        (211, 0.11, 0.0, 0.70),
        (211, 1.0, 1.5, 0.70),
        (-2212, 1.01, -1.5, 0.95),
        (321, 1.0, -1.51, 0.60),
        (211, 9.0, 2.5, 0.85),
        (211, 9.0, 2.51, 0.0),
        (-11, 0.5, 0.0, 0.73),
        (11, 2.0, 0.0, 0.95),
        (11, 0.5, 2.0, 0.50),
        (11, 2.0, -2.0, 0.83),
        (13, 0.5, 0.0, 0.75),
        (-13, 2.0, 0.0, 0.99),
        (13, 0.5, 2.0, 0.70),
        (13, 2.0, 2.0, 0.98),
    ],
)
def test_tracks_are_found_with_the_probabilities_of_the_card(pdg, pt, eta, expected):
    found = track_efficiency(*(np.array([v]) for v in (pt, eta, pdg)))
    assert found[0] == expected


def test_resolutions_are_those_of_the_card():
    eta = np.array([0.5, -1.5, 2.0])
    wanted = [np.hypot(0.06, 0.13), np.hypot(0.10, 0.17), np.hypot(0.25, 0.31)]
    np.testing.assert_allclose(track_sigma(np.full(3, 100.0), eta), wanted)
    central = math.sqrt(0.8**2 + 0.11**2 * 100 + 0.4**2)
    wanted = [central, 2.44 * central, 2.16 * central, 3.56 * central]
    eta = np.array([0.0, 1.5, -2.0, 2.5])
    np.testing.assert_allclose(ecal_sigma(100.0, eta), wanted)
    np.testing.assert_allclose(ecal_sigma(100.0, 2.6), math.hypot(10.7, 20.8))
    np.testing.assert_allclose(hcal_sigma(100.0, -3.0), math.hypot(5.0, 15.0))
    np.testing.assert_allclose(hcal_sigma(100.0, 3.01), math.hypot(13.0, 27.0))


def test_log_normal_keeps_mean_and_width():
    n = 200_000
    draws = log_normal(np.full(n, 3.0), np.full(n, 1.2), np.random.default_rng(0))
    assert draws.min() > 0
    assert abs(draws.mean() - 3.0) < 5 * 1.2 / math.sqrt(n)
    assert abs(draws.std() - 1.2) < 0.02


@pytest.mark.parametrize("calorimeter", [ECAL, HCAL])
def test_cells_tile_the_plane(calorimeter):
    rng = np.random.default_rng(1)
    eta, phi = rng.uniform(-5, 5, 20_000), rng.uniform(-np.pi, np.pi, 20_000)
    eta = eta[inside := np.abs(np.abs(eta) - calorimeter.edge) > 0.2]
    phi = phi[inside]
    key, low, high = calorimeter.cells(eta, phi)
    place = np.stack([eta, phi], axis=1)
    assert np.all((low <= place) & (place < high))
    outer = np.abs(eta) > calorimeter.edge
    turn = np.where(outer, 2 * np.pi / 36, 2 * np.pi / calorimeter.fine_turn)
    np.testing.assert_allclose(high[:, 1] - low[:, 1], turn)
    # a cell has one key, and a key one cell
    cells = len(np.unique(np.round(np.column_stack([low, high]), 6), axis=0))
    together = np.column_stack([key, np.round(low, 6), np.round(high, 6)])
    assert len(np.unique(key)) == cells == len(np.unique(together, axis=0))
    np.testing.assert_array_equal(calorimeter.cells(eta, phi + 2 * np.pi)[0], key)


def plain_flow(calorimeter, rows, draws, places):
    """Does with one tower after the other what `flow` does with all.

    Args:
        calorimeter: ECAL or HCAL.
        rows: (deposit, track, energy, sigma) of the particles of every tower.
        draws: A standard normal number for every tower.
        places: Unused numbers are left for the next tower with a neutral particle.
    """
    scales, neutrals = [], []
    for (eta, particles), z in zip(rows, draws, strict=True):
        true = sum(p[0] for p in particles)
        width = math.sqrt(
            math.log(1 + (float(calorimeter.sigma(true, eta)) / true) ** 2)
        )
        seen = true * math.exp(width * z - width**2 / 2)
        sigma = float(calorimeter.sigma(seen, eta))
        if seen < max(calorimeter.min_energy, calorimeter.min_significance * sigma):
            seen = 0.0
        tracks = [p for p in particles if p[1]]
        energy = sum(p[2] for p in tracks)
        spread2 = sum(p[3] ** 2 for p in tracks)
        excess, scale = seen - energy, 1.0
        significant = calorimeter.min_significance * math.sqrt(spread2 + sigma**2)
        if excess > calorimeter.min_energy and excess > significant:
            neutrals.append((excess, *places.pop(0)))
        elif tracks:
            best = energy / spread2 + seen / sigma**2
            scale = best / (1 / spread2 + 1 / sigma**2) / energy
        scales += [scale] * len(particles)
    return scales, neutrals


@pytest.mark.parametrize("calorimeter", [ECAL, HCAL])
def test_towers_and_tracks_are_compared_as_one_tower_at_a_time(calorimeter):
    rng = np.random.default_rng(3)
    towers, size = 400, 3
    # tower after tower in the order of their keys: events, one cell each
    event = np.repeat(np.arange(towers), size)
    eta = np.repeat(rng.uniform(-4.9, 4.9, towers), size)
    deposit, track = rng.exponential(8.0, len(event)), rng.random(len(event)) < 0.4
    energy = deposit * rng.uniform(0.3, 1.3, len(event))
    sigma = 0.2 * energy
    scale, neutral = flow(
        calorimeter,
        event,
        eta,
        np.zeros(len(event)),
        deposit,
        track,
        energy,
        sigma,
        np.random.default_rng(4),
    )
    _, low, high = calorimeter.cells(eta, np.zeros(len(event)))
    again = np.random.default_rng(4)
    draws, places = again.standard_normal(towers), list(again.random((towers, 2)))
    particles = list(zip(deposit, track, energy, sigma, strict=True))
    rows = [
        (0.5 * (low + high)[i * size, 0], particles[i * size : (i + 1) * size])
        for i in range(towers)
    ]
    wanted, found = plain_flow(calorimeter, rows, draws, places)
    assert 20 < len(found) < towers - 20
    np.testing.assert_allclose(scale, wanted, rtol=1e-9)
    np.testing.assert_allclose(neutral[:, 1], [row[0] for row in found], rtol=1e-9)
    assert np.all(np.diff(neutral[:, 0]) > 0)
    which = neutral[:, 0].astype(int) * size
    inside = low[which] + (high - low)[which] * [row[1:] for row in found]
    np.testing.assert_allclose(neutral[:, 2:], inside, rtol=1e-9)


def test_antiparticles_bend_the_other_way():
    pdg = np.array([11, 13, 211, 321, 2212, 3222, 3112, 3312, 3334, 22, 130, 310, 2112])
    wanted = [-1, -1, 1, 1, 1, 1, -1, -1, -1, 0, 0, 0, 0]
    np.testing.assert_array_equal(charge_of(pdg), wanted)
    np.testing.assert_array_equal(charge_of(-pdg), -np.array(wanted))


def test_photons_of_different_events_share_no_tower():
    many = 2000
    alone = [(PHOTON, 20.0, 0.7, 3.1)]
    particles, offset = detect(truth(*[alone] * many), np.random.default_rng(0))
    np.testing.assert_array_equal(offset, np.arange(many + 1))
    sigma = ecal_sigma(20 * math.cosh(0.7), 0.7) / math.cosh(0.7)
    assert abs(particles[:, 0].mean() - 20) < 5 * sigma / math.sqrt(many) + 0.2
    assert abs(particles[:, 0].std() / sigma - 1) < 0.1
    assert np.abs(particles[:, 1] - 0.7).max() < 0.0175
    assert np.ptp(particles[:, 1]) > 0.015
    assert np.abs(particles[:, 2] - 3.1).max() < 0.0175


def test_muons_leave_a_track_only_and_neutrinos_nothing():
    event = [(MUON, 30.0, 0.2, 1.0), (NEUTRINO, 500.0, 0.2, 1.0)]
    particles, offset = detect(truth(*[event] * 1000), np.random.default_rng(0))
    size = np.diff(offset)
    assert set(size.tolist()) == {0, 1}
    assert abs(size.mean() - 0.99) < 0.015
    np.testing.assert_allclose(particles[:, 1:], [[0.2, 1.0]] * len(particles), 1e-6)
    assert abs(particles[:, 0].mean() / 30 - 1) < 0.01


@pytest.mark.parametrize(("pdg", "cut"), [(PION, 1.0), (ELECTRON, 2.0)])
def test_a_charged_particle_is_counted_once(pdg, cut):
    """Only fluctuations above the cut, in resolutions, are added to the track."""
    sigma = float((hcal_sigma if pdg == PION else ecal_sigma)(20.0, 0.1))
    extra = sigma * math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    one = [(pdg, 20.0, 0.1, 1.0)]
    particles, offset = detect(truth(*[one] * 2000), np.random.default_rng(0))
    total = np.add.reduceat(particles[:, 0], offset[:-1][np.diff(offset) > 0])
    assert abs(total.mean() - 20 - extra) < 0.02 * 20
    vertex = np.abs(particles[:, 1:] - np.array([[0.1, 1.0]])).max(axis=1) < 1e-6
    assert abs(np.count_nonzero(vertex) / 2000 - 0.95) < 0.025


def test_long_lived_kaons_share_their_energy():
    event = [(K0S, 100.0, 0.1, 1.0)]
    particles, offset = detect(truth(*[event] * 500), np.random.default_rng(0))
    size = np.diff(offset)
    assert (size == 2).mean() > 0.9
    both = size == 2
    hard = np.maximum.reduceat(particles[:, 0], offset[:-1])[both]
    total = np.add.reduceat(particles[:, 0], offset[:-1])[both]
    assert abs((hard / total).mean() - 0.7) < 0.03


def test_particles_outside_of_the_detector_are_not_seen():
    event = [(NEUTRON, 50.0, 5.01, 0.0), (PHOTON, 9e-4, 4.0, 0.0)]
    particles, offset = detect(truth(event, [], event), np.random.default_rng(0))
    assert particles.shape == (0, 3)
    np.testing.assert_array_equal(offset, [0, 0, 0, 0])
    along = Truth(np.array([22]), np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([0, 1]))
    assert len(detect(along, np.random.default_rng(0))[0]) == 0


def test_what_is_seen_lies_in_the_detector_and_above_the_threshold():
    rng = np.random.default_rng(5)
    kinds = rng.choice([PHOTON, ELECTRON, MUON, PION, -PION, NEUTRON], 6000)
    columns = rng.exponential(3.0, 6000), rng.uniform(-6, 6, 6000)
    rows = np.column_stack([kinds, *columns, rng.uniform(-np.pi, np.pi, 6000)])
    particles, offset = detect(truth(rows[:2000], rows[2000:]), rng)
    assert particles.dtype == np.float32
    assert offset[-1] == len(particles) > 2000
    assert particles[:, 0].min() > response.MIN_PT
    assert np.abs(particles[:, 1]).max() <= 5.0
    assert np.abs(particles[:, 2]).max() <= np.float32(np.pi)


def test_thinning_is_fair_and_leaves_small_events_alone():
    sizes = [50, 1000, 0, 701, 700]
    offset = np.cumsum([0, *sizes])
    particles = np.arange(offset[-1], dtype=np.float32)[:, None] * np.ones((1, 3))
    kept = np.zeros(len(particles))
    for seed in range(200):
        found, ends = thin(particles, offset, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.diff(ends), [50, 700, 0, 700, 700])
        assert np.all(np.diff(found[:, 0]) > 0)
        kept[found[:, 0].astype(int)] += 1
    assert np.all(kept[:50] == 200)
    assert np.all(kept[offset[4] :] == 200)
    spread = math.sqrt(200 * 0.7 * 0.3)
    assert np.abs(kept[50:1050] - 140).max() < 5 * spread
    same, ends = thin(particles[:50], offset[:2], np.random.default_rng(0))
    assert same.shape == (50, 3)
    np.testing.assert_array_equal(ends, offset[:2])
