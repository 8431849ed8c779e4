"""Surroundings by state, from chosen frames of trajectories in pieces."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis import environment as module
from jaxphys.gdynet.analysis.environment import blocks_of, environment, even_frames
from jaxphys.gdynet.data.dataset import from_arrays
from jaxphys.gdynet.simulation.simulation import (
    dipole_arrays,
    distance_arrays,
    perovskite,
)

LENGTHS = (40, 40, 40)


@pytest.fixture(scope="module")
def pair():
    """Two atoms that are near in state 0 and far in state 1."""
    x = np.random.default_rng(0).choice([-0.5, 0.5], (3, 40))
    data = from_arrays(distance_arrays(x))
    state = (x > 0).astype(int)
    return data, [np.eye(2)[s][:, None] for s in state]


def test_states_have_their_own_distances(pair):
    data, predictions = pair
    found = environment(data, predictions)
    assert found.frames == 120
    np.testing.assert_allclose(found.distances, [[2.0], [4.0]], rtol=1e-6)
    assert found.radial is not None
    peak = found.radial.r[np.argmax(found.radial.shells[:, 1], axis=1)]
    np.testing.assert_allclose(peak, [2.0, 4.0], atol=0.05)
    np.testing.assert_allclose(found.radial.shells[:, 1].sum(axis=1), 1)
    assert np.all(found.radial.shells[:, 0] == 0)  # no neighbour of its own kind
    near = environment(data, predictions, cutoff=3.0)
    assert near.radial is not None
    np.testing.assert_allclose(near.radial.coordination, [[0, 1], [0, 0]])
    assert not found.directions.size


def test_pieces_of_frames_add_up_to_the_whole(pair, monkeypatch):
    data, predictions = pair
    whole = environment(data, predictions, volume=100.0)
    monkeypatch.setattr(module, "_CHUNK", 14)  # seven frames of two atoms
    pieces = environment(data, predictions, volume=100.0)
    assert whole.radial is not None
    assert pieces.radial is not None
    np.testing.assert_allclose(pieces.radial.g, whole.radial.g)
    np.testing.assert_allclose(pieces.distances, whole.distances)


def test_blocks_of_frames_are_read_where_they_lie(pair):
    data, predictions = pair
    blocks = np.array([[30, 40], [85, 120]])
    some = [predictions[0][30:], predictions[2][5:]]
    found = environment(data, some, blocks=blocks)
    assert found.frames == 45
    np.testing.assert_allclose(found.distances, [[2.0], [4.0]], rtol=1e-6)
    wrong = environment(data, some, blocks=blocks - 1)
    assert np.abs(wrong.distances - [[2.0], [4.0]]).max() > 0.1


def test_predictions_of_other_data_are_refused(pair):
    data, predictions = pair
    assert blocks_of(data, predictions).tolist() == [[0, 40], [40, 80], [80, 120]]
    with pytest.raises(ValueError, match="expected 3 trajectories or blocks, got 2"):
        blocks_of(data, predictions[:2])
    short = [*predictions[:2], predictions[2][:-1]]
    with pytest.raises(ValueError, match=r"trajectory 2: expected 40 .* got 39 of 1"):
        environment(data, short)


def test_directions_are_resolved_by_state_and_static_distances_left_out():
    positions, types = perovskite()
    del positions
    rng = np.random.default_rng(1)
    dipole = rng.choice([-1.0, 1.0], (2, 30, 8)) + 0.1 * rng.standard_normal((2, 30, 8))
    lists = np.tile(np.arange(12), (40, 1))
    data = from_arrays(
        dipole_arrays(dipole, types, lists, np.full((40, 12), 2.0)), directions=True
    )
    p = [np.stack([d < 0, d > 0], axis=2).astype(float) for d in dipole]
    found = environment(data, p, frames=25)
    assert found.frames == 25
    assert found.radial is None
    np.testing.assert_allclose(found.direction_mean[:, 2], [-1, 1], atol=0.05)
    np.testing.assert_allclose(found.direction_mean[:, :2], 0)
    np.testing.assert_allclose(found.directions.sum(axis=2), 1)
    middle = (found.direction_edges[1:] + found.direction_edges[:-1]) / 2
    assert np.all(found.directions[1, 2, middle < 0.3] == 0)


def test_frames_are_evenly_spread_and_never_twice():
    assert even_frames(5, 10).tolist() == [0, 1, 2, 3, 4]
    found = even_frames(1000, 11)
    assert (found[0], found[-1], len(found)) == (0, 999, 11)
    assert np.ptp(np.diff(found)) <= 1
    assert even_frames(1, 3).tolist() == [0]
