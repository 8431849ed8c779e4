"""Exact relaxation times: the known digits, and diffusion whose answer is known."""

import numpy as np
import pytest

from jaxphys.gdynet.physics import exact


def test_lithium_environment_relaxes_in_10_27_ps():
    environment, following = exact.lithium_timescales()
    assert environment == pytest.approx(10.27, rel=0.005)
    assert following == pytest.approx(0.177, rel=0.02)
    assert exact.lithium_p_octahedral() == pytest.approx(0.776, abs=0.005)


@pytest.mark.parametrize(
    ("barrier", "digits"), [(3, "4.1346"), (4, "8.3950"), (5, "18.0105")]
)
def test_dipole_flips_in_the_printed_time(barrier, digits):
    assert f"{exact.dipole_timescales(barrier, 1)[0]:.4f}" == digits


def test_next_modes_of_the_dipole():
    np.testing.assert_allclose(
        exact.dipole_timescales(4.0), [8.3949, 0.07552, 0.04535], rtol=2e-4
    )


def test_prinz_times_to_the_printed_digits():
    found = [f"{t:.2f}" for t in exact.prinz_timescales()]
    assert found == ["166.80", "25.35", "13.02"]
    assert exact.prinz_timescales(4)[3] == pytest.approx(2.437, abs=5e-4)


def test_prinz_basins():
    np.testing.assert_allclose(exact.prinz_edges(), [-0.5, 0, 0.5], atol=0.01)
    weights = exact.prinz_populations()
    np.testing.assert_allclose(weights, [0.168, 0.230, 0.339, 0.263], atol=0.004)
    assert weights.sum() == pytest.approx(1)


def test_harmonic_well_has_the_times_1_half_and_a_third():
    # Ornstein-Uhlenbeck process: eigenvalues -k n with U = k x^2 / 2, D = 1
    found = exact.line(lambda x: x**2 / 2, -7, 7, 700)
    np.testing.assert_allclose(
        exact.line_timescales(found, 3), [1, 1 / 2, 1 / 3], rtol=1e-3
    )


def test_propagator_is_stochastic_keeps_boltzmann_and_composes():
    found = exact.line(exact.double_well(3), -2, 2, 120)
    step, two = (exact.line_propagator(found, t) for t in (0.1, 0.2))
    np.testing.assert_allclose(step.sum(axis=1), 1, atol=1e-10)
    assert step.min() > -1e-12
    np.testing.assert_allclose(found.stationary @ step, found.stationary, atol=1e-10)
    np.testing.assert_allclose(step @ step, two, atol=1e-9)
    values = np.sort(np.linalg.eigvals(step).real)[::-1]
    times = exact.line_timescales(found, 2)
    np.testing.assert_allclose(-0.1 / np.log(values[1:3]), times, rtol=1e-6)


def test_lithium_energy_has_the_symmetry_that_is_used():
    random = np.random.default_rng(0)
    x = random.random((50, 3))
    energy = exact.lithium_energy(x)
    for same in (x + [0.5, 0.5, 0], -x, x[:, [1, 2, 0]], x * [1, -1, 1]):
        np.testing.assert_allclose(exact.lithium_energy(same), energy, atol=1e-10)
    assert np.abs(exact.lithium_energy(x + [0.5, 0, 0]) - energy).max() > 1


def test_reduced_generator_has_the_spectrum_of_the_symmetric_part_of_the_full_one():
    n = 8
    orbit, size, _, grid = exact._orbits(n)
    assert size.sum() == n**3
    rate = exact.LITHIUM_DIFFUSION * (n / exact.LITHIUM_CELL) ** 2
    energy = exact.lithium_energy(grid / n)
    full = np.zeros((n**3, n**3))
    for axis in range(3):
        for step in (1, -1):
            there = grid.copy()
            there[:, axis] = (there[:, axis] + step) % n
            cell = np.ravel_multi_index(tuple(there.T), (n, n, n))
            full[np.arange(n**3), cell] = rate * np.exp((energy - energy[cell]) / 2)
    full -= np.diag(full.sum(axis=1))
    # on functions that are constant on orbits
    constant = np.eye(len(size))[orbit]
    reduced = (constant / size).T @ full @ constant
    values = np.sort(np.linalg.eigvals(reduced).real)[::-1]
    np.testing.assert_allclose(exact._symmetric_modes(n), -1 / values[1:3], rtol=1e-6)


def test_sites_of_the_fcc_lattice():
    octahedral = np.array([[0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    tetrahedral = np.array([[0.25, 0.25, 0.25], [0.75, 0.25, 0.75]])
    assert exact.is_octahedral(octahedral + 0.03).all()
    assert not exact.is_octahedral(tetrahedral - 0.03).any()
