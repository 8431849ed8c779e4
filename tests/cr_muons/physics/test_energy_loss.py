import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from jaxphys.cr_muons.physics import energy_loss
from jaxphys.cr_muons.physics.energy_loss import (
    carry_to_depths,
    energy_below,
    overburden,
    surface_energy_needed,
)


def test_energy_follows_the_differential_equation():
    def loss(_, energy):
        return -(energy_loss.IONISATION + energy_loss.RADIATION * energy)

    found = solve_ivp(loss, (0, 1500), [5000.0], rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(energy_below(5000.0, 1500.0), found.y[0, -1], rtol=1e-8)


@given(st.floats(1, 1e4), st.floats(1, 1e4))
@settings(max_examples=30, deadline=None)
def test_two_layers_take_what_one_takes(first, second):
    energy = 1e8
    twice = energy_below(energy_below(energy, first), second)
    np.testing.assert_allclose(twice, energy_below(energy, first + second), rtol=1e-9)


@given(st.floats(1, 1e4))
@settings(max_examples=30, deadline=None)
def test_the_energy_needed_is_just_used_up(thickness):
    needed = surface_energy_needed(thickness)
    assert abs(energy_below(needed, thickness)) < 1e-9 * needed
    assert (
        energy_below(needed * 1.01, thickness)
        > 0
        > energy_below(needed * 0.99, thickness)
    )


def test_overburden_is_along_the_track():
    np.testing.assert_allclose(overburden(1000.0, 0.5), 1834.0)


def _showers(random, num_showers=30, num_depths=4):
    num_muons = random.integers(0, 6, num_showers)
    primaries = np.stack(
        [
            10 ** random.uniform(4, 7, num_showers),
            random.uniform(0, 1.2, num_showers),
            np.full(num_showers, 0.938),
        ],
        axis=1,
    )
    muons = random.normal(size=(num_muons.sum(), 3)) * 10
    muons[:, 0] = 10 ** random.uniform(1.5, 4, len(muons))
    depths = np.sort(random.uniform(1000, 2800, (num_showers, num_depths)), 1)
    showers = np.arange(2 * num_showers, dtype=np.uint64).reshape(-1, 2)
    return primaries, depths, num_muons, muons, showers


def test_carried_showers_are_those_of_a_loop_over_muons():
    primaries, depths, num_muons, muons, showers = _showers(np.random.default_rng(1))
    events = carry_to_depths(primaries, depths, num_muons, muons, showers)
    first = np.cumsum(num_muons) - num_muons
    event = 0
    for shower, count in enumerate(num_muons):
        for depth in depths[shower]:
            thickness = overburden(depth, np.cos(primaries[shower, 1]))
            expected = []
            for energy, x, y in muons[first[shower] : first[shower] + count]:
                left = energy_below(energy, thickness)
                if left > 0:
                    expected.append((left, x, y))
            found = events.muons[events.offsets[event] : events.offsets[event + 1]]
            np.testing.assert_allclose(
                found, np.reshape(expected, (-1, 3)), rtol=1e-5, atol=1e-4
            )
            row = [*primaries[shower], depth]
            np.testing.assert_allclose(events.primaries[event], row, rtol=1e-6)
            np.testing.assert_array_equal(events.showers[event], showers[shower])
            event += 1
    assert event == len(events)
    assert 0 < len(events.muons) < 4 * len(muons)


def test_fewer_muons_reach_deeper():
    events = carry_to_depths(*_showers(np.random.default_rng(2)))
    assert (np.diff(events.num_muons.reshape(30, 4), axis=1) <= 0).all()


def test_lengths_that_disagree_are_refused():
    primaries, depths, num_muons, muons, showers = _showers(np.random.default_rng(3))
    with pytest.raises(ValueError, match=r"depths_m: expected shape \(30, K\)"):
        carry_to_depths(primaries, depths[:-1], num_muons, muons, showers)
    with pytest.raises(ValueError, match="num_muons: expected 30 numbers"):
        carry_to_depths(primaries, depths, num_muons, muons[1:], showers)
