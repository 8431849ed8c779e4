"""``python -m experiments.hypertrack --flagfile=... --workdir=...``."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax

from experiments.hypertrack import data
from experiments.hypertrack.config import Config
from experiments.hypertrack.experiment import report_run, with_given
from experiments.hypertrack.recipe import BEST, make_task, settings_of
from jaxphys.hypertrack.data import prepare as preparation
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.inference import export as exports
from jaxphys.hypertrack.inference import predict as prediction
from jaxphys.hypertrack.simulation import simulation
from jaxphys.hypertrack.training import step
from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble
from jaxphys.training import app

_KEYS = ("auc_without_self", "efficiency", "purity")


def train(config: Config, session: app.Session) -> None:
    """Trains voxels where none are given, then the net, and reports."""
    begun = app.find_checkpoint(config, BEST)  # said before all work if it is wrong
    folder = app.open_workdir(config)
    with session.stage("voxels"):
        parts = data.choose(config)
        model = data.voxels_of(config, parts)
    with session.stage("graphs"):
        train_data = data.train_batches(config, parts.train, model)
        val_data = data.val_batches(config, parts.val, model)
        print(f"buckets: {train_data.buckets}", file=sys.stderr)
        task = make_task(config, train_data, val_data, _starting_weights(config))
    settings = settings_of(config)
    if jax.process_index() == 0:
        prediction.save_network(
            folder,
            settings.net,
            settings.transformer if config.trains_transformer else None,
            config.clustering(),
            config.cluster,
            model,
            seed=config.seed,
        )
    rounds = -(-config.iterations // config.round_iterations)
    with session.stage("training"):
        result = app.train(config, task, rounds)
    if jax.process_index() != 0:
        return
    page = folder / "report" / "report.html"
    if begun == result.progress.step and page.exists():
        print(f"the run was finished before: {page} (--mode=evaluate makes it anew)")
        return
    report_run(config, session, parts)


def _starting_weights(config: Config) -> dict[str, Any] | None:
    """Returns the variables of --init_from, None to draw them."""
    if not config.init_from:
        return None
    found = prediction.load_variables(config.init_from)
    wanted = jax.eval_shape(
        lambda key: step.initial_variables(key, settings_of(config)), jax.random.key(0)
    )
    shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (wanted, found)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"--init_from={config.init_from}: nets of other sizes")
    return found


def evaluate(config: Config, session: app.Session) -> None:
    """Reports on the run's validation events, or on those of --val_data."""
    if session.given("val_data"):
        # the ranges of the run belong to its own files
        ranges = ("event_val_start", "event_val_end")
        old = {name: () for name in ranges if not session.given(name)}
        config = dataclasses.replace(config, **old)
    report_run(config, session, data.choose(config))


def predict(config: Config, session: app.Session) -> None:
    """Writes the tracks of the events in --data to Parquet."""
    if not session.given("data"):
        raise ValueError("--data: needed, the events to reconstruct")
    output = config.output or str(pathlib.Path(config.workdir) / "tracks.parquet")
    predictor = prediction.load(
        config.workdir,
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
    if not config.output:
        raise ValueError("--output: needed, the prefix of the files to write")
    parts = data.choose(config)
    stem = pathlib.Path(config.output)
    for ncell in config.ncell:
        path = stem.with_name(f"{stem.name}-{ncell}.npz")
        model = data.make_voxels(config, parts.voxels, ncell, path)
        print(f"{path}: {data.describe_voxels(config, parts.val, model)}")


def simulate(config: Config, session: app.Session) -> None:
    """Writes simulated events as compact Parquet; needs the extra events."""
    del session
    if not config.output:
        raise ValueError("--output: needed, the prefix of the files to write")
    prefix = simulation.simulate(
        config.output,
        config.n_events,
        config.mu,
        config.seed,
        config.first_event_id,
        max(config.workers, 1),
        progress=True,
    )
    print(prefix)


def prepare(config: Config, session: app.Session) -> None:
    """Converts a folder of TrackML CSV files; --check_only reads and keeps nothing."""
    del session
    if not config.data:
        raise ValueError("--data: needed, the folder of the CSV files")
    if not config.output and not config.check_only:
        raise ValueError("--output: needed, the prefix of the files to write")
    source = open_events(config.data)
    if config.check_only:
        found = preparation.check(source)
        print(
            f"{found.num_events} events, {found.num_hits} hits, "
            f"{found.num_particles} particles"
        )
        if found.problems:
            text = "\n".join(f"  event {n}: {t}" for n, t in found.problems.items())
            raise ValueError(f"{config.data}:\n{text}")
        return
    preparation.prepare(source, config.output, workers=max(config.workers, 1))
    print(config.output)


def export(config: Config, session: app.Session) -> None:
    """Writes StableHLO and, of tune-5, PyTorch weights by the original's names."""
    del session
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    for path in exports.write(folder, config.workdir):
        print(path)


def summarize(config: Config, session: app.Session) -> None:
    """Writes mean and spread over the runs of --seeds."""
    members = {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        found = json.loads(path.read_text())["numbers"]["headline"]
        members[f"seed {seed}"] = {name: found[name] for name in _KEYS}
    columns = [Column("AUC without self edges"), Column("efficiency"), Column("purity")]
    folder = pathlib.Path(config.workdir) / "report"
    found = write_ensemble(
        folder, "hypertrack", members, columns, keys=_KEYS, command=session.command
    )
    print(
        f"efficiency {found['mean']['efficiency']:.4f} +- "
        f"{found['std']['efficiency']:.2g} over {len(members)} seeds\n"
        f"report: {folder / 'report.html'}"
    )


def main() -> None:
    """Runs the mode that the flags ask for."""
    app.run(
        Config,
        {
            "train": train,
            "evaluate": evaluate,
            "predict": predict,
            "voxels": voxels,
            "simulate": simulate,
            "prepare": prepare,
            "export": export,
            "summarize": summarize,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
