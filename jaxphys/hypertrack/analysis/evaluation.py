"""Events reconstructed once up to their edges, then clustered in several ways."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis import edge_scores, efficiency, metrics
from jaxphys.hypertrack.analysis.edge_metrics import (
    EdgeCounts,
    candidate_counts,
    mean_rates,
)
from jaxphys.hypertrack.analysis.efficiency import TrackTable
from jaxphys.hypertrack.analysis.metrics import HITS_MIN, Matching
from jaxphys.hypertrack.inference import simple_clustering
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from jaxphys.hypertrack.inference.tracker import Edges, Tracker
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.truth_graph import edge_labels, true_pairs

_ON_LATENTS: dict[str, Callable[..., np.ndarray]] = {
    "dbscan_latents": simple_clustering.dbscan_latents,
    "hdbscan_latents": simple_clustering.hdbscan_latents,
}
METHODS = ("transformer", *simple_clustering.ALGORITHMS, *_ON_LATENTS)
# their time grows with the square of the hits
MOST_LATENT_HITS = 20_000
# seconds that second passes, for the times alone, may take
_REPEAT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, eq=False)
class EventEdges:
    """An event with what the net says about its candidate edges.

    Attributes:
        event: with truth.
        edges: candidate edges, probabilities, latents.
        label: whether an edge joins hits of one track, `[E]` bool.
        counts: of the candidate edges among all pairs.
        meter: time and memory of the stages graph and net.
    """

    event: Event
    edges: Edges
    label: np.ndarray
    counts: EdgeCounts
    meter: StageMeter


@dataclasses.dataclass(frozen=True, eq=False)
class Clustered:
    """The tracks of events by one method.

    Attributes:
        method: one of `METHODS`.
        options: of the method.
        labels: track of each hit or -1, `[N]` per event.
        matchings: with the truth, per event.
        table: true and reconstructed tracks of all events.
        scores: of `metrics.score`, with the acceptance pT > 0.9 GeV, |eta| < 2.5.
        meters: time and memory of the stages components and cluster, per event.
    """

    method: str
    options: Mapping[str, Any]
    labels: Sequence[np.ndarray]
    matchings: Sequence[Matching]
    table: TrackTable
    scores: Mapping[str, float]
    meters: Sequence[StageMeter]


class _Timer:
    """Calls functions twice as long as there is time: the first call compiles."""

    def __init__(self, seconds: float):
        self._left = seconds

    def __call__(self, function: Callable[[StageMeter], Any]) -> tuple[Any, StageMeter]:
        meter, begin = StageMeter(), time.monotonic()
        found = function(meter)
        spent = time.monotonic() - begin
        if spent < self._left:
            meter, begin = StageMeter(), time.monotonic()
            function(meter)
            self._left -= time.monotonic() - begin
        return found, meter


def find_edges(
    tracker: Tracker,
    events: Sequence[Event],
    repeat_seconds: float = _REPEAT_SECONDS,
) -> list[EventEdges]:
    """Returns the events with their edges, each reconstructed once.

    Args:
        tracker: voxels and net.
        events: with truth.
        repeat_seconds: time for second passes, so that times are without compilation.
    """
    again, found = _Timer(repeat_seconds), []
    counts = [candidate_counts(tracker.voxels, event) for event in events]
    for event, count in zip(events, counts, strict=True):
        edges, meter = again(lambda meter, e=event: tracker.edges(e.position, meter))
        label = _labels(event, edges, tracker.voxels.node2node)
        found.append(EventEdges(event, edges, label, count, meter))
    return found


def _labels(event: Event, edges: Edges, node2node: str) -> np.ndarray:
    pairs = None
    if node2node != "hyper":
        pairs = true_pairs(event.position, *event.track_hits(), node2node)
    return edge_labels(edges.edge_index, event.label, pairs)


def methods_for(tracker: Tracker, found: Sequence[EventEdges]) -> tuple[str, ...]:
    """Returns the methods that can cluster these events.

    The transformer has to be trained, and clustering by latents becomes too slow for
    large events; graphs other than hyper hold no tracks.
    """
    if tracker.voxels.node2node != "hyper":
        return ()
    largest = max((f.event.num_hits for f in found), default=0)
    left_out = set() if tracker.transformer is not None else {"transformer"}
    if largest > MOST_LATENT_HITS:
        left_out |= set(_ON_LATENTS)
    return tuple(method for method in METHODS if method not in left_out)


def label_hits(
    tracker: Tracker,
    method: str,
    found: EventEdges,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    meter: StageMeter | None = None,
) -> np.ndarray:
    """Returns the track of each hit or -1, `[N]`.

    Args:
        tracker: with the transformer where the method needs it.
        method: one of `METHODS`.
        found: the event and its edges.
        options: of the method.
        seed: of the transformer's search.
        meter: adds the stages components and cluster.
    """
    options = dict(options or {})
    if method in _ON_LATENTS:
        with (StageMeter() if meter is None else meter).stage("cluster"):
            return _ON_LATENTS[method](found.edges.latents, **options)
    own = dataclasses.replace(tracker, algorithm=method, options=options)
    return own.cluster(found.event.position, found.edges, seed, meter)[0]


def cluster(
    tracker: Tracker,
    method: str,
    found: Sequence[EventEdges],
    options: Mapping[str, Any] | None = None,
    hits_min: int = HITS_MIN,
    seed: int = 0,
    repeat_seconds: float = _REPEAT_SECONDS,
) -> Clustered:
    """Clusters events by one method and compares them with the truth.

    Args:
        tracker: with the transformer where the method needs it.
        method: one of `METHODS`.
        found: events with their edges.
        options: of the method.
        hits_min: least number of hits of a track that counts.
        seed: of the transformer's search, together with the event's number.
        repeat_seconds: see `find_edges`; other methods compile nothing.
    """
    again = _Timer(repeat_seconds if method == "transformer" else 0.0)
    labels, meters = [], []
    for one in found:
        own = seed + one.event.event_id
        values, meter = again(
            lambda m, e=one, s=own: label_hits(tracker, method, e, options, s, m)
        )
        labels.append(values)
        meters.append(meter)
    events = [one.event for one in found]
    matchings = match_events(events, labels, hits_min)
    rows = [
        efficiency.track_rows(e.event_id, m, e.particles, e.position, own)
        for e, m, own in zip(events, matchings, labels, strict=True)
    ]
    return Clustered(
        method,
        dict(options or {}),
        labels,
        matchings,
        efficiency.join(rows),
        metrics.score(matchings, [efficiency.accepted(e.particles) for e in events]),
        meters,
    )


def match_events(
    events: Sequence[Event], labels: Sequence[np.ndarray], hits_min: int = HITS_MIN
) -> list[Matching]:
    """Compares the labels of events with their truth."""
    return [
        metrics.match(own, e.label, e.weight, e.num_tracks, hits_min)
        for e, own in zip(events, labels, strict=True)
    ]


def edge_summary(
    found: Sequence[EventEdges], threshold: float, compat: bool = False
) -> dict[str, float]:
    """Returns scores of the candidate edges and of the net.

    Args:
        found: events with their edges.
        threshold: an edge is kept when its probability is above.
        compat: AUC from 256 thresholds as in the original; otherwise exact.

    Returns:
        vd_tpr, vd_fpr, vd_purity, vd_edges: of the candidate edges among all pairs,
        means over events, each with its error under vd_*_error; auc and
        auc_without_self of the edges of all events together; auc_mean,
        auc_without_self_mean and *_error: of the events one by one; gnn_tpr, gnn_fpr,
        gnn_purity: of all edges at the threshold.
    """
    rates = mean_rates(one.counts for one in found)
    result = {}
    for name in ("tpr", "fpr", "purity", "edges"):
        result[f"vd_{name}"], result[f"vd_{name}_error"] = getattr(rates, name)
    area = edge_scores.auc_compat if compat else edge_scores.auc
    label, prob, edge_index = joined_edges(found)
    for name, columns in (("auc", None), ("auc_without_self", True)):
        keep = slice(None) if columns is None else edge_index[0] != edge_index[1]
        result[name] = area(label[keep], prob[keep])
        each = []
        for one in found:
            own = one.edges.edge_index
            some = slice(None) if columns is None else own[0] != own[1]
            each.append(area(one.label[some], one.edges.prob[some]))
        known = np.array([value for value in each if np.isfinite(value)])
        few = len(known) < 2
        result[f"{name}_mean"] = float(known.mean()) if len(known) else np.nan
        result[f"{name}_error"] = (
            np.nan if few else float(known.std(ddof=1) / np.sqrt(len(known)))
        )
    kept = edge_scores.rates(label, prob, threshold)
    return result | {f"gnn_{name}": value for name, value in kept.items()}


def joined_edges(
    found: Sequence[EventEdges],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns label `[E]`, probability `[E]` and ends `[2, E]` of all events' edges."""
    return (
        np.concatenate([one.label for one in found]),
        np.concatenate([one.edges.prob for one in found]),
        np.concatenate([one.edges.edge_index for one in found], axis=1),
    )


def stage_seconds(meters: Sequence[StageMeter], stage: str) -> tuple[float, float]:
    """Returns mean and spread over events of a stage's time, the first left out.

    The first event of several is left out because programs are compiled in it.
    """
    values = np.array([meter.seconds.get(stage, 0.0) for meter in meters])
    values = values[1:] if len(values) > 1 else values
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return float(values.mean()) if len(values) else float("nan"), spread
