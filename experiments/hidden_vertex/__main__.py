"""``python -m experiments.hidden_vertex --flagfile=... --workdir=...``."""

import json
import pathlib
import sys
import tempfile

import jax
import numpy as np

from experiments.hidden_vertex import data
from experiments.hidden_vertex.config import Config
from experiments.hidden_vertex.experiment import report_run
from experiments.hidden_vertex.recipe import BEST, check_sizes, make_task
from jaxphys.hidden_vertex.data import prepare as preparation
from jaxphys.hidden_vertex.data.store import check_scale, feature_statistics
from jaxphys.hidden_vertex.inference import export as exports
from jaxphys.hidden_vertex.inference import predict as prediction
from jaxphys.hidden_vertex.simulation import simulation
from jaxphys.hidden_vertex.training.network import Network
from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble
from jaxphys.training import app


def train(config: Config, session: app.Session) -> None:
    """Prepares the events, trains, scores the test events and reports."""
    begun = app.find_checkpoint(config, BEST)  # said before all work if it is wrong
    app.open_workdir(config)
    with session.stage("data"):
        network = config.network()
        store = data.load(config, network, config.data, folder=config.prepared)
        if begun is not None:
            prediction.check_same_data(config.workdir, store)
        parts = data.split(config, network, store)
        check_sizes(config, store, parts)
        network = data.standardise(config, network, store, parts.train)
        statistics = feature_statistics(store, parts.train)
        check_scale(float(statistics["max"][0]), config.allow_unscaled)
        _print_features(statistics)
        task = make_task(
            config, network, store, parts, _starting_weights(config, network)
        )
    folder = pathlib.Path(config.workdir)
    if jax.process_index() == 0:
        prediction.save_network(
            folder,
            network,
            data.reading(config),
            data_fingerprint=store.fingerprint,
            seed=config.seed,
        )
    with session.stage("training"):
        result = app.train(config, task, config.epochs)
    if jax.process_index() != 0:
        return
    page = folder / "report" / "report.html"
    scored = (folder / prediction.STATISTICS_FILE).exists()
    if begun == result.progress.step and page.exists() and scored:
        print(f"the run was finished before: {page} (--mode=evaluate makes it anew)")
        return
    if result.progress.stop:
        print(f"Early stopping! {result.progress.stop}", file=sys.stderr)
    with session.stage("scores of the training events"):
        prediction.take_statistics(folder, network, result, store, parts.train)
    detector = prediction.load(folder)
    report_run(config, session, detector, store, parts, list(result.progress.history))


def _print_features(statistics) -> None:
    mean = ", ".join(f"{v:.4f}" for v in statistics["mean"])
    std = ", ".join(f"{v:.4f}" for v in statistics["std"])
    print(
        f"features (log pT, eta, phi): mean {mean}; std {std}; mean square "
        f"{float(statistics['mean_square']):.3f}",
        file=sys.stderr,
    )


def _starting_weights(config: Config, network: Network):
    """Returns the weights of --init_from, None to draw them."""
    if not config.init_from:
        return None
    found = prediction.load(config.init_from)
    mine = jax.eval_shape(network.init, jax.random.key(0))
    shapes = [
        jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (mine, found.params)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"--init_from={config.init_from}: a network of other sizes "
            f"({found.network.kind}, {found.network.view or found.network.graph})"
        )
    return found.params


def evaluate_run(config: Config, session: app.Session) -> None:
    """Reports on the run's own test events, or on all events of --data if given."""
    detector = prediction.load(config.workdir)
    history = list(detector.metadata["history"])
    if not session.given("data"):
        store = data.load(config, detector.network, config.data, folder=config.prepared)
        parts = data.split(config, detector.network, store)
        report_run(config, session, detector, store, parts, history)
        return
    store = data.load(config, detector.network, config.data, allow_unlabelled=True)
    report_run(config, session, detector, store, None, history)


def predict(config: Config, session: app.Session) -> None:
    """Writes scores and codes of the events in --data to Parquet."""
    if not session.given("data"):
        raise ValueError("--data: needed, the file with the events to score")
    output = config.output or str(pathlib.Path(config.workdir) / "prediction.parquet")
    if pathlib.Path(output).suffix != ".parquet":
        raise ValueError(f"--output={output}: expected a .parquet file")
    if pathlib.Path(output).resolve() == pathlib.Path(config.data).resolve():
        raise ValueError(f"--output={output}: is --data itself")
    detector = prediction.load(config.workdir)
    store = data.load(config, detector.network, config.data, allow_unlabelled=True)
    chosen = data.enough_particles(detector.network, store, np.arange(len(store)))
    scored = detector.predict(store, chosen)
    prediction.write_prediction(output, scored)
    left_out = int(store.meta["empty_events"]) + len(store) - len(chosen)
    print(f"{len(scored)} events in {output}; {left_out} rows without enough particles")


def simulate(config: Config, session: app.Session) -> None:
    """Writes simulated events to --output; needs the extra events."""
    del session
    if not config.output:
        raise ValueError("--output: needed, the Parquet file for the simulated events")
    masses = {name: getattr(config, name) for name in ("m_v", "m_x", "m_y", "mpi")}
    if config.kind == "mixture":
        path = simulation.simulate_mixture(
            config.output,
            config.num_events,
            config.num_signal,
            config.seed,
            config.workers,
            **masses,
        )
    else:
        path = simulation.simulate_events(
            config.output,
            config.kind,
            config.num_events,
            config.seed,
            config.workers,
            **masses,
        )
    print(path)


def prepare(config: Config, session: app.Session) -> None:
    """Converts --data to a store in --output; --check_only reads and keeps nothing."""
    del session
    if not config.data:
        raise ValueError("--data: needed, the file with the events")
    if not config.output and not config.check_only:
        raise ValueError("--output: needed, the folder for the store")
    with tempfile.TemporaryDirectory() as folder:
        _prepare(config, f"{folder}/store" if config.check_only else config.output)


def _prepare(config: Config, folder: str) -> None:
    store = preparation.prepare(
        config.data,
        folder,
        data.reading(config).recipe(
            config.contents or (config.network().sees,), read_rows=config.read_rows
        ),
        subset_size=config.subset_size or config.scan_limit,
        workers=config.workers,
        progress=True,
        allow_unscaled=config.allow_unscaled,
    )
    seen = store.meta["statistics"]["all"]
    _print_features({name: np.asarray(value) for name, value in seen.items()})
    print(
        f"{store.folder}: {len(store)} events, labels {store.label_counts}; "
        f"{store.meta['empty_events']} rows without particles left out"
    )


def export(config: Config, session: app.Session) -> None:
    """Writes the network as StableHLO, and as PyTorch weights where it has a twin."""
    del session
    detector = prediction.load(config.workdir)
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    for path in exports.write(folder, detector):
        print(path)


def summarize(config: Config, session: app.Session) -> None:
    """Writes mean and spread over the runs of --seeds."""
    members = {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        found = json.loads(path.read_text())["numbers"]
        members[f"seed {seed}"] = {
            "auc": found["auc"],
            "max_sic": found["scores"][found["headline"]]["max_sic"],
            "val_loss": found["validation"]["val_loss"],
        }
    columns = [Column("AUC"), Column("max SIC"), Column("validation loss")]
    folder = pathlib.Path(config.workdir) / "report"
    found = write_ensemble(
        folder,
        "hidden_vertex",
        members,
        columns,
        keys=("auc", "max_sic", "val_loss"),
        command=session.command,
    )
    print(
        f"AUC {found['mean']['auc']:.4f} +- {found['std']['auc']:.2g} over "
        f"{len(members)} seeds\nreport: {folder / 'report.html'}"
    )


def main() -> None:
    """Runs the mode that the flags ask for."""
    app.run(
        Config,
        {
            "train": train,
            "evaluate": evaluate_run,
            "predict": predict,
            "simulate": simulate,
            "prepare": prepare,
            "export": export,
            "summarize": summarize,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
