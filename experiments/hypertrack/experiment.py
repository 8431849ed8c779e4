"""From a trained run to its report: every clustering on the same events."""

import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.hypertrack import data
from experiments.hypertrack.config import Config
from jaxphys.config import to_flagfile
from jaxphys.hypertrack.analysis import evaluation, tuning
from jaxphys.hypertrack.analysis.results import Cost, Result
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.inference import predict as prediction
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.report.page import write_report
from jaxphys.training import app

# events that tune: at least so many, and more until there are enough tracks
_TUNING_EVENTS, _TUNING_TRACKS = 3, 500
_FRACTIONS = (0.1, 0.2, 0.5, 1.0)  # of an event, for the growth of time and memory
# a larger fraction is not tried after one that took so long
_SLOW_SECONDS = 60.0
_QUICK_SECONDS = 5.0  # within which more passes are taken, of which the fastest counts


def report_run(config: Config, session: app.Session, parts: data.Parts) -> None:
    """Reconstructs the validation events of a run and writes its report.

    Args:
      config: the flags.
      session: of this call.
      parts: events; those that validate are reported, those of the training tune the
        simple clusterings.
    """
    predictor = prediction.load(config.workdir, settings=config.clustering())
    tracker = predictor.tracker
    events = data.reported_events(config, parts.val)
    tuned_on = data.tuning_events(config, parts.train, _TUNING_EVENTS, _TUNING_TRACKS)
    with session.stage("tuning of simple clusterings"):
        tuned = tune(config, tracker, tuned_on)
    with session.stage("reconstruction"):
        result = score(config, tracker, events, tuned)
    further = {}
    for place in config.extra_data:
        with session.stage("further data"):
            further[pathlib.Path(place).name] = score(
                config, tracker, data.further_events(config, place), tuned
            )
    compared = {}
    for place in config.compare:
        with session.stage("other runs"):
            other = prediction.load(place).tracker
            options = tune(config, other, tuned_on)
            compared[pathlib.Path(place).name] = score(config, other, events, options)
    with session.stage("growth with pile-up"):
        costs = [] if not result.main else _costs(tracker, result, parts.val)
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    history = read_history(config.workdir)
    numbers = write_report(
        folder,
        result=result,
        further=further,
        compared=compared,
        costs=costs,
        voxels=tracker.voxels,
        history=history,
        joint_step=predictor.metadata["joint_step"],
        speed=_speed(history),
        threshold=config.edge_threshold,
        hits_max=config.hits_max,
        source=_source(config, parts.val, len(events)),
        net=config.net,
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
    )
    print(_in_words(numbers["headline"]))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def tune(
    config: Config, tracker: Tracker, events: Sequence[Event]
) -> dict[str, tuple[dict[str, Any], float]]:
    """Returns options and the score they reach, for every method that applies.

    Methods on latents are tuned on as many of the events as stay below the number of
    hits that they can take.
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
        tuned[method] = tuning.tune(tracker, method, some, hits_min=config.hits_min)
        print(f"tuned {method}: {tuned[method]}", file=sys.stderr)
    return tuned


def score(
    config: Config,
    tracker: Tracker,
    events: Sequence[Event],
    tuned: Mapping[str, tuple[dict[str, Any], float]],
) -> Result:
    """Reconstructs events up to their edges and clusters them by every method."""
    found = evaluation.find_edges(tracker, events)
    possible = evaluation.methods_for(tracker, found)
    clusterings = {
        method: evaluation.cluster(
            tracker, method, found, tuned[method][0], config.hits_min, config.seed
        )
        for method in possible
        if method in tuned
    }
    simple = {m: tuned[m][1] for m in clusterings if m != "transformer"}
    best = max(simple, key=lambda m: simple[m], default="")
    # the flag names a method of this run, or its transformer is not trained
    main = config.cluster if config.cluster in clusterings else best
    summary = evaluation.edge_summary(
        found, config.edge_threshold, config.auc == "compat"
    )
    return Result(found, clusterings, summary, main, best)


def _costs(tracker: Tracker, result: Result, events: data.Chosen) -> list[Cost]:
    """Measures all stages for parts of the largest event of the report."""
    sizes = [one.event.num_hits for one in result.found]
    largest = result.found[int(np.argmax(sizes))].event.event_id
    whole, rng = events.source.read(largest), np.random.default_rng(0)
    method = result.main if not result.main.endswith("_latents") else "jaccard"
    options = result.clusterings[method].options
    tracker = dataclasses.replace(tracker, algorithm=method, options=options)
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


def read_history(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
    """Returns the evaluations of a run, in order."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _speed(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the rate of the training by phase, medians over the evaluations."""
    found = {}
    for phase in ("edges", "joint"):
        rates = [
            entry["steps_per_second"]
            for entry in history
            if entry["phase"] == phase and "steps_per_second" in entry
        ]
        if rates:
            found[phase] = float(np.median(rates))
    return found


def _source(config: Config, events: data.Chosen, count: int) -> str:
    part = "whole events"
    if config.eval_rfactor < 1:
        part = f"{config.eval_rfactor:g} of the particles of each"
    noise = "their own noise"
    if config.noise_ratio >= 0:
        noise = f"{100 * config.noise_ratio:g}% noise"
    return f"{count} validation events of {events.name}, {part}, {noise}"


def _in_words(headline: Mapping[str, Any]) -> str:
    """Returns the headline of a report in one line."""
    words = [
        f"edges: AUC {headline['auc']:.4f}, without self edges "
        f"{headline['auc_without_self']:.4f}"
    ]
    if headline.get("clustering"):
        words.append(
            f"tracks by {headline['clustering']}: efficiency "
            f"{headline['efficiency']:.3f} (pT > 0.9 GeV, |eta| < 2.5), all "
            f"{headline['efficiency_all']:.3f}, purity {headline['purity']:.3f}, fakes "
            f"{headline['fake_rate']:.3f}"
        )
    return "; ".join(words)
