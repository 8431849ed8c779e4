"""Flights through the detector: helices, identities, conversions, and seeds."""

import numpy as np
import pytest

from jaxphys.hypertrack.simulation.collisions import Primaries
from jaxphys.hypertrack.simulation.detector import modules
from jaxphys.hypertrack.simulation.fatras import fly, module_centres, write_primaries


@pytest.fixture
def acts():
    """Skips the test if ACTS is not installed."""
    for name in ("acts", "pythia8mc", "awkward"):
        pytest.importorskip(name, reason="needs pip install 'jaxphys[events]'")


def beam(count=200, seed=0, code=-13, mass=0.10566, charge=1.0, pt=2.0):
    """Returns particles from the origin, |eta| < 2."""
    rng = np.random.default_rng(seed)
    phi, eta = rng.uniform(-np.pi, np.pi, count), rng.uniform(-2, 2, count)
    return Primaries(
        particle_type=np.full(count, code, np.int32),
        charge=np.full(count, charge),
        mass=np.full(count, mass),
        vertex=np.zeros((count, 3)),
        momentum=pt * np.column_stack([np.cos(phi), np.sin(phi), np.sinh(eta)]),
        collision=np.ones(count, np.int64),
        displaced=np.zeros(count, bool),
    )


def test_particles_are_written_without_quotes(tmp_path):
    path = tmp_path / "p.csv"
    write_primaries(path, beam(3))
    head, *rows = path.read_text().splitlines()
    assert head.startswith("particle_id_pv,particle_id_sv,particle_id_part,")
    assert '"' not in path.read_text()
    assert [row.split(",")[2] for row in rows] == ["1", "2", "3"]
    write_primaries(path, beam(50_001))
    assert path.read_text().splitlines()[-1].split(",")[:3] == ["2", "0", "1"]


def test_modules_of_the_simulation_are_those_of_the_table(acts):
    ids, centres = module_centres()
    table = modules()
    np.testing.assert_array_equal(ids[:, 0], table.volume)
    np.testing.assert_array_equal(ids[:, 1], table.layer)
    np.testing.assert_allclose(centres, table.centre, atol=0.01)


def test_tracks_bend_as_the_field_says(acts):
    """Reference: a circle of r = p_T / (0.3 B) through the origin."""
    primaries = beam()
    flight = fly(primaries, 1)
    assert len(flight.primary) == 200
    np.testing.assert_array_equal(flight.primary, np.arange(200))
    np.testing.assert_allclose(flight.momentum, primaries.momentum, rtol=1e-5)
    own = primaries.momentum[flight.primary[flight.hit_particle]]
    phi = np.arctan2(own[:, 1], own[:, 0])
    radius = np.hypot(flight.position[:, 0], flight.position[:, 1])
    turned = np.arctan2(flight.position[:, 1], flight.position[:, 0]) - phi
    turned = np.angle(np.exp(1j * turned))
    circle = 2000 / (0.299792458 * 2)  # mm
    near = radius < 200
    expected = -np.arcsin(radius / (2 * circle))
    assert np.abs(turned - expected)[near].max() < 0.02
    assert np.median(turned / expected) == pytest.approx(1, abs=0.01)
    z = flight.position[:, 2]
    arc = 2 * circle * np.arcsin(radius / (2 * circle))
    straight = arc * own[:, 2] / 2.0
    assert np.median(np.abs(z - straight)[near]) < 0.5


def test_hits_lie_on_the_module_that_they_name(acts):
    flight, table = fly(beam(), 1), modules()
    key = table.volume * 64 + table.layer
    row = np.searchsorted(key, flight.volume * 64 + flight.layer) + flight.sensitive - 1
    away = np.linalg.norm(flight.position - table.centre[row], axis=1)
    assert away.max() < 110  # half the diagonal of the largest module
    near = table.nearest(flight.volume, flight.layer, flight.position)
    assert np.mean(near == row) > 0.75  # long modules have near neighbours
    order = np.lexsort((flight.hit_index, flight.hit_particle))
    index, own = flight.hit_index[order], flight.hit_particle[order]
    new = np.concatenate([[True], own[1:] != own[:-1]])
    assert np.all(index[new] == 0)
    assert np.all(np.diff(index)[~new[1:]] == 1)


def test_photons_convert_into_pairs_that_know_their_photon(acts):
    flight = fly(beam(400, code=22, mass=0.0, charge=0.0), 3)
    pair = flight.generation > 0
    assert pair.sum() > 20
    assert {11, -11} <= set(flight.particle_type[pair]) <= {11, -11, 22}
    assert np.hypot(*flight.vertex[pair, :2].T).min() > 1
    assert np.all(flight.generation[:400] == 0)
    assert np.all(np.diff(flight.primary[:400]) == 1)
    # only what is charged leaves hits
    assert np.all(flight.charge[flight.hit_particle] != 0)


def test_equal_seeds_fly_equally(acts, capfd):
    first, again, other = (fly(beam(50), seed) for seed in (1, 1, 2))
    for name in vars(first):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.position, other.position)
    assert capfd.readouterr().out == ""
