"""From a trained network to its report: test events, other samples, injection."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np

from experiments.hidden_vertex import data
from experiments.hidden_vertex.config import Config
from jaxphys.config import to_flagfile
from jaxphys.hidden_vertex.data import prepare as preparation
from jaxphys.hidden_vertex.data.injection import Injected
from jaxphys.hidden_vertex.data.splits import Split, check_split
from jaxphys.hidden_vertex.data.store import Store, feature_statistics
from jaxphys.hidden_vertex.inference.predict import Detector
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.physics.observables import baseline_scores
from jaxphys.hidden_vertex.report.page import write_report
from jaxphys.hidden_vertex.training.network import Network, evaluate
from jaxphys.training import app


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
        injection = _injection(config, detector, store, positions, scored)
    session.timings["start, compilation and other"] = max(
        session.seconds() - sum(session.timings.values()), 0.0
    )
    taken = positions if parts is None else parts.train
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    numbers = write_report(
        folder,
        scored=scored,
        displays=lambda position: store[int(positions[position])],
        validation=validation,
        filters=_filters(network, store),
        splits={} if parts is None else _lines(store, parts),
        feature_statistics=feature_statistics(store, taken),
        history=[
            {k: v for k, v in entry.items() if not isinstance(v, str)}
            for entry in history
        ],
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        model=_name(network),
        baselines=baseline_scores(scored.observables),
        top_k=config.top_k,
        histogram_bins=config.histogram_bins,
        injection=injection,
        throughput=_throughput(config, session, parts),
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


def _name(network: Network) -> str:
    return network.kind if not network.view else f"{network.kind} ({network.view})"


def _source(config: Config, store: Store) -> str:
    if not config.data:
        return "the embedded sample of LHCO-like events (simulated)"
    return str(store.meta["request"]["source"].get("name", config.data))


def _lines(store: Store, parts: Split) -> dict[str, str]:
    return check_split(parts, np.asarray(store.label), np.asarray(store.event_id))


def _filters(network: Network, store: Store) -> dict[str, int]:
    """Returns how many events every filter took out."""
    few = int((store.sizes < network.least_particles).sum())
    found = {
        "rows read": int(store.meta["request"]["rows"]),
        "rows without particles (left out)": int(store.meta["empty_events"]),
        "events in the store": len(store),
    }
    if network.least_particles > 1:
        found[f"events below {network.least_particles} particles (left out)"] = few
    if store.jets is not None:
        empty = np.asarray(store.jets[:, 1, :, 0]).max(axis=1) <= 0
        found["events with one jet only (kept)"] = int(empty.sum())
    return found


def _throughput(config, session, parts) -> dict[str, float]:
    """Returns the speed of the epochs, each with its validation, but the first."""
    path = pathlib.Path(config.workdir) / "metrics.jsonl"
    if parts is None or "training" not in session.timings or not path.is_file():
        return {}
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    speeds = [e["steps_per_second"] for e in entries if "steps_per_second" in e]
    if not speeds:
        return {}
    events = float(np.median(speeds[1:] or speeds)) * config.batch_size
    return {
        "train_events": len(parts.train),
        "train_events_per_s": events,
        "epoch_s": len(parts.train) / events,
        "total_s": session.seconds(),
        "epochs": len(speeds),
    }


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
            sample = _with_background(sample, scored)
        found[name] = sample
    return found


def _with_background(signal: Scored, other: Scored) -> Scored:
    """Returns signal events and the background of another sample."""
    chosen = np.flatnonzero(other.background)

    def join(a, b):
        return np.concatenate([a, np.asarray(b)[chosen]])

    return dataclasses.replace(
        signal,
        label=join(signal.label, other.label),
        event_id=join(signal.event_id, other.event_id),
        scores={k: join(v, other.scores[k]) for k, v in signal.scores.items()},
        code=join(signal.code, other.code),
        size=join(signal.size, other.size),
        observables={
            k: join(v, other.observables[k]) for k, v in signal.observables.items()
        },
    )


def _injection(config, detector, store, positions, scored) -> dict:
    """Returns the scores of test background as it is and with a harder particle."""
    rows = np.flatnonzero(scored.background)
    source = Injected(store, positions[rows], config.injection_strength, config.seed)
    folder = pathlib.Path(config.workdir) / "prepared" / ".injected"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = detector.reading.recipe((detector.network.sees,))
    made = preparation.prepare(source, folder, recipe, allow_unscaled=True)
    found = detector.predict(made).score
    shutil.rmtree(folder)
    return {
        "clean": scored.score[rows],
        "injected": found,
        "strength": config.injection_strength,
    }
