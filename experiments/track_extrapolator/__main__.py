"""``python -m experiments.track_extrapolator --flagfile=... --workdir=...``."""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp

from experiments.track_extrapolator.config import Config
from experiments.track_extrapolator.data import (
    Preparation,
    input_names,
    load,
    simulate,
    split,
    truth_field,
)
from experiments.track_extrapolator.experiment import report_run
from experiments.track_extrapolator.recipe import BEST, make_model, make_task
from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble
from jaxphys.track_extrapolator.data import dataset_files
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.inference import export as exports
from jaxphys.track_extrapolator.inference import predict as prediction
from jaxphys.track_extrapolator.inference.export import binary
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics.field import field_hash
from jaxphys.training import app
from jaxphys.training.compiled import initial_key
from jaxphys.training.writer import read_metrics


def train(config: Config, session: app.Session) -> None:
    """Simulates if needed, trains, exports and reports."""
    begun = app.find_checkpoint(config, BEST)  # said before all work if it is wrong
    app.open_workdir(config)
    with session.stage("data"):
        tracks = load(config)
        splits = split(config, tracks)
        preparation = Preparation.fit(config, splits.train)
    description = _describe(config, preparation, splits.train)
    params = _starting_weights(config, description)
    task = make_task(config, splits, preparation, params)
    if jax.process_index() == 0:
        prediction.save_description(config.workdir, description)
    with session.stage("training"):
        result = app.train(config, task, config.epochs)
    if jax.process_index() != 0:
        return
    page = pathlib.Path(config.workdir) / "report" / "report.html"
    if begun == result.progress.step and page.exists():
        print(f"the run was finished before: {page} (--mode=evaluate makes it anew)")
        return
    surrogate = prediction.load(config.workdir, config.export_weights)
    binary.write(pathlib.Path(config.workdir) / f"{config.name}.bin", surrogate)
    training = {
        "epochs": result.progress.round,
        "batch_size": config.batch_size,
        "learning_rate": config.lr,
        "best_val_loss": result.progress.extra.get("best_value"),
        "train_samples": len(splits.train),
        "val_samples": len(splits.val),
        "failed_samples": splits.failed,
        "seed": config.seed,
    }
    report_run(config, session, surrogate, splits.test, result, training)


def _describe(config: Config, preparation: Preparation, train: TrackSet) -> Surrogate:
    """Returns the network of step 0 with everything that does not change."""
    names = input_names(config)
    model = make_model(config)
    params = model.init(initial_key(config.seed), jnp.zeros((1, len(names))))["params"]
    fixed = config.dz_mode == "fixed"
    truth = truth_field(config)
    return Surrogate.from_variables(
        {"params": params, "stats": preparation.stats},
        config.activation,
        parametrisation=config.parametrisation,
        input_names=names,
        z_in=float(train.z_in) if fixed else config.z_in,
        z_out=float(train.z_out) if fixed else config.z_out,
        dz_mode=config.dz_mode,
        field=preparation.field,
        map_step_mm=config.map_step_mm,
        field_hash=field_hash(truth) if truth is not None else "",
        metadata={
            "name": config.name,
            "seed": config.seed,
            "training_range": prediction.training_range(train.state),
        },
    )


def _starting_weights(config: Config, description: Surrogate):
    """Returns the weights of --init_from or --import_bin, None to draw them."""
    if config.init_from and config.import_bin:
        raise ValueError("--init_from and --import_bin are given both")
    if not config.init_from and not config.import_bin:
        return None
    if config.init_from:
        where, found = config.init_from, prediction.load(config.init_from)
    else:
        where = config.import_bin
        found = binary.read(where, activation=config.activation)
    mine = [kernel.shape for kernel, _ in description.layers]
    theirs = [kernel.shape for kernel, _ in found.layers]
    if mine != theirs:
        raise ValueError(
            f"{where}: layers {theirs}, expected {mine} (--model, --hidden)"
        )
    return found.variables()["params"]


def evaluate(config: Config, session: app.Session) -> None:
    """Reports on the run's own test tracks, or on all tracks of --data if given."""
    surrogate = prediction.load(config.workdir, config.export_weights)
    tracks = load(config)
    test = tracks if session.given("data") else split(config, tracks).test
    history = [e for e in read_metrics(config.workdir) if "val_loss" in e]
    report_run(config, session, surrogate, test, None, {}, history)


def predict(config: Config, session: app.Session) -> None:
    """Writes the exit states of the tracks in --data to Parquet."""
    if not session.given("data"):
        raise ValueError("--data: needed, the file with the tracks to extrapolate")
    surrogate = prediction.load(config.workdir, config.export_weights)
    states = prediction.read_states(config.data)
    output = config.output or str(pathlib.Path(config.workdir) / "prediction.parquet")
    found = prediction.write_prediction(output, surrogate, states)
    print(
        f"{found['tracks']} tracks in {output}; {found['not_ok']} are not ok, "
        f"{found['out_of_range']} lie outside of the training range"
    )
    if found["tracks"] == found["out_of_range"] > 0:
        print(
            "warning: all tracks lie outside: are they in mm and q/p in 1/MeV?",
            file=sys.stderr,
        )


def simulate_data(config: Config, session: app.Session) -> None:
    """Writes the simulated data set to --output, or to the workdir."""
    del session
    if not config.output and not config.workdir:
        raise ValueError("--output: needed, the folder for the simulated tracks")
    simulate(config, pathlib.Path(config.output or f"{config.workdir}/data"))


def prepare(config: Config, session: app.Session) -> None:
    """Reads and checks --data; writes it as one Parquet shard unless --check_only."""
    del session
    if not config.data:
        raise ValueError("--data: needed, the folder with X_, Y_ and P_<dataset>.npy")
    tracks = load(config)
    print(f"{config.data}: {len(tracks)} tracks, {(~tracks.ok).sum()} failed")
    if not config.check_only:
        if not config.output:
            raise ValueError("--output: needed, the folder for the Parquet file")
        print(dataset_files.write_whole(config.output, config.dataset, tracks))


def export(config: Config, session: app.Session) -> None:
    """Writes the trained network in the formats of --formats."""
    del session
    surrogate = prediction.load(config.workdir, config.export_weights)
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    # the layouts that hold few networks first: nothing is written if one is refused
    for form in sorted(
        config.formats, key=lambda form: form not in ("A", "cpp_colmajor")
    ):
        print(exports.write(folder, config.name, surrogate, form))


def summarize(config: Config, session: app.Session) -> None:
    """Writes mean and spread over the runs of --seeds."""
    members = {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        members[f"seed {seed}"] = json.loads(path.read_text())["numbers"]["network"]
    columns = [
        Column("mean", "mm"),
        Column("95%", "mm"),
        Column("99%", "mm"),
        Column("mean slope error"),
    ]
    keys = ("pos_mean", "pos_p95", "pos_p99", "slope_mean")
    folder = pathlib.Path(config.workdir) / "report"
    found = write_ensemble(
        folder, config.name, members, columns, keys=keys, command=session.command
    )
    print(
        f"mean {found['mean']['pos_mean']:.4g} +- {found['std']['pos_mean']:.2g} mm "
        f"over {len(members)} seeds\nreport: {folder / 'report.html'}"
    )


def main() -> None:
    """Runs the mode that the flags ask for."""
    app.run(
        Config,
        {
            "train": train,
            "evaluate": evaluate,
            "predict": predict,
            "simulate": simulate_data,
            "prepare": prepare,
            "export": export,
            "summarize": summarize,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
