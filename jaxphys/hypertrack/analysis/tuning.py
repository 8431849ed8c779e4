"""Thresholds of the simple clusterings, chosen on events that are not reported."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis.evaluation import EventEdges, label_hits, match_events
from jaxphys.hypertrack.analysis.metrics import HITS_MIN, Matching
from jaxphys.hypertrack.inference.tracker import Tracker

GRIDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "cut": {"threshold": (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)},
    "jaccard": {
        "threshold": (0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
        "min_overlap": (0.3, 0.4, 0.5, 0.6, 0.7),
    },
    "dbscan": {"eps": (0.02, 0.05, 0.1, 0.2, 0.3, 0.4), "min_samples": (2, 3, 4)},
    "hdbscan": {"threshold": (0.2, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95)},
    "dbscan_latents": {"eps": (0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0)},
    "hdbscan_latents": {"min_samples": (2, 3)},
}


def f1(matchings: Sequence[Matching]) -> float:
    """Returns 2 matches / (true + reconstructed tracks), of at least `hits_min` hits.

    It is the harmonic mean of efficiency and 1 - fake rate; 0 where there is no track.
    """
    matches = sum(int(m.passed.sum()) for m in matchings)
    tracks = sum(int(m.wanted.sum()) + int(m.shown.sum()) for m in matchings)
    return 2 * matches / tracks if tracks else 0.0


def tune(
    tracker: Tracker,
    method: str,
    found: Sequence[EventEdges],
    grid: Mapping[str, Sequence[float]] | None = None,
    hits_min: int = HITS_MIN,
) -> tuple[dict[str, Any], float]:
    """Returns the options of a grid with the largest `f1`, and its value.

    The first of equal ones is taken.

    Args:
        tracker: whose edges these are.
        method: one of `evaluation.METHODS`.
        found: events to tune on; not those that are reported.
        grid: values of each option; None takes that of `GRIDS`.
        hits_min: least number of hits of a track that counts.

    Raises:
        ValueError: there is no event.
    """
    if not found:
        raise ValueError(f"tune, {method}: expected at least one event, got none")
    grid = GRIDS.get(method, {}) if grid is None else grid
    best: tuple[dict[str, Any], float] = ({}, -np.inf)
    for values in itertools.product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        labels = [label_hits(tracker, method, one, options) for one in found]
        value = f1(match_events([one.event for one in found], labels, hits_min))
        if value > best[1]:
            best = options, value
    return best
