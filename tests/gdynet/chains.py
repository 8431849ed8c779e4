"""Markov chains with known answers, and soft predictions made of them."""

import numpy as np

# the slow pair 0, 1 against 2, with a faster exchange within the pair
TRANSITION = np.array([[0.85, 0.13, 0.02], [0.15, 0.82, 0.03], [0.02, 0.02, 0.96]])


def sample(rng, transition, frames, targets):
    """Returns states of independent chains, [frames, targets]."""
    edges = np.cumsum(transition, axis=1)
    state = rng.integers(0, len(transition), targets)
    states = np.empty((frames, targets), int)
    for frame in range(frames):
        states[frame] = state
        draw = rng.random(targets)
        state = np.sum(draw[:, None] > edges[state], axis=1).clip(max=len(edges) - 1)
    return states


def one_hot(states, size=3):
    """Returns probabilities of known states, [F, n, S]."""
    return np.eye(size)[states]


def soft(states, size=3, part=0.1):
    """Returns probabilities that leave a part to the other states, [F, n, S]."""
    return (1 - part) * one_hot(states, size) + part / size
