"""From a trained network to its report: test events, other samples, injection."""

import pathlib

import numpy as np

from experiments.hidden_vertex import data
from experiments.hidden_vertex.config import Config
from jaxphys.config import to_flagfile
from jaxphys.hidden_vertex.analysis.injected import injected_scores
from jaxphys.hidden_vertex.data.splits import Split, check_split
from jaxphys.hidden_vertex.data.store import Store, feature_statistics
from jaxphys.hidden_vertex.inference.predict import Detector
from jaxphys.hidden_vertex.inference.scored import Scored, with_background
from jaxphys.hidden_vertex.physics.observables import baseline_scores
from jaxphys.hidden_vertex.report.page import filters_of, throughput_of, write_report
from jaxphys.hidden_vertex.training.network import evaluate
from jaxphys.training import app
from jaxphys.training.writer import read_metrics


def report_run(
    config: Config,
    session: app.Session,
    detector: Detector,
    store: Store,
    parts: Split | None,
    history: list,
) -> None:
    """Scores the test events (all of them without parts) and writes the report."""
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
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    numbers = write_report(
        folder,
        scored=scored,
        displays=lambda position: store[int(positions[position])],
        validation=validation,
        filters=filters_of(network, store),
        splits={} if parts is None else _lines(store, parts),
        feature_statistics=feature_statistics(store, taken),
        history=[
            {k: v for k, v in entry.items() if not isinstance(v, str)}
            for entry in history
        ],
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        weights=detector.metadata,
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
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


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
        store = data.load(config, detector.network, path, folder=where)
        chosen = data.enough_particles(detector.network, store, np.arange(len(store)))
        sample = detector.predict(store, chosen)
        if not sample.background.any():
            sample = with_background(sample, scored)
        found[name] = sample
    return found
