"""Hidden Vertex for the modes: what it reads, learns and shows."""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.hidden_vertex import data
from experiments.hidden_vertex.config import Config
from experiments.hidden_vertex.recipe import BEST, make_task
from jaxphys.hidden_vertex.analysis.injected import injected_scores
from jaxphys.hidden_vertex.data.splits import Split, check_split
from jaxphys.hidden_vertex.data.store import Store, feature_statistics
from jaxphys.hidden_vertex.inference import export as exports
from jaxphys.hidden_vertex.inference import predict as prediction
from jaxphys.hidden_vertex.inference.scored import Scored, with_background
from jaxphys.hidden_vertex.physics.observables import baseline_scores
from jaxphys.hidden_vertex.report.page import filters_of, throughput_of, write_report
from jaxphys.hidden_vertex.simulation import simulation
from jaxphys.hidden_vertex.training.network import Network, evaluate
from jaxphys.report import Column
from jaxphys.training import app, modes
from jaxphys.training.loop import FitResult
from jaxphys.training.writer import read_metrics

# what weights depend on
ARCHITECTURE = (
    "kind", "view", "graph", "latent_dim", "hidden", "decoder_hidden", "encoder_mlp",
)  # fmt: skip


def describe(config: Config, events: data.Events, known: Network | None) -> Network:
    """Returns the network; a known one gives the statistics of the features."""
    network = config.network()
    if known is not None:
        return dataclasses.replace(network, mean=known.mean, std=known.std)
    return data.standardise(config, network, events.store, events.train)


def start(config: Config) -> modes.Start | None:
    """Returns the weights of --init_from, with the statistics of their features.

    Raises:
      ValueError: they are weights of another network.
    """
    if not config.init_from:
        return None
    found = prediction.load(config.init_from)
    mine, theirs = (
        {name: getattr(network, name) for name in ARCHITECTURE}
        for network in (config.network(), found.network)
    )
    modes.check_alike(config.init_from, mine, theirs)
    return modes.Start(found.network, found.params)


def finish(
    config: Config, events: data.Events, network: Network, result: FitResult
) -> None:
    """Takes the statistics that new events are scored against."""
    if result.progress.stop:
        print(f"Early stopping! {result.progress.stop}", file=sys.stderr)
    prediction.take_statistics(
        config.workdir, network, result, events.store, events.train
    )


def report(
    config: Config, session: app.Session, events: data.Events, history: list
) -> None:
    """Scores the test events (all of unseen ones) and writes the page."""
    detector = prediction.load(config.workdir, config.weights)
    store, parts = events.store, events.parts
    network = detector.network
    every = data.enough_particles(network, store, np.arange(len(store)))
    tested = every if parts is None else parts.test
    with session.stage("scores of the test events"):
        scored = detector.predict(store, tested)
        extra = _extra_samples(config, session, detector, scored)
    # all of a given file: its background stands in for the validation events
    labels = np.zeros(len(store)) if store.label is None else np.asarray(store.label)
    checked = every[labels[every] == 0] if parts is None else parts.val
    validation = {}
    if len(checked) and store.label is not None:
        loss = float(evaluate(network, detector.params, store, checked)["loss"])
        low = data.floor(network, store, checked)
        gap = None if low is None else (loss - low) / low
        validation = {"val_loss": loss, "floor": low, "gap": gap}
    positions = np.asarray(tested)
    injection = None
    if config.injection_test:
        rows = np.flatnonzero(scored.background)
        injection = {
            "clean": scored.score[rows],
            "injected": injected_scores(
                detector,
                store,
                positions[rows],
                config.injection_strength,
                config.seed,
                pathlib.Path(config.workdir) / "prepared" / ".injected",
            ),
            "strength": config.injection_strength,
        }
    session.timings["start, compilation and other"] = max(
        session.seconds() - sum(session.timings.values()), 0.0
    )
    taken = positions if parts is None else parts.train
    throughput = {}
    if parts is not None and "training" in session.timings:
        throughput = throughput_of(
            read_metrics(config.workdir),
            config.batch_size,
            len(parts.train),
            session.seconds(),
        )
    page = modes.page_of(config, session, history, detector.metadata)
    numbers = write_report(
        page,
        scored=scored,
        displays=lambda position: store[int(positions[position])],
        validation=validation,
        filters=filters_of(network, store),
        splits={} if parts is None else _lines(store, parts),
        feature_statistics=feature_statistics(store, taken),
        model=network.name,
        baselines=baseline_scores(scored.observables),
        top_k=config.top_k,
        histogram_bins=config.histogram_bins,
        injection=injection,
        throughput=throughput,
        extra_samples=extra,
        source=_source(config, store),
        # the jets and the event view have no graph to draw
        k=config.k if network.sees == "knn" else 0,
        periodic_phi=config.periodic_phi,
    )
    found = numbers.get("auc")
    if found is not None:
        print(f"{scored.counts}: AUC {found:.4f} ({scored.headline})")
    print(f"report: {page.folder}/report.html after {session.seconds():.0f} s")


def _source(config: Config, store: Store) -> str:
    if not config.data:
        return "the embedded sample of LHCO-like events (simulated)"
    return str(store.meta["request"]["source"].get("name", config.data))


def _lines(store: Store, parts: Split) -> dict[str, str]:
    return check_split(parts, np.asarray(store.label), np.asarray(store.event_id))


def _extra_samples(config, session, detector, scored) -> dict[str, Scored]:
    """Scores the files of --extra_data; those without background get the run's."""
    found = {}
    for path in config.extra_data:
        name = pathlib.Path(path).stem
        where = pathlib.Path(config.workdir) / "prepared" / name
        store = data.open_events(config, detector.network, path, folder=where)
        chosen = data.enough_particles(detector.network, store, np.arange(len(store)))
        sample = detector.predict(store, chosen)
        if not sample.background.any():
            sample = with_background(sample, scored)
        found[name] = sample
    return found


def predict(config: Config, session: app.Session, output: str) -> None:
    """Writes scores and codes of the events in --data to Parquet."""
    del session
    detector = prediction.load(config.workdir, config.weights)
    store = data.open_events(
        config, detector.network, config.data, allow_unlabelled=True
    )
    chosen = data.enough_particles(detector.network, store, np.arange(len(store)))
    scored = detector.predict(store, chosen)
    prediction.write_prediction(output, scored)
    left_out = int(store.meta["empty_events"]) + len(store) - len(chosen)
    print(f"{len(scored)} events in {output}; {left_out} rows without enough particles")


def simulate(config: Config, session: app.Session) -> None:
    """Writes simulated events to --output; needs the extra events."""
    del session
    output = modes.required(config, "output", "the Parquet file for the events")
    masses = {name: getattr(config, name) for name in ("m_v", "m_x", "m_y", "mpi")}
    if config.kind == "mixture":
        numbers = (
            config.num_events,
            config.num_signal,
            config.data_seed,
            config.workers,
        )
        print(simulation.simulate_mixture(output, *numbers, **masses))
        return
    choice = (config.kind, config.num_events, config.data_seed, config.workers)
    print(simulation.simulate_events(output, *choice, **masses))


def prepare(config: Config, session: app.Session) -> None:
    """Converts --data to a store in --output; --check_only reads and keeps nothing."""
    del session
    modes.required(config, "data", "the file with the events")
    if not config.check_only:
        modes.required(config, "output", "the folder for the store")
    with tempfile.TemporaryDirectory() as folder:
        data.prepare_store(
            config, f"{folder}/store" if config.check_only else config.output
        )


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {
        "auc": found["auc"],
        "max_sic": found["scores"][found["headline"]]["max_sic"],
        "val_loss": found["validation"]["val_loss"],
    }


def _words(mean: Mapping[str, float], std: Mapping[str, float], members) -> str:
    del members
    return f"AUC {mean['auc']:.4f} +- {std['auc']:.2g}"


EXPERIMENT = modes.Experiment(
    config=Config,
    best=lambda config: BEST,
    load=data.load,
    load_unseen=data.load_unseen,
    describe=describe,
    save=lambda folder, network, config: prediction.save_network(
        folder, network, data.reading(config), seed=config.seed
    ),
    open_record=prediction.open_network,
    make_task=lambda config, events, network, params: make_task(
        config, network, events.store, events.parts, params
    ),
    rounds=lambda config: config.epochs,
    start=start,
    finish=finish,
    leaves=(prediction.STATISTICS_FILE,),
    report=report,
    needs="the file with the events to score",
    predict=predict,
    export=lambda config, folder: exports.write(
        folder, prediction.load(config.workdir, config.weights)
    ),
    simulate=simulate,
    prepare=prepare,
    ensemble=modes.Ensemble(
        columns={
            "auc": Column("AUC"),
            "max_sic": Column("max SIC"),
            "val_loss": Column("validation loss"),
        },
        read=_numbers,
        words=_words,
    ),
)
