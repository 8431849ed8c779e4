"""Efficiency and fake rate against properties of the tracks, with binomial errors."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

from jaxphys.hypertrack.analysis.metrics import Matching
from jaxphys.hypertrack.physics.events import Particles
from jaxphys.hypertrack.physics.helix_fit import fit_helices
from jaxphys.report.binning import Profile, log_edges

ACCEPTED_PT, ACCEPTED_ETA = 0.9, 2.5
ONE_SIGMA = 0.6826894921370859
EDGES = {
    "pt": log_edges(0.1, 10, 12),
    "eta": np.linspace(-4, 4, 17),
    "vertex_radius": np.array([0, 0.1, 1, 10, 30, 60, 100, 150, 200, 300]),
    "num_hits": np.arange(3.5, 21),
}


@dataclasses.dataclass(frozen=True, eq=False)
class TrackTable:
    """True tracks T and reconstructed tracks R of events, one row each.

    Attributes:
      true: of each T with at least `hits_min` hits, [P]: pt (GeV), eta, vertex_radius
        (mm), num_hits, pileup (T of the event), event, passed, perfect, lhc (bool),
        hit_efficiency and hit_purity (-1 without a match), reco_hits (of the match).
      reco: of each R with at least `hits_min` hits, [K]: pt, eta (fitted to its hits),
        num_hits, pileup, event, matched, fake, duplicate (bool).
    """

    true: dict[str, np.ndarray]
    reco: dict[str, np.ndarray]


def accepted(particles: Particles) -> np.ndarray:
    """Returns which particles have pT > 0.9 GeV and |eta| < 2.5, [P]."""
    return (particles.pt > ACCEPTED_PT) & (np.abs(particles.eta) < ACCEPTED_ETA)


def track_rows(
    number: int,
    matching: Matching,
    particles: Particles,
    position: np.ndarray,
    labels: np.ndarray,
) -> TrackTable:
    """Returns the table of an event.

    Args:
      number: of the event.
      matching: of the event.
      particles: its true tracks, [P].
      position: of its hits, mm, [N, 3].
      labels: reconstructed track of each hit, or -1, [N].
    """
    keep = matching.wanted
    reco_hits = np.zeros(len(keep), int)
    rows = np.flatnonzero(matching.match_index >= 0)
    reco_hits[matching.match_index[rows]] = matching.reco_size[rows]
    true = {
        "pt": particles.pt,
        "eta": particles.eta,
        "vertex_radius": particles.vertex_radius,
        "num_hits": matching.true_size,
        "pileup": np.full(len(keep), keep.sum()),
        "event": np.full(len(keep), number),
        "passed": matching.passed,
        "perfect": matching.perfect,
        "lhc": matching.lhc,
        "hit_efficiency": matching.hit_efficiency,
        "hit_purity": matching.hit_purity,
        "reco_hits": reco_hits,
    }
    rank = np.full(len(labels), -1)
    assigned = np.asarray(labels) >= 0
    rank[assigned] = np.unique(np.asarray(labels)[assigned], return_inverse=True)[1]
    fitted = fit_helices(position, rank, len(matching.reco_size))
    shown = matching.shown
    reco = {
        "pt": fitted.pt,
        "eta": fitted.eta,
        "num_hits": matching.reco_size,
        "pileup": np.full(len(shown), keep.sum()),
        "event": np.full(len(shown), number),
        "matched": matching.match_index >= 0,
        "fake": matching.fake,
        "duplicate": matching.duplicate,
    }
    return TrackTable(
        {name: column[keep] for name, column in true.items()},
        {name: column[shown] for name, column in reco.items()},
    )


def join(tables: Sequence[TrackTable]) -> TrackTable:
    """Returns the rows of several events in one table."""
    if not tables:
        raise ValueError("tables: expected at least one event, got none")
    return TrackTable(
        {n: np.concatenate([t.true[n] for t in tables]) for n in tables[0].true},
        {n: np.concatenate([t.reco[n] for t in tables]) for n in tables[0].reco},
    )


def clopper_pearson(
    passed: np.ndarray, total: np.ndarray, coverage: float = ONE_SIGMA
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the exact central interval of a binomial efficiency.

    Args:
      passed: [...].
      total: [...]; 0 gives the interval from 0 to 1.
      coverage: probability of the interval at least.

    Returns:
      Lower and upper ends.

    Reference: Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    passed, total = np.asarray(passed, np.float64), np.asarray(total, np.float64)
    tail = (1 - coverage) / 2
    with np.errstate(invalid="ignore"):
        low = beta.ppf(tail, passed, total - passed + 1)
        high = beta.ppf(1 - tail, passed + 1, total - passed)
    return np.where(passed == 0, 0.0, low), np.where(passed == total, 1.0, high)


def binomial_profile(
    x: np.ndarray, passed: np.ndarray, edges: np.ndarray, min_count: int = 1
) -> Profile:
    """Returns the part of entries that pass in bins of x, with Clopper-Pearson errors.

    Args:
      x: positions [N]; those outside of the bins or not finite are left out.
      passed: bool [N].
      edges: bin edges [B + 1]; the last bin includes its upper edge.
      min_count: entries below which a bin has no value.
    """
    edges = np.asarray(edges, np.float64)
    x, passed = np.asarray(x, np.float64), np.asarray(passed, bool)
    keep = np.isfinite(x)
    total, _ = np.histogram(x[keep], edges)
    good, _ = np.histogram(x[keep & passed], edges)
    filled = total >= max(min_count, 1)
    value = np.where(filled, good / np.maximum(total, 1), np.nan)
    low, high = clopper_pearson(good, total)
    error = np.where(filled, np.stack([value - low, high - value]), np.nan)
    return Profile(edges[:-1], edges[1:], value, np.maximum(error, 0), total)


def pileup_edges(pileup: np.ndarray, bins: int = 6) -> np.ndarray:
    """Returns bins of about equal content for the number of true tracks of events."""
    edges = np.unique(np.quantile(pileup, np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        return np.array([edges[0] - 0.5, edges[0] + 0.5])
    return edges
