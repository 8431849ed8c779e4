"""Which showers are kept for validation: a stable hash of the shower's numbers.

Events of one shower at several depths share their muons, so that a split by row would
show the validation events in training.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def splitmix64(values: np.ndarray) -> np.ndarray:
    """Returns the hash of 64-bit numbers, one step of the generator splitmix64.

    Reference:
        Steele, Lea, Flood, Fast splittable pseudorandom number generators (2014).
    """
    state = values.astype(np.uint64) + _GOLDEN  # wraps around, as it should
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def shower_hash(showers: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns splitmix64(major 0x9E3779B97F4A7C15 ^ minor ^ seed), [N] uint64.

    Args:
        showers: [N, 2] uint64, major and minor number.
        seed: Another one makes another split.
    """
    seed64 = np.uint64(seed % 2**64)
    return splitmix64(showers[:, 0] * _GOLDEN ^ showers[:, 1] ^ seed64)


def is_validation(showers: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Returns [N] bool, whether the hash of a shower is below a fraction of its range.

    Args:
        showers: [N, 2] uint64, major and minor number.
        fraction: Of all showers, 0 to 1.
        seed: Another one makes another split.

    Raises:
        ValueError: If the fraction is not within 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"val_fraction: expected 0 to 1, got {fraction}")
    if fraction == 1:
        return np.ones(len(showers), bool)
    return shower_hash(showers, seed) < np.uint64(int(fraction * 2**64))
