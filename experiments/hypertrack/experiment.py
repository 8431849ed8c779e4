"""HyperTrack for the modes: what it reads, learns and shows."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.hypertrack import data
from experiments.hypertrack.config import Config
from experiments.hypertrack.recipe import BEST, make_task, settings_of
from jaxphys.hypertrack.analysis import results
from jaxphys.hypertrack.analysis.edge_metrics import candidate_counts, mean_rates
from jaxphys.hypertrack.data import prepare as preparation
from jaxphys.hypertrack.inference import export as exports
from jaxphys.hypertrack.inference import predict as prediction
from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.inference.predict import Predictor
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.inference.tuned import (
    Stored,
    Tuned,
    made_from,
    read_tuned,
    write_tuned,
)
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.report.page import in_words, speed_of, write_report
from jaxphys.hypertrack.simulation import simulation
from jaxphys.hypertrack.training import step
from jaxphys.hypertrack.training.objective import Settings
from jaxphys.options import part_of
from jaxphys.report import Column
from jaxphys.training import app, modes
from jaxphys.training.task import Task
from jaxphys.training.writer import read_metrics

# events that tune: at least so many, and more until there are enough tracks
_TUNING_EVENTS, _TUNING_TRACKS = 3, 500
# simple clustering -> option -> flag
_OPTIONS = {
    **{m: {"threshold": "edge_threshold"} for m in ("cut", "dbscan", "hdbscan")},
    "jaccard": {"threshold": "jaccard_prob", "min_overlap": "jaccard_share"},
}


class Record(NamedTuple):
    """What a run saves: nets and losses, clustering, voxels."""

    settings: Settings
    voxels: VoxelModel | None


def start(config: Config) -> modes.Start | None:
    """Returns the variables of --init_from, with running statistics.

    Raises:
      ValueError: they are variables of other nets.
    """
    if not config.init_from:
        return None
    found = prediction.load(config.init_from, "last").tracker
    settings = settings_of(config)
    mine = {"net": type(settings.net).__name__, **_fields(settings.net)}
    theirs = {"net": type(found.net).__name__, **_fields(found.net)}
    modes.check_alike(config.init_from, mine, theirs)
    variables = prediction.load_variables(config.init_from)
    wanted = jax.eval_shape(
        lambda key: step.initial_variables(key, settings), jax.random.key(0)
    )
    shapes = [jax.tree.map(lambda x: x.shape, tree) for tree in (wanted, variables)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"--init_from={config.init_from}: transformer of another size")
    return modes.Start(None, variables)


def _fields(net: Any) -> dict[str, Any]:
    return {
        field.name: getattr(net, field.name)
        for field in dataclasses.fields(net)
        if field.name not in ("parent", "name", "dtype", "remat")
    }


def make(config: Config, found: data.Data, record: Record, params: Any) -> Task:
    """Returns the task, with graphs of the events."""
    del record
    if found.voxels is None:
        raise ValueError("--data: nothing to train on")
    train_data = data.train_batches(config, found.parts.train, found.voxels)
    val_data = data.val_batches(config, found.parts.val, found.voxels)
    print(f"buckets: {train_data.buckets}", file=sys.stderr)
    return make_task(config, train_data, val_data, params)


def save(folder: pathlib.Path, record: Record, config: Config) -> None:
    """Writes the record of a run."""
    prediction.save_network(
        folder,
        record.settings.net,
        record.settings.transformer if config.trains_transformer else None,
        part_of(config, ClusterSettings),
        config.cluster,
        record.voxels,
        seed=config.seed,
    )


def report(
    config: Config, session: app.Session, found: data.Data, history: list
) -> None:
    """Reconstructs the validation events of a run and writes its report.

    Args:
      config: the flags.
      session: of this call.
      found: events; those that validate are reported, those of the training tune the
        simple clusterings.
      history: of the run's evaluations.
    """
    del history  # the log has times too
    parts = found.parts
    predictor = prediction.load(config.workdir, config.weights)
    tracker = _with_settings(config, session, predictor.tracker)
    shown = _as_they_are(config, session, parts) if found.unseen else config
    events = data.reported_events(shown, parts.val)
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
    log = read_metrics(config.workdir)
    page = modes.page_of(config, session, log, predictor.metadata)
    numbers = write_report(
        page,
        result=result,
        further=further,
        compared=compared,
        costs=costs,
        voxels=tracker.voxels,
        joint_step=predictor.metadata["joint_step"],
        speed=speed_of(log),
        threshold=config.edge_threshold,
        hits_max=config.hits_max,
        source=_source(shown, found, len(events)),
        net=config.net,
    )
    print(in_words(numbers["headline"]))
    print(f"report: {page.folder}/report.html after {session.seconds():.0f} s")


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
    names = [field.name for field in dataclasses.fields(tracker.settings)]
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


def _as_they_are(config: Config, session: app.Session, parts: data.Parts) -> Config:
    """Returns flags by which all unseen events are evaluated, whole and unchanged."""
    whole = {"rfactor": 1.0, "report_events": len(parts.val)}
    asked = {name: value for name, value in whole.items() if not session.given(name)}
    return dataclasses.replace(config, **asked, noise_ratio=-1.0)


def _source(config: Config, found: data.Data, count: int) -> str:
    part = "whole events"
    if config.eval_rfactor < 1:
        part = f"{config.eval_rfactor:g} of the particles of each"
    noise = "their own noise"
    if config.noise_ratio >= 0:
        noise = f"{100 * config.noise_ratio:g}% noise"
    kind = "unseen" if found.unseen else "validation"
    return f"{count} {kind} events of {found.parts.val.name}, {part}, {noise}"


def predict(config: Config, session: app.Session, output: str) -> None:
    """Writes the tracks of the events in --data to Parquet."""
    predictor = prediction.load(
        config.workdir,
        config.weights,
        cluster=config.cluster if session.given("cluster") else "",
    )
    predictor = with_given(config, session, predictor)
    ranges = config.predict_start, config.predict_end
    found = predictor.predict(config.data, *ranges, seed=config.seed)
    count = prediction.write_tracks(output, found, config.per_hit)
    print(f"tracks of {count} events in {output}")


def voxels(config: Config, session: app.Session) -> None:
    """Trains voxels for every --ncell and writes --output<ncell>.npz with a table."""
    del session
    modes.required(config, "output", "the prefix of the files to write")
    parts = data.choose(config)
    stem = pathlib.Path(config.output)
    for ncell in config.ncell:
        path = stem.with_name(f"{stem.name}-{ncell}.npz")
        model = data.make_voxels(config, parts.voxels, ncell, path)
        print(f"{path}: {describe_voxels(config, parts.val, model)}")


def describe_voxels(config: Config, events: data.Chosen, model: VoxelModel) -> str:
    """Returns how well voxels hold the true pairs of validation events, in one line."""
    some = data.reported_events(config, events)
    found = mean_rates(
        candidate_counts(model, event, config.cricket_compat) for event in some
    )

    def text(value: tuple[float, float], form: str) -> str:
        error = f" +- {value[1]:{form}}" if np.isfinite(value[1]) else ""
        return f"{value[0]:{form}}{error}"

    return (
        f"{model.num_cells} cells, {model.node2node}, augment {model.augment}: density "
        f"{model.density:.5f}, TPR {text(found.tpr, '.4f')}, FPR "
        f"{text(found.fpr, '.5f')}, purity {text(found.purity, '.4f')}, edges "
        f"{text(found.edges, ',.0f')} ({found.events} validation events)"
    )


def simulate(config: Config, session: app.Session) -> None:
    """Writes simulated events as compact Parquet; needs the extra events."""
    del session
    modes.required(config, "output", "the prefix of the files to write")
    prefix = simulation.simulate(
        config.output,
        config.n_events,
        config.mu,
        config.data_seed,
        config.first_event_id,
        config.workers,
        progress=True,
    )
    print(prefix)


def prepare(config: Config, session: app.Session) -> None:
    """Converts a folder of TrackML CSV files; --check_only reads and keeps nothing."""
    del session
    modes.required(config, "data", "the folder of the CSV files")
    if not config.check_only:
        modes.required(config, "output", "the prefix of the files to write")
    if config.check_only:
        found = preparation.check(config.data)
        print(
            f"{found.num_events} events, {found.num_hits} hits, "
            f"{found.num_particles} particles"
        )
        if found.problems:
            text = "\n".join(f"  event {n}: {t}" for n, t in found.problems.items())
            raise ValueError(f"{config.data}:\n{text}")
        return
    preparation.prepare(config.data, config.output, workers=config.workers)
    print(config.output)


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    names = ("auc_without_self", "efficiency", "purity")
    return {name: found["headline"][name] for name in names}


def _words(mean: Mapping[str, float], std: Mapping[str, float], members) -> str:
    del members
    return f"efficiency {mean['efficiency']:.4f} +- {std['efficiency']:.2g}"


EXPERIMENT = modes.Experiment(
    config=Config,
    best=lambda config: BEST,
    load=data.load,
    load_unseen=data.load_unseen,
    describe=lambda config, found, known: Record(settings_of(config), found.voxels),
    save=save,
    make_task=make,
    rounds=lambda config: -(-config.iterations // config.round_iterations),
    start=start,
    report=report,
    needs="the events to reconstruct",
    prediction="tracks.parquet",
    predict=predict,
    export=lambda config, folder: exports.write(folder, config.workdir),
    simulate=simulate,
    prepare=prepare,
    ensemble=modes.Ensemble(
        columns={
            "auc_without_self": Column("AUC without self edges"),
            "efficiency": Column("efficiency"),
            "purity": Column("purity"),
        },
        read=_numbers,
        words=_words,
    ),
    more={"voxels": voxels},
)
