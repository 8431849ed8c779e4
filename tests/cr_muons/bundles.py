"""Bundles and models that differ from them, for the tests of figures and reports."""

import numpy as np

from jaxphys.cr_muons.physics.events import Events, make_events


def draw_bundles(num=600, seed=0, factor=1.0, wider=1.0) -> Events:
    """Returns bundles of the same primaries whatever the seed of the muons.

    Args:
        num: Events.
        seed: Of the muons.
        factor: On the mean number of muons.
        wider: On their distances from the axis.
    """
    draws, muon_draws = np.random.default_rng(77), np.random.default_rng(seed)
    primaries = np.column_stack(
        [
            10 ** draws.uniform(4, 7, num),
            np.arccos(draws.uniform(0.3, 1, num)),
            draws.choice([0.938272, 3.727379, 52.0898], num),
            draws.choice(np.linspace(1000, 2800, 100), num),
        ]
    )
    mean = factor * (primaries[:, 0] / 2e5) ** 0.9
    counts = muon_draws.poisson(muon_draws.gamma(8.0, mean / 8.0))
    return make_events(primaries, counts, draw_muons(muon_draws, counts, wider))


def draw_muons(draws, counts, wider=1.0) -> np.ndarray:
    """Returns muons of events with so many each."""
    number = int(counts.sum())
    energy = 10 ** draws.normal(2.3, 0.7, number)
    radius = wider * draws.gamma(2.0, 5.0, number) * (energy / 200) ** -0.3
    angle = draws.uniform(0, 2 * np.pi, number)
    return np.column_stack([energy, radius * np.cos(angle), radius * np.sin(angle)])


def no_muons(events: Events) -> Events:
    """Returns the same primaries without any muon."""
    return make_events(events.primaries, np.zeros(len(events)), np.zeros((0, 3)))
