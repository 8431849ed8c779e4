"""Sizes that the graphs of a run are padded to."""

import numpy as np

from jaxphys.hypertrack.batches.graph_batches import buckets_for
from jaxphys.hypertrack.batches.graph_draws import GraphDraws
from jaxphys.hypertrack.batches.graphs import Bucket, buckets_up_to, choose_buckets
from jaxphys.hypertrack.model.candidates import count_edges
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.truth_graph import num_hyper_pairs

_SIZED_GRAPHS = 512  # graphs or events that are looked at


def training_buckets(
    draws: GraphDraws, count: int, iterations: int
) -> tuple[Bucket, ...]:
    """Returns sizes of the first graphs, and larger ones up to any graph's.

    Those are compiled only if a graph needs them: a run must not end at an unusually
    large event.

    Args:
        draws: the training graphs.
        count: sizes of the first graphs.
        iterations: of the run.
    """
    one = count == 1
    found = buckets_for(
        draws,
        min(iterations, _SIZED_GRAPHS) if one else 64,
        fractions=_fractions(count),
        quantile=1.0 if one else 0.995,
    )
    events = draws.events
    some = np.linspace(0, len(events) - 1, min(len(events), _SIZED_GRAPHS))
    sizes = [_largest_graph(draws, events[int(i)]) for i in some]
    largest = choose_buckets(np.max(sizes, axis=0)[None], fractions=(1.0,), overflow=0)
    return buckets_up_to(found, largest[0])


def evaluation_buckets(draws: GraphDraws, count: int) -> tuple[Bucket, ...]:
    """Returns so many sizes for the graphs of an evaluation."""
    return buckets_for(draws, 0, fractions=_fractions(count))


def _largest_graph(draws: GraphDraws, event: Event) -> np.ndarray:
    """Returns hits, edges and tracks that no graph of an event exceeds in practice."""
    edges = count_edges(draws.model, draws.model.cells(event.position))
    whole = event.num_hits, edges, event.num_tracks
    if draws.settings.reduce != "track":
        return np.array(whole)
    mean = draws.settings.rfactor_end * event.num_tracks
    tracks = mean + 6 * np.sqrt(mean) + 10
    share = min(1.0, tracks / max(event.num_tracks, 1))
    # edges between tracks fall with the square of the share, those within do not
    edges = share**2 * whole[1] + share * num_hyper_pairs(event.label)
    bound = 1.3 * share * whole[0], 1.5 * edges, tracks
    return np.minimum(whole, np.ceil(bound)).astype(int)


def _fractions(buckets: int) -> np.ndarray:
    return np.linspace(0, 1, buckets + 1)[1:]
