"""Scored test events with known laws, and their particles."""

import numpy as np

from jaxphys.hidden_vertex.inference.scored import Scored


def make_scored(background=300, signal=100, seed=0, codes=(2, 3), **changes):
    """Returns events whose score `combined` sees a shift of the signal by 1.5.

    Args:
        background: Number of events of label 0.
        signal: Number of events of label 1, mixed among the others.
        seed: Of the draws.
        codes: J and L.
        **changes: Attributes to set.
    """
    rng = np.random.default_rng(seed)
    events = background + signal
    label = rng.permutation(np.repeat([0, 1], [background, signal])).astype(np.int8)
    hidden = rng.normal(size=events) + 1.5 * label
    mjj = rng.gamma(20.0, 150.0, events).astype(np.float32)
    observables = {
        "n": rng.integers(20, 200, events).astype(np.float32),
        "mean_log_pt": hidden.astype(np.float32),
        "mjj": mjj,
    }
    for jet, phi in ((1, 3.0), (2, -0.1)):
        observables[f"pt{jet}"] = rng.uniform(1200, 2000, events).astype(np.float32)
        observables[f"eta{jet}"] = rng.normal(0, 0.7, events).astype(np.float32)
        observables[f"phi{jet}"] = np.full(events, phi, np.float32)
        observables[f"m{jet}"] = rng.gamma(3.0, 60.0, events).astype(np.float32)
    found = {
        "label": label,
        "event_id": 10_000 + 3 * np.arange(events),
        "scores": {
            "combined": hidden + 0.3 * rng.normal(size=events),
            "latent": np.exp(0.3 * hidden + rng.normal(size=events)),
        },
        "headline": "combined",
        "code": rng.normal(size=(events, *codes)) + 0.5 * label[:, None, None],
        "size": observables["n"].astype(np.int64),
        "observables": observables,
    }
    return Scored(**{**found, **changes})


def particles_of(position):
    """Returns particles [n, 3] of an event, with one on either side of phi = pi."""
    rng = np.random.default_rng(position)
    size = 12 + position % 5
    pt = rng.exponential(20.0, size) + 0.2
    phi = np.concatenate([[3.1, -3.1], rng.uniform(-np.pi, np.pi, size - 2)])
    return np.stack([pt, rng.normal(0, 1.5, size), phi], axis=1).astype(np.float32)
