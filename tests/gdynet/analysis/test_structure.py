"""Structure per state equals counting by hand, and ideal cases."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis import structure as st
from jaxphys.gdynet.physics.neighbours import neighbours

EDGES = np.linspace(0.0, 3.0, 31)
CUTOFF = 2.5


def box(seed=0, frames=3, atoms=12, length=5.0):
    """Returns positions, a skew cell, species, targets and probabilities."""
    rng = np.random.default_rng(seed)
    cell = length * np.array([[1, 0, 0], [0.2, 1, 0], [0.1, -0.1, 1.1]])
    positions = rng.uniform(-0.5, 1.5, (frames, atoms, 3)) @ cell  # unwrapped
    species = np.where(np.arange(atoms) % 3, 8, 22)
    targets = np.array([0, 5, 7])
    p = rng.dirichlet(np.ones(2), (frames, len(targets)))
    return positions, cell, species, targets, p


def by_hand(positions, cell, species, targets, p, kind):
    """Returns weighted pair counts of a species and those within the cut-off."""
    shifts = np.array(list(np.ndindex(9, 9, 9))) - 4
    counts, within = np.zeros((p.shape[2], 30)), np.zeros(p.shape[2])
    for frame, row in enumerate(positions):
        for column, i in enumerate(targets):
            for j in np.flatnonzero(species == kind):
                d = np.linalg.norm(row[j] - row[i] + shifts @ cell, axis=1)
                d = d[d > 1e-9]
                counts += p[frame, column][:, None] * np.histogram(d, EDGES)[0]
                within += p[frame, column] * np.sum(d < CUTOFF)
    return counts, within


def test_counts_over_all_images_equal_those_by_hand():
    case = box()
    found = st.radial_from_positions(*case, EDGES, CUTOFF)
    assert st.species_of(case[2]).tolist() == [8, 22]
    for axis, kind in enumerate((8, 22)):
        counts, within = by_hand(*case, kind)
        np.testing.assert_allclose(found.counts[:, axis], counts, atol=1e-12)
        np.testing.assert_allclose(found.within[:, axis], within, atol=1e-12)
    np.testing.assert_allclose(found.weight, case[4].sum(axis=(0, 1)))
    volume = np.linalg.det(case[1])
    np.testing.assert_allclose(
        found.density, found.weight[:, None] * np.array([8, 4]) / volume
    )


def test_pieces_of_a_trajectory_add_up(monkeypatch):
    positions, cell, species, targets, p = box(frames=6)
    cells = cell * np.linspace(1, 1.1, 6)[:, None, None]  # a breathing cell
    whole = st.radial_from_positions(
        positions, cells, species, targets, p, EDGES, CUTOFF
    )
    monkeypatch.setattr(st, "_PAIRS", 100)
    parts = [
        st.radial_from_positions(
            positions[s], cells[s], species, targets, p[s], EDGES, CUTOFF
        )
        for s in (slice(0, 2), slice(2, 6))
    ]
    for one, other in zip(st.add(*parts), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_stored_distances_equal_positions_up_to_the_last_neighbour():
    positions, cell, species, targets, p = box(1)
    lists, distances = neighbours(positions, np.stack([cell] * 3), 20, 6.0, "auto")[:2]
    volume = float(np.linalg.det(cell))
    full = st.radial_from_positions(positions, cell, species, targets, p, EDGES, CUTOFF)
    found = st.radial_from_distances(
        lists, distances, species, targets, p, EDGES, CUTOFF, volume
    )
    last = np.asarray(distances)[:, targets, -1].min()
    assert found.complete_to == pytest.approx(last)
    whole = EDGES[1:] < last
    assert whole.sum() > 5
    np.testing.assert_allclose(
        found.counts[..., whole], full.counts[..., whole], atol=1e-6
    )
    np.testing.assert_allclose(found.density, full.density)
    assert full.complete_to == np.inf


def test_distances_without_a_volume_give_shells_but_no_density():
    positions, cell, species, targets, p = box(1)
    lists, distances = neighbours(positions, np.stack([cell] * 3), 9, 6.0, "auto")[:2]
    sums = st.radial_from_distances(
        lists, distances, species, targets, p, EDGES, CUTOFF
    )
    found = st.radial(sums, EDGES)
    assert np.isnan(found.g).all()
    assert np.isfinite(found.shells).all()
    wide = st.radial_from_distances(
        lists, distances, species, targets, p, np.array([0.0, 50.0]), 50.0
    )
    every = st.radial(wide, np.array([0.0, 50.0]))
    np.testing.assert_allclose(every.coordination.sum(axis=1), 9)
    np.testing.assert_allclose(every.shells[:, :, 0], every.coordination)


def test_ideal_gas_has_a_flat_distribution_of_one():
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, 12, (40, 300, 3))
    targets = np.arange(0, 300, 6)
    p = np.full((40, 50, 2), 0.5)
    edges = np.linspace(1.0, 5.0, 9)
    sums = st.radial_from_positions(
        positions, 12 * np.eye(3), np.ones(300, int), targets, p, edges, 4.0
    )
    found = st.radial(sums, edges)
    np.testing.assert_allclose(found.g, 1.0, atol=0.03)
    np.testing.assert_allclose(found.r, edges[:-1] + 0.25)
    expected = 299 / 12**3 * 4 / 3 * np.pi * 4.0**3
    np.testing.assert_allclose(found.coordination, expected, rtol=0.02)


def test_states_see_their_own_environment():
    """One atom in a cubic cage of six at 2.05 A, then of eight at 2.45 A."""
    axes = np.concatenate([np.eye(3), -np.eye(3)]) * 2.05
    corners = (np.array(list(np.ndindex(2, 2, 2))) * 2 - 1) * 2.45 / np.sqrt(3)
    far = np.array([[9.0, 9, 9]] * 2)
    first = np.concatenate([[[0, 0, 0]], axes, far])
    second = np.concatenate([[[0, 0, 0]], corners])
    positions = np.stack([first, second])
    p = np.eye(2)[:, None, :]  # frame 0 is state 0
    species = np.array([3] + [16] * 8)
    sums = st.radial_from_positions(
        positions, None, species, np.array([0]), p, EDGES, 2.9
    )
    found = st.radial(sums, EDGES)
    np.testing.assert_array_equal(found.coordination, [[0, 6], [0, 8]])
    peaks = found.r[np.argmax(found.shells[:, 1], axis=1)]
    np.testing.assert_allclose(peaks, [2.05, 2.45], atol=1e-9)
    assert np.isnan(found.g).all()  # no cell, no density


def test_state_that_never_occurs_has_no_numbers():
    positions, cell, species, targets, p = box()
    p = np.concatenate([p, np.zeros_like(p[..., :1])], axis=2)
    found = st.radial(
        st.radial_from_positions(positions, cell, species, targets, p, EDGES, CUTOFF),
        EDGES,
    )
    assert np.isnan(found.g[2]).all()
    assert np.isnan(found.coordination[2]).all()
    assert np.isfinite(found.coordination[:2]).all()


def test_mean_of_values_is_weighted_by_the_state():
    rng = np.random.default_rng(3)
    values, p = rng.normal(size=(7, 4, 5)), rng.dirichlet(np.ones(3), (7, 4))
    found = st.weighted_sums(values, p).mean
    expected = [
        np.average(values.reshape(28, 5), axis=0, weights=p[..., s].ravel())
        for s in range(3)
    ]
    np.testing.assert_allclose(found, expected)
    halves = [st.weighted_sums(values[s], p[s]) for s in (slice(0, 3), slice(3, 7))]
    np.testing.assert_allclose(st.add(*halves).mean, found)


def test_directions_of_a_state_are_its_histogram():
    up, down = np.array([0, 0, 0.9]), np.array([0, 0, -0.9])
    directions = np.stack([up, up, down, up])[:, None, :]
    p = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], float)[:, None, :]
    edges = np.array([-1.0, -0.5, 0.5, 1.0])
    found = st.direction_histogram(directions, p, edges).mean
    np.testing.assert_allclose(found[:, 2], [[0, 0, 1], [0.5, 0, 0.5]])
    np.testing.assert_allclose(found[:, 0], [[0, 1, 0], [0, 1, 0]])
    clipped = st.direction_histogram(2 * directions, p, edges).mean
    np.testing.assert_allclose(clipped, found)
    np.testing.assert_allclose(st.weighted_sums(directions, p).mean[0], up)


def test_examples_are_the_most_probable_atoms_of_all_trajectories():
    p = np.full((2, 5, 3, 2), 0.5)
    p[1, 4, 2] = 0.1, 0.9
    p[0, 2, 1] = 0.3, 0.7
    p[0, 0, 0] = 0.8, 0.2
    found = st.examples(list(p), 2)
    assert found[1] == [(1, 4, 2, 0.9), (0, 2, 1, 0.7)]
    assert found[0][0] == (0, 0, 0, 0.8)
    assert len(found[0]) == 2


def test_no_frame_is_refused():
    positions, cell, species, targets, p = box()
    with pytest.raises(ValueError, match="one frame or more"):
        st.radial_from_positions(
            positions[:0], cell, species, targets, p[:0], EDGES, CUTOFF
        )
