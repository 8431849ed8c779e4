"""Pairs of outputs of every kind that training meets."""

from typing import Any

import numpy as np

KINDS = ("soft", "sharp", "crisp_equal", "dead", "near_uniform", "constant")


def softmax(logits):
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True)


def correlated(rng, count, states, keep=0.8):
    """Returns two sets of numbers that have much in common, [count, states] each."""
    first = rng.normal(size=(count, states))
    second = keep * first + np.sqrt(1 - keep**2) * rng.normal(size=(count, states))
    return first, second


def chain(rng, count, states, stay=0.8):
    """Returns states at two times, equally populated at the first."""
    first = np.arange(count) % states
    moved = rng.integers(0, states, count)
    return first, np.where(rng.random(count) < stay, first, moved)


def outputs(kind, rng, states, count=640, dtype: Any = np.float32):
    """Returns outputs for t and t + lag, [count, states] each.

    Args:
      kind: one of `KINDS`.
      rng: random generator.
      states: number of states.
      count: number of rows.
      dtype: of the result.
    """
    first, second = correlated(rng, count, states)
    if kind == "crisp_equal":
        eye = np.eye(states)
        one, other = chain(rng, count - count % states, states)
        pair = eye[one], eye[other]
    elif kind == "constant":
        row = softmax(rng.normal(size=(1, states)))
        pair = np.repeat(row, count, 0), np.repeat(row, count, 0)
    elif kind == "dead":
        shift = np.zeros(states)
        shift[1 + states // 2 :] = -rng.uniform(20, 40)
        pair = softmax(3 * first + shift), softmax(3 * second + shift)
    else:
        scale = {"soft": 1.0, "sharp": 8.0}.get(kind)
        if scale is None:
            scale = 10.0 ** rng.uniform(-4, -1.5)
        pair = softmax(scale * first), softmax(scale * second)
    return pair[0].astype(dtype), pair[1].astype(dtype)
