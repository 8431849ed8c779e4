"""The split is one of showers, stable, and of the asked size."""

import numpy as np
import pytest

from jaxphys.cr_muons.data.splits import is_validation, shower_hash, splitmix64


def slow_hash(major, minor, seed):
    """Returns the documented hash with Python's integers."""
    mask = 2**64 - 1
    state = ((major * 0x9E3779B97F4A7C15 & mask) ^ minor ^ seed) & mask
    state = (state + 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_splitmix64_gives_its_published_numbers():
    # first outputs of the generator with seed 1234567, whose state grows by the
    # golden number
    golden = np.uint64(0x9E3779B97F4A7C15)
    states = np.uint64(1234567) + golden * np.arange(3, dtype=np.uint64)
    assert splitmix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_hash_is_the_documented_one():
    showers = np.array([[0, 0], [3, 5], [2**64 - 1, 2**63]], np.uint64)
    for seed in (0, 7, 2**40):
        expected = [slow_hash(int(a), int(b), seed) for a, b in showers]
        assert shower_hash(showers, seed).tolist() == expected


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_the_fraction_is_met_and_showers_stay_whole(fraction):
    shower = np.arange(40_000, dtype=np.uint64)
    showers = np.repeat(np.stack([shower // 100, shower % 100], axis=1), 3, axis=0)
    found = is_validation(showers, fraction)
    assert found.mean() == pytest.approx(fraction, abs=0.008)
    assert (found.reshape(-1, 3) == found[::3, None]).all()
    assert (found != is_validation(showers, fraction, seed=1)).any()


def test_nothing_and_everything_are_fractions_too():
    showers = np.zeros((3, 2), np.uint64)
    assert not is_validation(showers, 0.0).any()
    assert is_validation(showers, 1.0).all()
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="val_fraction"):
            is_validation(showers, wrong)
