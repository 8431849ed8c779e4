"""Simulated cases have the statistics of the exact process."""

from typing import Any

import numpy as np
import pytest

from jaxphys.gdynet.data.dataset import all_pairs, from_arrays
from jaxphys.gdynet.physics import exact
from jaxphys.gdynet.simulation.simulation import (
    alanine_arrays,
    dihedral_sine,
    distance_arrays,
    lithium_arrays,
    lithium_positions,
    perovskite,
    sample_line,
    simulate,
)


def test_sampled_line_has_the_exact_weights_and_time():
    found = exact.line(exact.double_well(3.0), -2.2, 2.2, 400)
    path = sample_line(found, 0.2, 400, 600, seed=1)
    assert path.shape == (400, 600)
    assert set(np.unique(path)) <= set(found.x)
    assert np.mean(path > 0) == pytest.approx(0.5, abs=0.03)
    # the sign has a small share of fast modes: they are gone after 2 time units
    time = (
        0.2
        * 10
        / np.log(
            1 / (_correlation(np.sign(path), 20) / _correlation(np.sign(path), 10))
        )
    )
    assert time == pytest.approx(4.1346, rel=0.06)
    exact_weights, _ = np.histogram(path, bins=8, range=(-2.2, 2.2))
    expected = found.stationary.reshape(8, 50).sum(axis=1)
    np.testing.assert_allclose(exact_weights / path.size, expected, atol=0.02)


def _correlation(signal, lag):
    signal = signal - signal.mean()
    return np.mean(signal[:, lag:] * signal[:, :-lag])


def test_same_seed_same_path_and_another_seed_another():
    found = exact.line(exact.prinz, -1.2, 1.2, 100)
    one, two, three = (sample_line(found, 0.005, 5, 50, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)
    one, two, three = (lithium_positions(s, 3, 2) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_prinz_basins_are_visited_by_their_weight():
    case = simulate("C", seed=3, trajectories=300, frames=1000)
    x = (case.arrays["nbr_dists"][:, 0, 0].reshape(300, 1000) - 3) / 2
    basin = np.searchsorted(exact.prinz_edges(), x)
    weights = np.bincount(basin.ravel()) / x.size
    np.testing.assert_allclose(weights, case.populations, atol=0.03)


@pytest.mark.slow
def test_lithium_has_the_exact_environment_time_and_weights():
    fraction = lithium_positions(5, 250, 1600)
    inside = exact.is_octahedral(fraction).astype(float)
    assert inside.mean() == pytest.approx(exact.lithium_p_octahedral(), abs=0.03)
    # recrossings at the border cost the indicator a little at short lags
    found = 0.2 * 30 / np.log(_correlation(inside, 10) / _correlation(inside, 40))
    assert found == pytest.approx(10.27, rel=0.1)


def test_lithium_lies_in_the_cell_and_near_its_sites():
    fraction = lithium_positions(0, 20, 5)
    assert fraction.dtype == np.float32
    assert fraction.min() >= 0
    assert fraction.max() < 1
    energy = exact.lithium_energy(fraction.astype(np.float64))
    assert np.mean(energy) < -10  # the bottom is at -15.6, a sulphur at +44.4


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_case_is_a_data_set(name):
    case = simulate(name, seed=0, trajectories=12, frames=9)
    ferro = name == "B"
    data = from_arrays(case.arrays, directions=ferro)
    assert data.lengths.tolist() == [9] * 12
    assert all_pairs(data, 2).size == 12 * 7
    assert case.timescales[0] > 1
    assert sum(case.populations) == pytest.approx(1)
    about = case.describe()
    assert about["name"] == name
    assert "arrays" not in about


def test_case_a_has_the_neighbours_of_an_ion_in_the_middle():
    fraction = np.full((1, 1, 3), 0.5)
    arrays = lithium_arrays(fraction, n_nbrs=20)
    dists, lists = arrays["nbr_dists"][0, 4], arrays["nbr_lists"][0, 4]
    np.testing.assert_allclose(dists[:6], 3.0, atol=1e-5)  # octahedron of sulphur
    assert set(lists[:6]) <= {0, 1, 2, 3}
    np.testing.assert_allclose(dists[6:14], 3 * np.sqrt(3), atol=1e-5)
    np.testing.assert_allclose(dists[14:20], 6.0, atol=1e-5)
    assert set(lists[14:20]) == {4}  # its own images


def test_case_b_is_static_and_only_titanium_has_a_direction():
    case = simulate("B", seed=1, trajectories=2, frames=5)
    arrays = case.arrays
    assert arrays["nbr_lists"].shape == (40, 12)
    positions, types = perovskite()
    assert np.array_equal(np.flatnonzero(types == 22), arrays["target_index"])
    directions = arrays["atom_directions"]
    assert np.all(directions[:, types != 22] == 0)
    assert np.all(directions[..., :2] == 0)
    assert np.all(directions[:, types == 22, 2] != 0)
    box = positions[:, None] - positions
    box -= 8 * np.round(box / 8)
    away = np.linalg.norm(box, axis=-1)
    rows = np.arange(40)[:, None]
    np.testing.assert_allclose(
        away[rows, arrays["nbr_lists"]], arrays["nbr_dists"], atol=1e-5
    )
    np.testing.assert_allclose(arrays["nbr_dists"][1, :6], 2.0, atol=1e-6)


def test_case_b_lets_the_dipoles_flip_at_the_exact_rate():
    case = simulate("B", seed=2, trajectories=60, frames=400)
    z = case.arrays["atom_directions"][:, case.arrays["target_index"], 2]
    sign = np.sign(z).reshape(60, 400, 8).transpose(0, 2, 1).reshape(480, 400)
    found = 0.2 * 20 / np.log(_correlation(sign, 5) / _correlation(sign, 25))
    assert found == pytest.approx(8.395, rel=0.08)
    assert np.mean(sign > 0) == pytest.approx(0.5, abs=0.04)


def test_other_barriers_have_their_own_time():
    found = simulate("B", 0, 1, 2, barrier=5.0).timescales[0]
    assert found == pytest.approx(18.0105, rel=1e-5)


def test_case_c_is_a_distance():
    x = np.array([[-1.0, 0.5, 0.25]])
    arrays = distance_arrays(x)
    np.testing.assert_allclose(
        arrays["nbr_dists"][:, :, 0], [[1, 1], [4, 4], [3.5] * 2]
    )
    assert arrays["nbr_lists"].tolist() == [[[1], [0]]]


def test_unknown_case_and_bad_numbers_are_refused():
    refused: list[tuple[dict[str, Any], str]] = [
        ({"case": "E"}, "case='E'"),
        ({"case": "A", "frames": -1}, "frames"),
        ({"case": "B", "barrier": 0.0}, "barrier"),
        ({"case": "C", "n_nbrs": 3}, "two atoms"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            simulate(**options)


def test_sine_of_a_dihedral_changes_sign_in_the_mirror():
    points = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]])
    assert dihedral_sine(points)[0] == pytest.approx(1, abs=1e-12)
    assert dihedral_sine(points * [1, -1, 1])[0] == pytest.approx(-1, abs=1e-12)
    turned = points[..., [1, 2, 0]] + 3.0  # a rotation
    assert dihedral_sine(turned)[0] == pytest.approx(1, abs=1e-12)


def test_alanine_beads_have_types_of_their_own_unless_asked_for_elements():
    coordinates = np.random.default_rng(0).normal(0, 2, (3, 5, 3))
    arrays = alanine_arrays(coordinates)
    assert len(set(arrays["atom_types"].tolist())) == 5
    assert arrays["nbr_lists"].shape == (3, 5, 4)
    elements = alanine_arrays(coordinates, False, [6, 7, 6, 6, 7])
    assert elements["atom_types"].tolist() == [6, 7, 6, 6, 7]
