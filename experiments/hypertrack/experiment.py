"""From a trained run to its report: every clustering on the same events."""

import functools
import pathlib

from experiments.hypertrack import data
from experiments.hypertrack.config import Config
from jaxphys.config import to_flagfile
from jaxphys.hypertrack.analysis import results
from jaxphys.hypertrack.inference import predict as prediction
from jaxphys.hypertrack.report.page import in_words, speed_of, write_report
from jaxphys.training import app
from jaxphys.training.writer import read_metrics

# events that tune: at least so many, and more until there are enough tracks
_TUNING_EVENTS, _TUNING_TRACKS = 3, 500


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
    score = functools.partial(
        results.score,
        main=config.cluster,
        hits_min=config.hits_min,
        threshold=config.edge_threshold,
        seed=config.seed,
        compat=config.auc == "compat",
    )
    with session.stage("tuning of simple clusterings"):
        tuned = results.tune(tracker, tuned_on, config.hits_min)
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
            options = results.tune(other, tuned_on, config.hits_min)
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


def _source(config: Config, events: data.Chosen, count: int) -> str:
    part = "whole events"
    if config.eval_rfactor < 1:
        part = f"{config.eval_rfactor:g} of the particles of each"
    noise = "their own noise"
    if config.noise_ratio >= 0:
        noise = f"{100 * config.noise_ratio:g}% noise"
    return f"{count} validation events of {events.name}, {part}, {noise}"
