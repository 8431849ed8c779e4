"""The event in memory: ragged tracks, tables, and derived figures of particles."""

import numpy as np
import pytest

from jaxphys.hypertrack.physics.events import Particles
from tests.hypertrack.event_sets import random_event
from tests.hypertrack.plain_events import event_from_arrays


def slow_tracks(event):
    """Returns the hit rows of every track, by loops over the truth file."""
    tracks = [[] for _ in range(event.num_tracks)]
    for row in np.argsort(event.truth_order):
        if event.label[row] >= 0:
            tracks[event.label[row]].append(int(row))
    return tracks


@pytest.mark.parametrize("seed", range(5))
def test_hits_of_a_track_come_in_the_order_of_the_truth_file(seed):
    event = random_event(seed)
    rows, offsets = event.track_hits()
    expected = slow_tracks(event)
    found = [part.tolist() for part in np.split(rows, offsets[1:-1])]
    assert found == expected
    assert len(offsets) == event.num_tracks + 1
    assert any(track != sorted(track) for track in expected)


def test_table_is_padded_to_the_longest_track_or_to_a_width():
    event = random_event(1)
    tracks = slow_tracks(event)
    longest = max(map(len, tracks))
    for width, columns in ((0, longest), (30, 30)):
        table = event.x_ind(width)
        assert table.shape == (event.num_tracks, columns)
        for row, track in zip(table.tolist(), tracks, strict=True):
            assert row == track + [-1] * (columns - len(track))
    with pytest.raises(ValueError, match=rf"a track has {longest} hits, expected at"):
        event.x_ind(longest - 1)


def test_event_without_tracks_has_empty_lists():
    event = event_from_arrays(3, np.zeros((4, 3)), np.full(4, -1))
    rows, offsets = event.track_hits()
    assert len(rows) == 0
    assert offsets.tolist() == [0]
    assert event.x_ind().shape == (0, 0)
    assert event.noise_fraction == 1
    nothing = event_from_arrays(3, np.zeros((0, 3)), np.zeros(0))
    assert nothing.num_hits == nothing.noise_fraction == 0
    assert len(Particles.none()) == 0


def test_taken_hits_keep_all_that_belongs_to_them():
    event = random_event(2)
    rows = np.random.default_rng(0).permutation(event.num_hits)[:20]
    part = event.take(rows)
    assert part.num_hits == 20
    for name in ("position", "hit_id", "label", "weight", "module_id", "truth_order"):
        np.testing.assert_array_equal(getattr(part, name), getattr(event, name)[rows])
    assert part.particles is event.particles


def test_particles_know_their_kinematics():
    own = random_event(3).particles
    px, py, pz = own.momentum.astype(np.float64).T
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    np.testing.assert_allclose(own.pt, np.sqrt(px**2 + py**2), rtol=1e-6)
    eta = 0.5 * np.log((momentum + pz) / (momentum - pz))
    np.testing.assert_allclose(own.eta, eta, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(own.phi, np.angle(px + 1j * py), rtol=1e-5)
    radius = np.sqrt((own.vertex[:, :2].astype(np.float64) ** 2).sum(axis=1))
    np.testing.assert_allclose(own.vertex_radius, radius, rtol=1e-6)
    table = own.objects()
    assert table.shape == (len(own), 8)
    np.testing.assert_array_equal(table[:, 6], own.charge)
    np.testing.assert_array_equal(table[:, 7], own.num_hits)
    np.testing.assert_array_equal(own.take(np.array([4, 1])).objects(), table[[4, 1]])


def test_momentum_along_the_beam_has_infinite_pseudorapidity():
    own = random_event(3, num_tracks=3).particles
    own.momentum[:] = [[0, 0, 2], [0, 0, -1], [0, 0, 0]]
    assert own.eta.tolist() == [np.inf, -np.inf, 0]


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"positions \[N, 3\] and labels \[N\]"):
        event_from_arrays(1, np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ValueError, match=r"event 1: labels reach 3, expected below 0"):
        event_from_arrays(1, np.zeros((4, 3)), np.arange(4), particles=Particles.none())


def test_event_of_arrays_counts_its_tracks():
    event = event_from_arrays(1, np.ones((5, 3)), np.array([2, -1, 0, 2, 2]))
    assert event.num_tracks == 3
    assert event.particles.num_hits.tolist() == [1, 0, 3]
    assert event.weight.sum() == pytest.approx(1)
