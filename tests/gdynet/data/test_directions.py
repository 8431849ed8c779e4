"""Directions of atoms: local displacements and files."""

import numpy as np
import pytest

from jaxphys.gdynet.data.directions import (
    Displacement,
    load_directions,
    parse_directions,
)
from jaxphys.gdynet.simulation.simulation import perovskite


def test_displaced_titanium_points_along_its_displacement():
    positions, types = perovskite()
    moved = np.stack([positions, positions])
    shift = np.array([0.1, -0.05, 0.2])
    moved[1, types == 22] += shift
    cells = np.broadcast_to(8.0 * np.eye(3), (2, 3, 3))
    found = Displacement("Ti", "O", 6).of(moved, cells, types)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    np.testing.assert_allclose(found[1, types != 22], 0)
    expected = np.broadcast_to(shift, (8, 3))
    np.testing.assert_allclose(found[1, types == 22], expected, atol=1e-5)


def test_displacement_is_that_of_brute_force_and_of_any_image():
    random = np.random.default_rng(0)
    cell = np.array([[6.0, 0, 0], [2, 5, 0], [1, -1, 7]])
    types = np.array([22] * 3 + [8] * 9)
    positions = random.uniform(0, 6, (1, 12, 3))
    found = Displacement("Ti", "O", 4).of(positions, cell[None], types)[0]
    shifts = np.indices((7, 7, 7)).reshape(3, -1).T - 3
    images = (positions[0, 3:, None] + shifts @ cell).reshape(-1, 3)
    for i in range(3):
        away = np.linalg.norm(images - positions[0, i], axis=-1)
        nearest = images[np.argsort(away)[:4]]
        expected = positions[0, i] - nearest.mean(axis=0)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    moved = positions + random.integers(-4, 4, (1, 12, 3)) @ cell
    again = Displacement("Ti", "O", 4).of(moved, cell[None], types)[0]
    np.testing.assert_allclose(again, found, atol=1e-5)


def test_displacement_without_a_cell():
    positions = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [9, 9, 9]]])
    types = np.array([22, 8, 8, 8])
    found = Displacement("Ti", "O", 2).of(positions, None, types)
    np.testing.assert_allclose(found[0, 0], [-0.5, -1, 0])
    with pytest.raises(ValueError, match="3 atoms O, expected at least 4"):
        Displacement("Ti", "O", 4).of(positions, None, types)
    with pytest.raises(ValueError, match="element 'Li'"):
        Displacement("Li", "O", 1).of(positions, None, types)


def test_flag_is_read():
    assert parse_directions("") is None
    assert parse_directions("displacement:Ti:O:6") == Displacement("Ti", "O", 6)
    assert str(parse_directions("a/b.npy")) == "a/b.npy"
    for text in ("displacement:Ti:O", "displacement:Ti:O:x", "file.txt"):
        with pytest.raises(ValueError, match=f"--directions={text!r}"):
            parse_directions(text)


def test_file_of_directions_must_fit(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros((3, 4, 3)))
    assert load_directions(tmp_path / "d.npy", 3, 4).shape == (3, 4, 3)
    with pytest.raises(ValueError, match=r"d\.npy: expected shape \(3, 5, 3\)"):
        load_directions(tmp_path / "d.npy", 3, 5)
    with pytest.raises(FileNotFoundError, match=r"e\.npy"):
        load_directions(tmp_path / "e.npy", 3, 5)
