"""Spectra of events and muons per event, with errors that know of the bundles."""

import dataclasses

import numpy as np

from jaxphys.cr_muons.analysis.metrics import MIN_RADIUS_M, radius
from jaxphys.cr_muons.physics.events import Events


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Entries per event and unit of the abscissa, in bins.

    Attributes:
        edges: [B + 1] of the bins.
        value: [B] density.
        error: [B] standard error; muons of one event are not independent, so that it is
            the spread between events.
    """

    edges: np.ndarray
    value: np.ndarray
    error: np.ndarray

    def scaled(self, factor: float) -> "Spectrum":
        """Returns the spectrum times a number."""
        return Spectrum(self.edges, self.value * factor, self.error * factor)


def log_radius(events: Events) -> np.ndarray:
    """Returns log10 of the muons' distances in m, [M]; -10 below `MIN_RADIUS_M`."""
    r = radius(events)
    return np.log10(np.where(r > MIN_RADIUS_M, r, 1e-10))


def count_edges(most: int, single: int = 8, growth: float = 1.3) -> np.ndarray:
    """Returns edges for numbers of muons: first one bin each, then growing bins.

    Args:
        most: largest number that must lie inside.
        single: last number with a bin of its own.
        growth: of the bins beyond, from one to the next.

    Returns:
        [B + 1] half integers, from -0.5 on.
    """
    if most <= single:
        return np.arange(most + 2) - 0.5
    number = int(np.log(most / single) / np.log(growth)) + 3
    grown = np.unique(np.round((single + 1) * growth ** np.arange(number)))
    # the first edge above `most` is the last one
    last = int(np.searchsorted(grown, most, side="right")) + 1
    return np.append(np.arange(single + 1), grown[:last]) - 0.5


def count_spectrum(num_muons: np.ndarray, edges: np.ndarray) -> Spectrum:
    """Returns the probability of each number of muons.

    Args:
        num_muons: [N].
        edges: half integers, as of `count_edges`.
    """
    found = np.histogram(num_muons, edges)[0].astype(np.float64)
    return _normalised(edges, found, found, len(num_muons))


def muon_spectrum(events: Events, values: np.ndarray, edges: np.ndarray) -> Spectrum:
    """Returns the number of muons per event and unit of a quantity.

    Args:
        events: the bundles.
        values: [M] the quantity of each muon.
        edges: [B + 1]; muons outside are left out.
    """
    bins = len(edges) - 1
    index = np.searchsorted(edges, values, side="right") - 1
    inside = (index >= 0) & (index < bins)
    cell = events.event_of_muon().astype(np.int64)[inside] * bins + index[inside]
    cells, counts = np.unique(cell, return_counts=True)
    found = np.bincount(cells % bins, counts, bins)
    square = np.bincount(cells % bins, counts.astype(np.float64) ** 2, bins)
    return _normalised(edges, found, square, len(events))


def _normalised(edges, found, square, events: int) -> Spectrum:
    width = np.diff(edges) * max(events, 1)
    mean_square = found**2 / max(events, 1)
    spread = np.sqrt(np.maximum(square - mean_square, 0))
    # a bin whose events all have the same entries still is a sample
    spread = np.where(found > 0, np.maximum(spread, 1e-12), 0)
    return Spectrum(edges, found / width, spread / width)


def ratio(model: Spectrum, truth: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Returns model / truth and the model's part of its error, [B] each.

    Bins without entries of the truth have no ratio (NaN).
    """
    there = truth.value > 0
    below = np.where(there, truth.value, 1)
    value = np.where(there, model.value / below, np.nan)
    return value, np.where(there, model.error / below, np.nan)


def relative_error(spectrum: Spectrum) -> np.ndarray:
    """Returns the error over the value, [B]; NaN where there is nothing."""
    there = spectrum.value > 0
    return np.where(there, spectrum.error / np.where(there, spectrum.value, 1), np.nan)
