"""Periodic cells against enumeration of many images."""

import itertools

import numpy as np
import pytest

from jaxphys.gdynet.physics import cells

ALL = np.ones(3, bool)
SKEW = np.array([[4.0, 0, 0], [3.5, 3, 0], [1, 1, 6]])
AROUND = np.array(list(itertools.product(range(-3, 4), repeat=3)), np.float64)


def test_heights_are_distances_between_faces():
    a, b, c = SKEW
    volume = abs(np.linalg.det(SKEW))
    expected = [
        volume / np.linalg.norm(np.cross(*others))
        for others in ((b, c), (a, c), (a, b))
    ]
    np.testing.assert_allclose(cells.heights(SKEW), expected)
    np.testing.assert_allclose(cells.heights(np.stack([SKEW] * 2)), [expected] * 2)


@pytest.mark.parametrize("cell", [np.diag([3.0, 5, 7]), SKEW])
def test_minimum_image_is_the_shortest_of_many(cell):
    vectors = np.random.default_rng(0).normal(0, 5, (50, 3))
    inside = vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell
    lengths = np.linalg.norm(inside[:, None] + AROUND @ cell, axis=-1).min(axis=1)
    found = cells.minimum_image(vectors, cell)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), lengths, atol=1e-12)
    shift = (vectors - found) @ np.linalg.inv(cell)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)


@pytest.mark.parametrize("reach", [0.5, 3.0, 9.0])
def test_images_hold_every_point_within_reach_of_an_atom(reach):
    positions = np.random.default_rng(1).normal(0, 9, (4, 3))
    points, atom = cells.with_images(positions, SKEW, ALL, reach)
    wrapped = positions - np.floor(positions @ np.linalg.inv(SKEW)) @ SKEW
    np.testing.assert_allclose(points[:4], wrapped, atol=1e-9)
    np.testing.assert_array_equal(atom[:4], np.arange(4))
    shifts = np.array(list(itertools.product(range(-6, 7), repeat=3)))
    every = wrapped[:, None] + shifts @ SKEW
    near = np.linalg.norm(every[:, :, None] - wrapped, axis=-1) <= reach
    wanted = near.any(axis=-1)  # [atom, shift]
    for j in range(4):
        expected = every[j][wanted[j]]
        away = np.linalg.norm(expected[:, None] - points[atom == j], axis=-1)
        assert away.min(axis=1).max() < 1e-9
        distinct = np.round(points[atom == j], 6)
        assert len(np.unique(distinct, axis=0)) == len(distinct)


def test_directions_that_do_not_repeat_have_no_images_and_may_be_zero():
    cell = np.array([[5.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    periodic = np.array([True, False, False])
    full = cells.full_cells(cell, periodic)
    assert abs(np.linalg.det(full)) == pytest.approx(5.0)
    positions = np.array([[0.5, 100.0, -70.0]])
    points, _ = cells.with_images(positions, full, periodic, 6.0)
    found = points[np.argsort(points[:, 0])]
    expected = [[-4.5, 100, -70], [0.5, 100, -70], [5.5, 100, -70]]
    np.testing.assert_allclose(found[(found[:, 0] > -5) & (found[:, 0] < 7)], expected)
    assert len(cells.shifts_within(full[None], periodic, 6.0)) == 3
    assert cells.full_cells(cell, np.zeros(3, bool)).tolist() == np.eye(3).tolist()


def test_shifts_hold_all_that_can_bring_a_wrapped_vector_within_reach():
    random = np.random.default_rng(2)
    for cell in (np.diag([3.0, 5, 7]), SKEW):
        shifts = cells.shifts_within(cell[None], ALL, 8.0)
        inside = random.uniform(-0.5, 0.5, (200, 3)) @ cell
        lengths = np.linalg.norm(inside[:, None] + AROUND @ cell, axis=-1)
        needed = AROUND[(lengths <= 8.0).any(axis=0)]
        assert {tuple(s) for s in needed} <= {tuple(s) for s in shifts}
        assert len({tuple(s) for s in shifts}) == len(shifts)


def test_flat_cell_is_refused_with_its_place_and_vectors():
    good = np.eye(3)
    flat = np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"volume > 0.*\[2.0, 0.0, 0.0\].*\(1,\)"):
        cells.full_cells(np.stack([good, flat]), ALL)
    with pytest.raises(ValueError, match="finite"):
        cells.full_cells(good * np.nan, ALL)


def test_periodic_axes():
    assert cells.periodic_axes(None).tolist() == [False] * 3
    assert cells.periodic_axes(np.eye(3)).tolist() == [True] * 3
    assert cells.periodic_axes(np.eye(3), (True, False, True)).tolist() == [
        True,
        False,
        True,
    ]
