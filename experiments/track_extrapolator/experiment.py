"""The track extrapolator for the modes: what it reads, learns and shows."""

import pathlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from experiments.track_extrapolator import data
from experiments.track_extrapolator.config import Config
from experiments.track_extrapolator.data import Preparation, Splits
from experiments.track_extrapolator.recipe import BEST, make_model, make_task
from jaxphys.report import Column
from jaxphys.track_extrapolator.analysis.comparison import PUBLISHED
from jaxphys.track_extrapolator.data import dataset_files
from jaxphys.track_extrapolator.inference import export as exports
from jaxphys.track_extrapolator.inference import predict as prediction
from jaxphys.track_extrapolator.inference.export import binary
from jaxphys.track_extrapolator.model.model import STATS
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics.field import field_hash
from jaxphys.track_extrapolator.report.page import write_report
from jaxphys.training import app, modes
from jaxphys.training.compiled import initial_key
from jaxphys.training.loop import FitResult


class Record(NamedTuple):
    """What a run saves of its network, and how tracks are made ready for it.

    Attributes:
      surrogate: the network of step 0 with all that does not change.
      preparation: with the same statistics; None where nothing is trained.
    """

    surrogate: Surrogate
    preparation: Preparation | None = None


def describe(config: Config, splits: Splits, known: Record | None) -> Record:
    """Returns the network; statistics are those of a known run where there is one."""
    stats = None
    if known is not None:
        stats = {name: getattr(known.surrogate, name) for name in STATS}
    preparation = Preparation.fit(config, splits.train, stats)
    names = data.input_names(config)
    params = make_model(config).init(
        initial_key(config.seed), jnp.zeros((1, len(names)))
    )["params"]
    fixed = config.dz_mode == "fixed"
    truth = data.truth_field(config)
    surrogate = Surrogate.from_variables(
        {"params": params, "stats": preparation.stats},
        config.activation,
        parametrisation=config.parametrisation,
        input_names=names,
        z_in=float(splits.train.z_in) if fixed else config.z_in,
        z_out=float(splits.train.z_out) if fixed else config.z_out,
        dz_mode=config.dz_mode,
        field=preparation.field,
        map_step_mm=config.map_step_mm,
        field_hash=field_hash(truth) if truth is not None else "",
        metadata={
            "name": config.name,
            "seed": config.seed,
            "training_range": prediction.training_range(splits.train.state),
        },
    )
    return Record(surrogate, preparation)


def start(config: Config) -> modes.Start | None:
    """Returns the weights of --init_from or --import_bin, with their statistics.

    Raises:
      ValueError: both are given, or they are weights of another network.
    """
    if config.init_from and config.import_bin:
        raise ValueError("--init_from and --import_bin are given both")
    if not config.init_from and not config.import_bin:
        return None
    if config.init_from:
        where, found = config.init_from, prediction.load(config.init_from)
    else:
        where = config.import_bin
        found = binary.read(where, activation=config.activation)
    mine = {
        "hidden": tuple(config.widths),
        "activation": config.activation,
        "parametrisation": config.parametrisation,
        "inputs": data.input_names(config),
    }
    theirs = {
        "hidden": tuple(found.hidden),
        "activation": found.activation,
        "parametrisation": found.parametrisation,
        "inputs": tuple(found.input_names),
    }
    modes.check_alike(where, mine, theirs)
    return modes.Start(Record(found), found.variables()["params"])


def finish(config: Config, splits: Splits, record: Record, result: FitResult) -> None:
    """Writes the trained network beside its checkpoints, in layout v2."""
    del splits, record, result
    surrogate = prediction.load(config.workdir, config.weights)
    binary.write(pathlib.Path(config.workdir) / f"{config.name}.bin", surrogate)


def report(config: Config, session: app.Session, splits: Splits, history: list) -> None:
    """Measures the network of a run on test tracks and writes its page."""
    surrogate = prediction.load(config.workdir, config.weights)
    session.timings["start, compilation and other"] = max(
        session.seconds() - sum(session.timings.values()), 0.0
    )
    simulated = not config.data and not config.train_pairs
    seed_field = config.field == "gauss_seed" and simulated
    planes = (surrogate.z_in, surrogate.z_out) == (3000.0, 7000.0)
    own = len(splits.train) > 0
    page = modes.page_of(config, session, history, surrogate.metadata)
    numbers = write_report(
        page,
        surrogate=surrogate,
        test=splits.test,
        field=data.truth_field(config),
        # the published errors belong to the distribution of the run's own tracks
        published=PUBLISHED if own and seed_field and planes else (),
        training=_training(config, splits, history) if own else {},
        name=config.name,
        jacobian_tracks=config.report_jacobians,
        batches=config.report_batches,
    )
    found = numbers["network"]
    if "pos_mean" in found:
        print(
            f"{len(splits.test)} test tracks: mean {found['pos_mean']:.4g} mm, "
            f"95% {found['pos_p95']:.4g} mm, slopes {found['slope_mean']:.3g}"
        )
    print(f"report: {page.folder}/report.html after {session.seconds():.0f} s")


def _training(config: Config, splits: Splits, history: list) -> dict[str, Any]:
    """Returns the facts about a training that its metadata file holds."""
    return {
        "epochs": history[-1]["round"] if history else 0,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "train_samples": len(splits.train),
        "val_samples": len(splits.val),
        "failed_samples": splits.failed,
        "seed": config.seed,
    }


def predict(config: Config, session: app.Session, output: str) -> None:
    """Writes the exit states of the tracks in --data to Parquet."""
    del session
    surrogate = prediction.load(config.workdir, config.weights)
    states = prediction.read_states(config.data)
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


def simulate(config: Config, session: app.Session) -> None:
    """Writes the simulated data set to --output, or to the workdir."""
    del session
    if not config.output and not config.workdir:
        raise ValueError("--output: needed, the folder for the simulated tracks")
    data.simulate(config, pathlib.Path(config.output or f"{config.workdir}/data"))


def prepare(config: Config, session: app.Session) -> None:
    """Reads and checks --data; writes it as one Parquet shard unless --check_only."""
    del session
    modes.required(config, "data", "the folder with X_, Y_ and P_<dataset>.npy")
    tracks = data.read(config)
    print(f"{config.data}: {len(tracks)} tracks, {(~tracks.ok).sum()} failed")
    if not config.check_only:
        modes.required(config, "output", "the folder for the Parquet file")
        print(dataset_files.write_whole(config.output, config.dataset, tracks))


def export(config: Config, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the trained network in the formats of --formats."""
    surrogate = prediction.load(config.workdir, config.weights)
    # the layouts that hold few networks first: nothing is written if one is refused
    forms = sorted(config.formats, key=lambda f: f not in ("A", "cpp_colmajor"))
    return [exports.write(folder, config.name, surrogate, form) for form in forms]


def _words(mean: Mapping[str, float], std: Mapping[str, float], members) -> str:
    del members
    return f"mean {mean['pos_mean']:.4g} +- {std['pos_mean']:.2g} mm"


EXPERIMENT = modes.Experiment(
    config=Config,
    best=lambda config: BEST,
    load=data.load,
    load_unseen=data.load_unseen,
    describe=describe,
    save=lambda folder, record, config: prediction.save_description(
        folder, record.surrogate
    ),
    open_record=lambda folder: Record(prediction.read_description(folder)),
    make_task=lambda config, splits, record, params: make_task(
        config, splits, record.preparation, params
    ),
    rounds=lambda config: config.epochs,
    start=start,
    finish=finish,
    report=report,
    needs="the file with the tracks to extrapolate",
    endings=(".parquet", ".csv"),
    predict=predict,
    export=export,
    simulate=simulate,
    prepare=prepare,
    ensemble=modes.Ensemble(
        columns={
            "pos_mean": Column("mean", "mm"),
            "pos_p95": Column("95%", "mm"),
            "pos_p99": Column("99%", "mm"),
            "slope_mean": Column("mean slope error"),
        },
        read=lambda numbers: numbers["network"],
        words=_words,
    ),
)
