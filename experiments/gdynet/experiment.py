"""GDyNet for the modes: what it reads, learns and shows."""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from experiments.gdynet import data
from experiments.gdynet.config import Config
from experiments.gdynet.data import Part, Parts
from experiments.gdynet.recipe import (
    BEST,
    batches_of,
    check_schedule,
    make_lobes,
    make_model,
    make_task,
    read_warnings,
)
from jaxphys.gdynet.analysis.analysis import AnalysisSettings
from jaxphys.gdynet.analysis.set_scores import set_scores
from jaxphys.gdynet.data import validation
from jaxphys.gdynet.inference import export as exports
from jaxphys.gdynet.inference import predict as prediction
from jaxphys.gdynet.inference.predict import Predictor
from jaxphys.gdynet.report.page import in_words, write_report
from jaxphys.gdynet.simulation import cases
from jaxphys.gdynet.training import step
from jaxphys.options import part_of
from jaxphys.report import Column
from jaxphys.training import app, modes
from jaxphys.training.writer import read_metrics

SCHEDULE_FILE = "schedule.json"
# what weights depend on, but for the number of states
ARCHITECTURE = (
    "atom_fea_len", "n_conv", "num_gaussians", "cutoff", "variant", "gaussian",
)  # fmt: skip


def time_unit_of(config: Config, exact: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the time from frame to frame and the name of its unit."""
    return (
        config.time_unit or float(exact.get("frame_time", 1.0)),
        config.time_unit_name or str(exact.get("time_unit", "frames")),
    )


def _analysed(config: Config, parts: Parts) -> Part:
    if config.analysis_data == "test":
        return parts.test
    return parts.train


def _predictions(config: Config, predictor: Predictor, part: Part) -> list[np.ndarray]:
    """Returns the probabilities of the trajectories that are analysed."""
    found = predictor.predict(part.trajectories)
    if config.analysis_data == "all":
        return found
    whole = np.concatenate(found)
    return [whole[first:stop] for first, stop in part.pairs.blocks]


def begin(config: Config) -> Config:
    """Checks the schedule of a run that goes on; --resume=<epoch> becomes a step.

    Raises:
      ValueError: --resume names an epoch that is not there, or another schedule was
        begun.
    """
    entries = [e for e in read_metrics(config.workdir) if "round" in e]
    saved = pathlib.Path(config.workdir) / SCHEDULE_FILE
    if saved.is_file():
        epochs = max((entry["round"] for entry in entries), default=0)
        check_schedule(config, json.loads(saved.read_text()), epochs)
    if jax.process_index() == 0:
        saved.parent.mkdir(parents=True, exist_ok=True)
        saved.write_text(json.dumps(list(config.loss_schedule)) + "\n")
    if not config.resume.isdecimal():
        return config
    steps = {entry["round"]: entry["step"] for entry in entries}
    if int(config.resume) not in steps:
        raise ValueError(
            f"--resume={config.resume}: no such epoch of the run in {config.workdir}"
        )
    return cast(Config, config.replace(resume=str(steps[int(config.resume)])))


def settle(config: Config, parts: Parts) -> Config:
    """Returns the flags with intervals in steps."""
    steps = batches_of(config, parts.train, train=True).num_batches(0)
    print(
        f"{parts.train.pairs.size} pairs, {steps} steps in each of "
        f"{config.total_epochs} epochs ({','.join(config.loss_schedule)})",
        file=sys.stderr,
    )
    changes: dict[str, Any] = {
        "checkpoint_every": f"{config.frequency} rounds",
        "keep_every": 0 if config.save_best_only else config.frequency * steps,
    }
    return cast(Config, config.replace(**changes))


class Record(NamedTuple):
    """What a run saves of its networks, and facts about its data."""

    lobes: step.Lobes
    n_nbrs: int
    facts: Mapping[str, Any]


def describe(config: Config, parts: Parts, known: object) -> Record:
    """Returns the networks for the atoms of the data."""
    del known
    time_unit, name = time_unit_of(config, parts.exact)
    facts = {
        "tau": config.tau,
        "time_unit": time_unit,
        "time_unit_name": name,
        "model_type": config.model_type,
        "seed": config.seed,
    }
    n_nbrs = parts.train.trajectories.num_neighbours
    return Record(make_lobes(config, parts.train), n_nbrs, facts)


def start(config: Config) -> modes.Start | None:
    """Returns the variables of --init_from, with running statistics.

    The layer of the states may have another width: then it is drawn anew.

    Raises:
      ValueError: they are variables of another network.
    """
    if not config.init_from:
        return None
    names = step.LOBES[config.lobes]
    found = {
        name: prediction.load(config.init_from, config.weights, name) for name in names
    }
    model = make_model(config)
    mine, theirs = (
        {name: getattr(one, name) for name in ARCHITECTURE}
        for one in (model, found[names[0]].model)
    )
    modes.check_alike(config.init_from, mine, theirs)
    return modes.Start(None, {name: one.variables for name, one in found.items()})


def with_drawn_states(
    config: Config, lobes: step.Lobes, variables: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Returns variables whose layer of the states has the width of the flags."""
    if variables is None:
        return None
    drawn = step.initial_variables(jax.random.key(config.seed), lobes)
    found = {}
    for name, own in variables.items():
        mine, params = drawn[name]["params"], own["params"]
        if params["fc_state"]["kernel"].shape != mine["fc_state"]["kernel"].shape:
            print(
                f"warning: {config.init_from}: another number of states: fc_state is "
                "drawn anew",
                file=sys.stderr,
            )
            params = {**params, "fc_state": mine["fc_state"]}
        found[name] = {**own, "params": params}
    return found


def report(config: Config, session: app.Session, parts: Parts, history: list) -> None:
    """Scores each part, analyses the trajectories and writes the page."""
    part = _analysed(config, parts)
    predictor = prediction.load(config.workdir, config.weights)
    with session.stage("predictions"):
        predictions = _predictions(config, predictor, part)
        scores = set_scores(
            make_lobes(config, parts.train),
            prediction.load_variables(config.workdir, config.weights),
            {
                name: batches_of(config, getattr(parts, name), train=False)
                for name in (("test",) if parts.unseen else ("train", "val", "test"))
            },
        )
    time_unit, name = time_unit_of(config, parts.exact)
    page = modes.page_of(config, session, history, predictor.metadata)
    if config.analysis_data == "all" and not parts.unseen:
        prediction.save_arrays(
            pathlib.Path(config.workdir) / "predictions",
            f"{config.model_type}_predictions",
            predictions,
        )
    numbers = write_report(
        page,
        predictions=predictions,
        trajectories=part.trajectories,
        blocks=None if config.analysis_data == "all" else part.pairs.blocks,
        tau=config.tau,
        time_unit=time_unit,
        time_unit_name=name,
        settings=settings_of(config),
        exact=parts.exact or None,
        scores=scores,
        warnings=read_warnings(config.workdir),
        model=config.model_type,
        source=_source(config, parts),
    )
    print(in_words(numbers["summary"], name))
    print(f"report: {page.folder}/report.html after {session.seconds():.0f} s")


def _source(config: Config, parts: Parts) -> str:
    """Returns what was analysed, in words."""
    if parts.unseen:
        return f"{parts.fingerprint.source} (all frames, none of them trained)"
    data = config.data or ",".join(config.train_fnames)
    data = data or f"case {config.case}, simulated here"
    part = "all frames, training included"
    return f"{data} ({part if config.analysis_data == 'all' else 'the test part'})"


def settings_of(config: Config) -> AnalysisSettings:
    """Returns the settings of the analysis that the flags name."""
    return part_of(config, AnalysisSettings)


def predict(config: Config, session: app.Session, output: str) -> None:
    """Writes the probabilities of --data, or of the file --trajectory."""
    del session
    predictor = prediction.load(config.workdir, config.weights)
    places: Any = config.data or list(config.test_fnames)
    if config.trajectory:
        stem = pathlib.Path(config.trajectory).name.split(".")[0]
        folder = pathlib.Path(config.workdir) / "prepared" / stem
        places = str(data.prepare_trajectory(config, folder))
    found = data.open_checked(places, predictor.ferro)
    predictions = predictor.predict(found)
    prediction.write_prediction(output, predictions, found.target_index)
    mean = np.concatenate(predictions).mean(axis=(0, 1))
    print(
        f"{found.num_frames} frames, {len(found.target_index)} atoms in {output}; "
        f"populations {np.array2string(mean, precision=3)}"
    )


def simulate(config: Config, session: app.Session) -> None:
    """Writes a case with known timescales to --output."""
    del session
    folder = modes.required(config, "output", "the folder for the simulated frames")
    source = pathlib.Path(config.data) if config.data else None
    if source is not None and not cases.is_case(source):
        raise ValueError(f"--data={source}: not a recorded case")
    data.write_case(config, pathlib.Path(folder), source)
    print((pathlib.Path(folder) / data.ABOUT).read_text().strip())


def prepare(config: Config, session: app.Session) -> None:
    """Converts --trajectory to a folder, or only checks --data (--check_only)."""
    del session
    if config.check_only:
        if not config.data and not config.train_fnames:
            raise ValueError("--data or --train_fnames: needed, what to check")
        places = config.data or list(config.train_fnames)
        found = data.open_checked(places, config.ferro, config.cutoff)
        print("\n".join(validation.describe(found, config.tau, config.batch_size)))
        return
    if not config.trajectory or not config.output:
        raise ValueError("--trajectory, --output: needed, a file and a folder")
    print(data.prepare_trajectory(config, pathlib.Path(config.output)))


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    slowest = found["summary"].get("slowest")
    return {
        "val_vamp2": found["scores"]["val_vamp2"],
        "slowest": float("nan") if slowest is None else slowest,
    }


def _words(mean: Mapping[str, float], std: Mapping[str, float], members) -> str:
    del mean, std
    scores = np.array([found["val_vamp2"] for found in members.values()])
    success = float(np.mean(scores >= 0.9 * scores.max()))
    return f"{success:.0%} of the runs within 10% of the best validation VAMP-2"


EXPERIMENT = modes.Experiment(
    config=Config,
    best=lambda config: BEST[config.best_rule],
    begin=begin,
    load=data.load,
    load_unseen=data.load_unseen,
    describe=describe,
    save=lambda folder, record, config: prediction.save_network(
        folder, record.lobes, record.n_nbrs, **record.facts
    ),
    make_task=lambda config, parts, record, params: make_task(
        config, record.lobes, parts, with_drawn_states(config, record.lobes, params)
    ),
    settle=settle,
    rounds=lambda config: config.total_epochs,
    start=start,
    report=report,
    needs="what to score",
    endings=(".parquet", ".npy"),
    predict=predict,
    export=lambda config, folder: exports.write(folder, config.workdir, config.weights),
    simulate=simulate,
    prepare=prepare,
    ensemble=modes.Ensemble(
        columns={
            "val_vamp2": Column("validation VAMP-2"),
            "slowest": Column("slowest timescale"),
        },
        read=_numbers,
        words=_words,
    ),
)
