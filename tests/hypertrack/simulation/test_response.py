"""The answer of the detector: losses, displacements, noise, identifiers, order."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from jaxphys.hypertrack.physics.weights import hit_weights
from jaxphys.hypertrack.simulation import response
from jaxphys.hypertrack.simulation.detector import (
    BARREL_HALF_LENGTH,
    is_barrel,
    modules,
)
from jaxphys.hypertrack.simulation.response import respond, smear
from tests.hypertrack.flights import straight_flight


def answer(seed=0, **arguments):
    primaries, flight = straight_flight(**arguments)
    rng = np.random.default_rng(seed)
    return primaries, flight, respond(3, primaries, flight, rng)


def test_hits_are_sorted_and_numbered():
    _, _, event = answer()
    place = np.column_stack([event.volume_id, event.layer_id, event.module_id])
    assert np.array_equal(np.lexsort(place.T[::-1]), np.arange(event.num_hits))
    assert event.hit_id.tolist() == list(range(1, event.num_hits + 1))
    count = np.bincount(event.label[event.label >= 0], minlength=event.num_tracks)
    np.testing.assert_array_equal(count, event.particles.num_hits)
    assert count.min() > 0


def test_hits_stay_with_their_particle_and_module(monkeypatch):
    """Without losses, noise and displacement the event is the flight."""
    monkeypatch.setattr(response, "LOSS", 0)
    monkeypatch.setattr(response, "STOP", 1e-12)
    monkeypatch.setattr(response, "NOISE_FRACTION", 0)
    monkeypatch.setattr(response, "resolution", lambda v: np.zeros((len(v), 2)))
    primaries, flight, event = answer()
    assert event.num_hits == len(flight.position)
    table = modules()
    for row in range(0, event.num_hits, 7):
        near = np.linalg.norm(flight.position - event.position[row], axis=1)
        particles = flight.hit_particle[near < 1e-3]
        assert event.label[row] in particles  # every particle has hits: rows are equal
        module = np.linalg.norm(table.centre - event.position[row], axis=1).argmin()
        assert table.module[module] == event.module_id[row]
        assert table.volume[module] == event.volume_id[row]
    np.testing.assert_allclose(
        event.particles.momentum, primaries.momentum[flight.primary], rtol=1e-6
    )


def test_identifiers_tell_where_a_particle_comes_from():
    primaries, flight, event = answer(hits=30)
    identity = event.particles.particle_id
    assert identity.min() > 0
    assert len(np.unique(identity)) == len(identity) == len(flight.primary)
    collision = primaries.collision[flight.primary]
    np.testing.assert_array_equal(identity >> 52, collision)
    number = (identity >> 36) & 0xFFFF
    np.testing.assert_array_equal(number, flight.primary % 10 + 1)
    process, generation = identity & 0xFFF, (identity >> 24) & 0xFFF
    displaced, converted = primaries.displaced[flight.primary], flight.generation > 0
    assert set(process[converted]) == {14}
    assert set(process[~converted & displaced]) == {201}
    assert set(process[~converted & ~displaced]) == {0}
    np.testing.assert_array_equal(generation > 0, process > 0)


def test_tracks_lose_hits_and_end_as_often_as_they_should():
    _, flight, event = answer(num_primaries=4000, hits=12)
    total = len(flight.primary) * 12
    seen = 0.93 * (1 - 0.012) ** (0.93 * np.arange(12))
    found = (event.label >= 0).sum() / total
    # (1 - p)^k at the mean number k of hits seen before; fluctuations are small
    assert found == pytest.approx(seen.mean(), abs=0.004)


def test_no_track_is_longer_than_its_limit(monkeypatch):
    monkeypatch.setattr(response, "STOP", 1e-12)
    _, _, event = answer(hits=30)
    assert event.particles.num_hits.max() == 20


def test_lost_hits_are_the_last_of_their_track(monkeypatch):
    monkeypatch.setattr(response, "LOSS", 0)
    monkeypatch.setattr(response, "STOP", 0.2)
    monkeypatch.setattr(response, "resolution", lambda v: np.zeros((len(v), 2)))
    _, flight, event = answer(num_primaries=200)
    lengths = event.particles.num_hits
    expected = 0.2 * 0.8 ** np.arange(11)
    counts = np.bincount(lengths, minlength=13)[1:12]
    expected *= counts.sum() / expected.sum()
    assert stats.chisquare(counts, expected).pvalue > 1e-4
    order = np.lexsort((flight.hit_index, flight.hit_particle))
    whole = flight.position[order].reshape(-1, 12, 3)
    for track in range(0, 200, 9):
        hits = event.position[event.label == track]
        kept = whole[track, : len(hits)].astype(np.float32)
        away = np.linalg.norm(hits[:, None] - kept, axis=-1)
        assert away.min(axis=0).max() < 1e-3


def test_displacements_have_the_width_of_their_volume():
    rng = np.random.default_rng(0)
    phi = rng.uniform(-np.pi, np.pi, 20_000)
    position = np.column_stack([300 * np.cos(phi), 300 * np.sin(phi), phi * 0 + 50])
    for volume, around, along in (
        (13, 0.020, 0.26),
        (14, 0.020, 0.30),
        (8, 0.01, 0.013),
    ):
        found = smear(position, np.full(20_000, volume), rng)
        turn = np.angle(np.exp(1j * (np.arctan2(found[:, 1], found[:, 0]) - phi)))
        assert np.std(300 * turn) == pytest.approx(around, rel=0.03)
        radius, z = np.hypot(found[:, 0], found[:, 1]) - 300, found[:, 2] - 50
        moved, fixed = (z, radius) if is_barrel(np.array(volume)) else (radius, z)
        assert np.std(moved) == pytest.approx(along, rel=0.03)
        assert np.abs(fixed).max() < 1e-9


def test_noise_lies_on_layers_in_its_share():
    _, _, event = answer(num_primaries=4000)
    noise = event.label < 0
    assert event.noise_fraction == pytest.approx(0.15, abs=0.005)
    position = event.position[noise].astype(np.float64)
    volume = event.volume_id[noise]
    phi = np.arctan2(position[:, 1], position[:, 0])
    assert stats.kstest(phi, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    for number, half in BARREL_HALF_LENGTH.items():
        own = stats.uniform(-half, 2 * half)
        assert stats.kstest(position[volume == number, 2], own.cdf).pvalue > 1e-3
    profile = response.noise_profile()["volume"]
    expected = np.bincount(profile, minlength=19) / len(profile) * noise.sum()
    found = np.bincount(volume, minlength=19)
    used = expected > 0
    pull = (found - expected)[used] / np.sqrt(expected[used])
    assert np.abs(pull).max() < 4.5
    assert found[~used].sum() == 0


def test_weights_are_the_official_ones_of_all_particles():
    _, _, event = answer()
    own, z = event.particles, event.position[:, 2]
    expected = hit_weights(z, event.label, own.vertex[:, 2], own.pt)
    np.testing.assert_allclose(event.weight, expected, rtol=1e-6)
    assert event.weight.sum() == pytest.approx(1, abs=1e-5)


def test_more_collisions_than_can_be_numbered_are_refused():
    primaries, flight = straight_flight()
    many = dataclasses.replace(primaries, collision=primaries.collision + 2047)
    with pytest.raises(ValueError, match="expected at most 2047 collisions, got 2051"):
        respond(3, many, flight, np.random.default_rng(0))


def test_flight_without_hits_gives_an_empty_event():
    primaries, flight = straight_flight()
    names = ("hit_particle", "hit_index", "position", "volume", "layer", "sensitive")
    empty = {name: getattr(flight, name)[:0] for name in names}
    event = respond(
        3, primaries, dataclasses.replace(flight, **empty), np.random.default_rng(0)
    )
    assert event.num_hits == event.num_tracks == 0
