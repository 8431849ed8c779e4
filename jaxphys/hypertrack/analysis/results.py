"""What a run makes of events: every clustering on the same edges, time and memory."""

import dataclasses
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis import evaluation, tuning
from jaxphys.hypertrack.analysis.evaluation import Clustered, EventEdges
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.inference.tuned import Tuned, best_simple
from jaxphys.hypertrack.physics.events import Event

_FRACTIONS = (0.1, 0.2, 0.5, 1.0)  # of an event, for the growth of time and memory
# a larger fraction is not tried after one that took so long
_SLOW_SECONDS = 60.0
_QUICK_SECONDS = 5.0  # within which more passes are taken, of which the fastest counts


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What a run makes of some events.

    Attributes:
      found: the events with their edges.
      clusterings: method -> its tracks.
      edges: of `jaxphys.hypertrack.analysis.evaluation.edge_summary`.
      main: the method of the run; empty if there is none.
      best: the simple method that was best on the events of the tuning; may be empty.
    """

    found: Sequence[EventEdges]
    clusterings: Mapping[str, Clustered]
    edges: Mapping[str, float]
    main: str
    best: str

    @property
    def shown(self) -> list[str]:
        """The methods that figures show: main, best simple one, components."""
        names = (self.main, self.best, "cut")
        return [n for n in dict.fromkeys(names) if n in self.clusterings]


@dataclasses.dataclass(frozen=True, eq=False)
class Cost:
    """Time and memory of one event.

    Attributes:
      fraction: of its tracks that were kept.
      hits: of the event.
      edges: candidate edges.
      meter: all stages.
    """

    fraction: float
    hits: int
    edges: int
    meter: StageMeter


def tune(
    tracker: Tracker, events: Sequence[Event], hits_min: int
) -> dict[str, tuple[dict[str, Any], float]]:
    """Returns options and the score they reach, for every method that applies.

    Methods on latents are tuned on as many of the events as stay below the number of
    hits that they can take.

    Args:
        tracker: of the run.
        events: to tune on.
        hits_min: fewest hits of a track.
    """
    found = evaluation.find_edges(tracker, events, repeat_seconds=0)
    tuned: dict[str, tuple[dict[str, Any], float]] = {}
    for method in evaluation.methods_for(tracker, found):
        if method == "transformer":
            tuned[method] = ({}, math.nan)  # it has the settings of the flags
            continue
        some = found
        if method.endswith("_latents"):
            hits = np.cumsum([one.event.num_hits for one in found])
            some = found[: max(1, int((hits <= evaluation.MOST_LATENT_HITS).sum()))]
        tuned[method] = tuning.tune(tracker, method, some, hits_min=hits_min)
        print(f"tuned {method}: {tuned[method]}", file=sys.stderr)
    return tuned


def score(
    tracker: Tracker,
    events: Sequence[Event],
    tuned: Tuned,
    *,
    main: str,
    hits_min: int,
    threshold: float,
    seed: int,
    compat: bool = False,
) -> Result:
    """Reconstructs events up to their edges and clusters them by every method.

    Args:
        tracker: of the run.
        events: to reconstruct.
        tuned: of `tune`.
        main: the method of the run; where it does not apply, what `load` takes too.
        hits_min: fewest hits of a track.
        threshold: probability above which an edge counts as kept.
        seed: of the methods that draw.
        compat: count edges as the original does.
    """
    found = evaluation.find_edges(tracker, events)
    possible = evaluation.methods_for(tracker, found)
    clusterings = {
        method: evaluation.cluster(
            tracker, method, found, tuned[method][0], hits_min, seed
        )
        for method in possible
        if method in tuned
    }
    applied = {method: tuned[method] for method in clusterings}
    simple = {m: score for m, (_, score) in applied.items() if m != "transformer"}
    best = max(simple, key=lambda m: simple[m], default="")
    # the flag names a method of this run, or its transformer is not trained
    main = main if main in clusterings else best_simple(applied)
    summary = evaluation.edge_summary(found, threshold, compat)
    return Result(found, clusterings, summary, main, best)


def costs_of(tracker: Tracker, result: Result, whole: Event) -> list[Cost]:
    """Measures all stages for parts of an event.

    Args:
        tracker: of the run.
        result: with the method of the run.
        whole: the event.
    """
    rng = np.random.default_rng(0)
    options = result.clusterings[result.main].options
    tracker = dataclasses.replace(tracker, algorithm=result.main, options=options)
    costs = []
    for fraction in _FRACTIONS:
        event = whole if fraction == 1 else reduce(whole, fraction, -1, rng)
        begin = time.monotonic()
        passes = [tracker.reconstruct(event.position)]  # compiles
        while len(passes) < 2 or (
            len(passes) < 4 and time.monotonic() - begin < _QUICK_SECONDS
        ):
            passes.append(tracker.reconstruct(event.position))
        found = min(passes[1:], key=lambda one: sum(one.meter.seconds.values()))
        costs.append(Cost(fraction, event.num_hits, len(found.edges.prob), found.meter))
        if time.monotonic() - begin > _SLOW_SECONDS:
            break
    return costs
