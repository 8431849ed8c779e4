"""Figures of a set of events, to hold simulated events against others.

Collisions fluctuate widely, so that every figure comes with the error of its mean over
the events, and shapes (hits per layer) are fractions.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.simulation.detector import BARREL_RADII, VOLUMES

HARD_PT_GEV, HARD_ETA, FEWEST_HITS = 0.9, 2.5, 4
_MOST_HITS = 20


@dataclasses.dataclass(frozen=True)
class Figure:
    """A mean over events, and its error (0 where there is one event)."""

    value: float
    error: float

    def pull(self, other: "Figure") -> float:
        """Returns the difference in units of its error; infinite without errors."""
        error = math.hypot(self.error, other.error)
        difference = self.value - other.value
        if error == 0:
            return 0.0 if difference == 0 else math.copysign(math.inf, difference)
        return difference / error


def figures_of_event(event: Event) -> dict[str, tuple[float, float]]:
    """Counts what is in an event.

    Args:
        event: with truth.

    Returns:
        Name -> (numerator, denominator). The figure of several events is the ratio of
        the sums.
    """
    own, signal = event.particles, event.label >= 0
    tracks, hits = max(event.num_tracks, 1), max(int(signal.sum()), 1)
    long = own.num_hits >= FEWEST_HITS
    hard = long & (own.pt > HARD_PT_GEV) & (np.abs(own.eta) < HARD_ETA)
    found = {
        "hits per event": (event.num_hits, 1),
        "noise fraction": (event.num_hits - int(signal.sum()), event.num_hits),
        "particles per event": (event.num_tracks, 1),
        f"particles with >= {FEWEST_HITS} hits": (int(long.sum()), 1),
        "of these pT > 0.9 GeV, |eta| < 2.5": (int(hard.sum()), 1),
        "hits per particle": (float(own.num_hits.sum()), tracks),
        "displaced by > 1 mm": (int((own.vertex_radius > 1).sum()), tracks),
    }
    for pt in (0.2, 0.36, 0.7, 1.5):
        found[f"pT above {pt} GeV"] = (int((own.pt > pt).sum()), tracks)
    for number in (4, 8, 10, 12, 15):
        found[f"tracks of > {number} hits"] = (
            int((own.num_hits > number).sum()),
            tracks,
        )
    radius = np.hypot(event.position[:, 0], event.position[:, 1])
    for volume in VOLUMES:
        here = signal & (event.volume_id == volume)
        found[f"hits in volume {volume}"] = (int(here.sum()), hits)
        for layer in np.unique(_layers(volume)):
            row = here & (event.layer_id == layer)
            found[f"hits in volume {volume}, layer {layer}"] = (int(row.sum()), hits)
            if volume in BARREL_RADII:
                count = max(int(row.sum()), 1)
                total = float(radius[row].sum())
                found[f"mean r of volume {volume}, layer {layer}"] = (total, count)
    return found


def _layers(volume):
    last = {8: 8, 13: 8, 17: 4, 7: 14, 9: 14}.get(volume, 12)
    return np.arange(2, last + 1, 2)


def summarise(events: Iterable[Event]) -> dict[str, Figure]:
    """Returns the figures of a set of events.

    Args:
        events: with truth, at least one.

    Returns:
        Name -> ratio of sums over the events, with the error of a ratio that the
        fluctuation between events gives.

    Raises:
        ValueError: there is no event.
    """
    rows = [figures_of_event(event) for event in events]
    if not rows:
        raise ValueError("expected events to summarise, got none")
    table = np.array([list(row.values()) for row in rows], np.float64)  # [E, F, 2]
    top, bottom = table.sum(axis=0).T
    value = top / np.maximum(bottom, 1)
    spread = table[..., 0] - value * table[..., 1]
    count = len(rows)
    error = np.sqrt((spread**2).sum(axis=0) * count / max(count - 1, 1))
    error /= np.maximum(bottom, 1)
    return {
        name: Figure(float(v), float(e) if count > 1 else 0.0)
        for name, v, e in zip(rows[0], value, error, strict=True)
    }


def compare(
    found: dict[str, Figure], expected: dict[str, Figure]
) -> list[dict[str, Any]]:
    """Returns the rows of a table that holds two sets of figures side by side.

    Args:
        found: of the simulation, say.
        expected: of the reference.

    Returns:
        For each figure its name, both values with errors, their ratio and pull.
    """
    return [
        {
            "figure": name,
            "found": own.value,
            "found_error": own.error,
            "expected": expected[name].value,
            "expected_error": expected[name].error,
            "ratio": own.value / expected[name].value
            if expected[name].value
            else math.nan,
            "pull": own.pull(expected[name]),
        }
        for name, own in found.items()
    ]


def track_length_histogram(events: Iterable[Event]) -> np.ndarray:
    """Returns the number of tracks of 0, 1, ... 20 and more hits, `[21]` int64."""
    total = np.zeros(_MOST_HITS + 1, np.int64)
    for event in events:
        count = np.minimum(event.particles.num_hits, _MOST_HITS)
        total += np.bincount(count, minlength=_MOST_HITS + 1)
    return total
