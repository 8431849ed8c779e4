"""Neighbour lists against brute force in float64, and all backends with each other."""

import importlib
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.gdynet.physics import neighbours as module
from jaxphys.gdynet.physics.neighbours import neighbours
from tests.gdynet.oracles import brute_force

SKEW = np.array([[4.0, 0, 0], [3.5, 3, 0], [1, 1, 6]])
BACKENDS = ["images", "kdtree", "auto"]
if importlib.util.find_spec("matscipy") is not None:
    BACKENDS.append("matscipy")


def require_neighbours(found, positions, cell, radius):
    """Distances are those of brute force, and each listed atom lies at its own."""
    for f, frame in enumerate(positions):
        own = cell if cell is None or cell.ndim == 2 else cell[f]
        dists, pairs = brute_force(frame, own, found.lists.shape[2], radius)
        np.testing.assert_allclose(found.dists[f], dists, atol=1e-5)
        for i, near in enumerate(pairs):
            listed = zip(found.dists[f, i], found.lists[f, i], strict=True)
            left = list(near)
            for d, j in listed:
                same = [p for p in left if p[1] == j and abs(p[0] - d) < 1e-5]
                assert same, (f, i, j, d)  # each image once
                left.remove(same[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("cell", "atoms", "n_nbrs", "radius"),
    [
        (4.5 * np.eye(3), 5, 20, 9.0),  # an atom is its own neighbour
        (np.diag([9.0, 10, 12]), 30, 8, 6.0),
        (SKEW, 3, 15, 9.0),
        (2.0 * np.eye(3), 1, 30, 7.0),  # one atom, only images of itself
        (None, 12, 11, 60.0),
    ],
)
def test_backends_agree_with_brute_force(backend, cell, atoms, n_nbrs, radius):
    random = np.random.default_rng(atoms)
    positions = random.normal(0, 4 if cell is None else 15, (2, atoms, 3))
    found = neighbours(positions, cell, n_nbrs, radius, backend)
    assert found.lists.dtype == np.int32
    assert found.dists.dtype == np.float32
    assert np.all(np.diff(found.dists, axis=-1) >= 0)
    require_neighbours(found, positions, cell, radius)
    widest = neighbours(positions, cell, n_nbrs, "auto", backend)
    np.testing.assert_allclose(widest.dists, found.dists, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cells_may_change_from_frame_to_frame(backend):
    random = np.random.default_rng(7)
    cells = SKEW * np.array([1.0, 1.3, 0.8])[:, None, None]
    positions = random.normal(0, 5, (3, 4, 3))
    found = neighbours(positions, cells, 6, "auto", backend)
    require_neighbours(found, positions, cells, 12.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_direction_may_be_open(backend):
    random = np.random.default_rng(8)
    positions = random.uniform(0, 6, (2, 6, 3)) + [0, 0, 30]
    cell = np.diag([6.0, 6.0, 0.0])
    found = neighbours(positions, cell, 9, "auto", backend, pbc=(True, True, False))
    far = np.diag([6.0, 6.0, 1000.0])  # an image this far is never a neighbour
    require_neighbours(found, positions, far, 14.0)


@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 14))
@settings(max_examples=15, deadline=None)
def test_table_and_tree_agree_in_any_cell(seed, atoms, n_nbrs):
    random = np.random.default_rng(seed)
    cell = np.diag(random.uniform(2, 6, 3)) + random.uniform(-1, 1, (3, 3))
    positions = random.normal(0, 20, (3, atoms, 3))
    one = neighbours(positions, cell, n_nbrs, "auto", "images")
    two = neighbours(positions, cell, n_nbrs, "auto", "kdtree")
    np.testing.assert_allclose(one.dists, two.dists, atol=1e-5)


def test_neighbours_do_not_depend_on_which_image_is_given():
    random = np.random.default_rng(3)
    positions = random.uniform(0, 5, (1, 6, 3))
    shifts = random.integers(-9, 9, (1, 6, 3)) @ SKEW
    for backend in ("images", "kdtree"):
        one = neighbours(positions, SKEW, 8, "auto", backend)
        two = neighbours(positions + shifts, SKEW, 8, "auto", backend)
        np.testing.assert_allclose(one.dists, two.dists, atol=1e-5)
        np.testing.assert_array_equal(one.lists, two.lists)


def test_frames_may_be_shared_out_to_processes():
    positions = np.random.default_rng(4).uniform(0, 9, (5, 20, 3))
    cell = 9 * np.eye(3)
    one = neighbours(positions, cell, 5, 8.0)
    two = neighbours(positions, cell, 5, 8.0, workers=2)
    np.testing.assert_array_equal(one.lists, two.lists)
    np.testing.assert_array_equal(one.dists, two.dists)


@pytest.mark.parametrize("backend", ["images", "kdtree"])
def test_atoms_at_one_place_are_neighbours_and_never_themselves(backend):
    positions = np.zeros((1, 4, 3))
    found = neighbours(positions, 5 * np.eye(3), 3, 7.0, backend)
    assert np.all(found.dists == 0)
    for i in range(4):
        assert sorted(found.lists[0, i]) == [j for j in range(4) if j != i]


@pytest.mark.parametrize("backend", ["images", "kdtree"])
def test_too_few_neighbours_names_frame_atom_and_counts(backend):
    positions = np.zeros((3, 3, 3))
    positions[:, 1] = [1, 0, 0]
    positions[:, 2] = [2, 0, 0]
    positions[2, 2] = [5, 0, 0]
    with pytest.raises(
        ValueError, match=r"frame 42, atom 0: 1 neighbours within radius 3 A.*n_nbrs=2"
    ):
        neighbours(positions, None, 2, 3.0, backend, first_frame=40)
    with pytest.raises(ValueError, match=r"frame 0, atom 0: 2 neighbours in all"):
        neighbours(positions, None, 3, "auto", backend)


def test_arguments_out_of_range_are_refused():
    good = np.zeros((1, 2, 3))
    for change, message in (
        ({"positions": np.zeros((2, 3))}, r"\[F, N, 3\], got \(2, 3\)"),
        ({"positions": good * np.nan}, r"nan at \(frame, atom, axis\) \(0, 0, 0\)"),
        ({"cell": np.eye(2)}, r"cell: expected"),
        ({"n_nbrs": 0}, "n_nbrs"),
        ({"radius": 0.0}, "radius"),
        ({"backend": "grid"}, "backend='grid'"),
    ):
        given_ = {"positions": good, "cell": np.eye(3), "n_nbrs": 1, **change}
        with pytest.raises(ValueError, match=message):
            neighbours(**given_)


def test_matscipy_that_is_not_there_names_the_extra(monkeypatch):
    load = importlib.import_module

    def refuse(name, *rest):
        if name.startswith("matscipy"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(module.importlib, "import_module", refuse)
    with pytest.raises(ImportError, match=r"jaxphys\[md\]"):
        neighbours(np.zeros((1, 2, 3)), np.eye(3), 1, 7.0, "matscipy")


@pytest.mark.parametrize("backend", ["images", "kdtree"])
def test_cell_that_does_not_repeat_counts_no_images(backend):
    positions = np.random.default_rng(9).uniform(0, 4, (2, 5, 3))
    found = neighbours(positions, 4 * np.eye(3), 4, "auto", backend, pbc=False)
    require_neighbours(found, positions, None, 9.0)
    with pytest.raises(ValueError, match="4 neighbours in all"):
        neighbours(positions, 4 * np.eye(3), 5, "auto", backend, pbc=False)
