"""The adaptive cross-check against the fixed-step propagator."""

import sys

import numpy as np
import pytest

from jaxphys.track_extrapolator.physics import adaptive
from jaxphys.track_extrapolator.physics.field import GaussSeed, GridField
from jaxphys.track_extrapolator.physics.propagate import propagate, track_ok
from jaxphys.track_extrapolator.simulation import sample_states

SEED = GaussSeed()


@pytest.fixture
def start():
    pytest.importorskip("diffrax")
    return sample_states(0, 0, 100)[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "cashkarp"])
def test_adaptive_methods_agree_with_ten_millimetre_steps(start, method):
    expected, jacobian = propagate(SEED, start, 3000.0, 7000.0, return_jacobian=True)
    found, found_jacobian = propagate(
        SEED, start, 3000.0, 7000.0, return_jacobian=True, method=method
    )
    assert np.abs(found - expected).max() < 1e-5
    size = np.linalg.norm(jacobian, axis=(1, 2), keepdims=True)
    assert np.max(np.abs(found_jacobian - jacobian) / size) < 1e-6


def test_dopri5_agrees_with_ten_millimetre_steps(start):
    found, steps = adaptive.propagate_adaptive(
        SEED, start, 3000.0, 7000.0, return_steps=True
    )
    expected = propagate(SEED, start, 3000.0, 7000.0)
    assert np.abs(found - expected).max() < 1e-5
    assert steps.max() < 60


def test_adaptive_goes_backward_and_stays_where_there_is_no_distance(start):
    z0 = np.full(100, 7000.0)
    z1 = np.where(np.arange(100) % 2, 3000.0, 7000.0)
    found = propagate(SEED, start, z0, z1, method="dopri5")
    np.testing.assert_array_equal(found[::2], start[::2])
    assert np.abs(found - propagate(SEED, start, z0, z1)).max() < 1e-5


def test_a_track_with_too_many_steps_is_flagged(start):
    found = adaptive.propagate_adaptive(SEED, start, 3000.0, 7000.0, max_steps=3)
    assert found.shape == (100, 5)
    assert not track_ok(found).any()


@pytest.mark.slow
def test_adaptive_follows_a_grid_field(start):
    # linear in space, so that interpolation is exact and smooth
    z = np.linspace(2000.0, 8000.0, 4)
    values = np.zeros((4, 3, 3, 3))
    values[..., 1] = (z / 8000.0)[:, None, None]
    field = GridField.from_map(values, (-4e3, -4e3, 2e3), (4e3, 4e3, 2e3))
    found = propagate(field, start, 3000.0, 7000.0, method="dopri5")
    expected = propagate(field, start, 3000.0, 7000.0, 5.0)
    assert np.abs(found - expected).max() < 1e-5


def test_the_cash_karp_tableau_is_consistent():
    for node, row in zip(adaptive.CASH_KARP_C, adaptive.CASH_KARP_A, strict=True):
        assert sum(row) == pytest.approx(node, abs=1e-14)
    for weights in (adaptive.CASH_KARP_B, adaptive.CASH_KARP_FOURTH):
        assert sum(weights) == pytest.approx(1.0, abs=1e-14)
        nodes = np.array((0.0, *adaptive.CASH_KARP_C))
        for power in (1, 2, 3):
            assert np.dot(weights, nodes**power) == pytest.approx(
                1 / (power + 1), abs=1e-14
            )


def test_missing_diffrax_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxphys\[ode\]'"):
        adaptive._diffrax()
