"""From a trained run to its report: every clustering on the same events."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Container, Mapping, Sequence
from typing import Any

from experiments.hypertrack import data
from experiments.hypertrack.config import Config
from jaxphys.config import to_flagfile
from jaxphys.hypertrack.analysis import results
from jaxphys.hypertrack.inference import predict as prediction
from jaxphys.hypertrack.inference.predict import Predictor
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.inference.tuned import (
    Stored,
    Tuned,
    made_from,
    read_tuned,
    write_tuned,
)
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.report.page import in_words, speed_of, write_report
from jaxphys.training import app
from jaxphys.training.writer import read_metrics

# events that tune: at least so many, and more until there are enough tracks
_TUNING_EVENTS, _TUNING_TRACKS = 3, 500
# simple clustering -> option -> flag
_OPTIONS = {
    **{m: {"threshold": "edge_threshold"} for m in ("cut", "dbscan", "hdbscan")},
    "jaccard": {"threshold": "jaccard_prob", "min_overlap": "jaccard_share"},
}


def report_run(config: Config, session: app.Session, parts: data.Parts) -> None:
    """Reconstructs the validation events of a run and writes its report.

    Args:
      config: the flags.
      session: of this call.
      parts: events; those that validate are reported, those of the training tune the
        simple clusterings.
    """
    predictor = prediction.load(config.workdir)
    tracker = _with_settings(config, session, predictor.tracker)
    events = data.reported_events(config, parts.val)
    score = functools.partial(
        results.score,
        main=config.cluster,
        hits_min=config.hits_min,
        threshold=config.edge_threshold,
        seed=config.seed,
        compat=config.auc == "compat",
    )
    with session.stage("tuning of simple clusterings"):
        tuned_on = data.tuning_events(
            config, parts.train, _TUNING_EVENTS, _TUNING_TRACKS
        )
        basis = made_from(predictor.metadata, tuned_on, config.hits_min)
        tuned = _tuned(config, session, tracker, tuned_on, basis)
    with session.stage("reconstruction"):
        result = score(tracker, events, tuned)
    further = {}
    for place in config.extra_data:
        with session.stage("further data"):
            further[pathlib.Path(place).name] = score(
                tracker, data.further_events(config, place), tuned
            )
    compared = {}
    for place in config.compare:
        with session.stage("other runs"):
            other = prediction.load(place).tracker
            own = read_tuned(place)
            if own is None:
                options = results.tune(other, tuned_on, config.hits_min)
            else:
                options = own.tuned
            compared[pathlib.Path(place).name] = score(other, events, options)
    with session.stage("growth with pile-up"):
        largest = max(events, key=lambda event: event.num_hits).event_id
        whole = parts.val.source.read(largest)
        costs = [] if not result.main else results.costs_of(tracker, result, whole)
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    history = read_metrics(config.workdir)
    numbers = write_report(
        folder,
        result=result,
        further=further,
        compared=compared,
        costs=costs,
        voxels=tracker.voxels,
        history=history,
        joint_step=predictor.metadata["joint_step"],
        speed=speed_of(history),
        threshold=config.edge_threshold,
        hits_max=config.hits_max,
        source=_source(config, parts.val, len(events)),
        net=config.net,
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        weights=predictor.metadata,
    )
    print(in_words(numbers["headline"]))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def simple_options(
    config: Config, algorithm: str, given: Container[str]
) -> dict[str, float]:
    """Returns the options of a simple clustering whose flags are given."""
    flags = _OPTIONS.get(algorithm, {})
    return {name: getattr(config, f) for name, f in flags.items() if f in given}


def with_given(config: Config, session: app.Session, predictor: Predictor) -> Predictor:
    """Returns a run with the clustering's flags of this call; says what they change."""
    tracker = _with_settings(config, session, predictor.tracker)
    given = simple_options(config, tracker.algorithm, session.flags)
    _say(given, tracker.options, f"{tracker.algorithm}: ")
    tracker = dataclasses.replace(tracker, options={**tracker.options, **given})
    return dataclasses.replace(predictor, tracker=tracker)


def _with_settings(config: Config, session: app.Session, tracker: Tracker) -> Tracker:
    # --tau is that of the contrastive loss
    names = [f.name for f in dataclasses.fields(tracker.settings) if f.name != "tau"]
    given = {name: getattr(config, name) for name in names if session.given(name)}
    _say(given, dataclasses.asdict(tracker.settings))
    settings = dataclasses.replace(tracker.settings, **given)
    return dataclasses.replace(tracker, settings=settings)


def _say(given: Mapping[str, Any], own: Mapping[str, Any], of: str = "") -> None:
    for name, value in given.items():
        if value != own.get(name, "the default"):
            was = own.get(name, "the default")
            print(f"{of}{name} is {value} as given, not {was}", file=sys.stderr)


def _tuned(
    config: Config,
    session: app.Session,
    tracker: Tracker,
    events: Sequence[Event],
    basis: Mapping[str, Any],
) -> Tuned:
    """Returns the options of the run: those in its folder, or they are chosen anew.

    Options that are given as flags replace the chosen ones, in the folder too if this
    call trains: then they are the choice of the run.
    """
    stored = read_tuned(config.workdir)
    fresh = stored is None or stored.made_from != basis or config.retune
    if stored is None or fresh:
        tuned = results.tune(tracker, events, config.hits_min)
    else:
        tuned = stored.tuned
    final = {}
    for method, (options, value) in tuned.items():
        given = {}
        if method in ("jaccard", config.cluster):
            given = simple_options(config, method, session.flags)
            _say(given, options, f"{method}: ")
        final[method] = ({**options, **given}, value)
    if fresh:
        kept = final if config.mode == "train" else tuned
        write_tuned(config.workdir, Stored(kept, basis))
    return final


def _source(config: Config, events: data.Chosen, count: int) -> str:
    part = "whole events"
    if config.eval_rfactor < 1:
        part = f"{config.eval_rfactor:g} of the particles of each"
    noise = "their own noise"
    if config.noise_ratio >= 0:
        noise = f"{100 * config.noise_ratio:g}% noise"
    return f"{count} validation events of {events.name}, {part}, {noise}"
