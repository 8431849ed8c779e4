"""``python -m experiments.gdynet --flagfile=... --workdir=...``."""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.gdynet import data
from experiments.gdynet.config import Config
from experiments.gdynet.data import Parts
from experiments.gdynet.experiment import report_run, time_unit_of
from experiments.gdynet.recipe import BEST, check_schedule, make_lobes, make_task
from jaxphys.gdynet.data import directions, prepare, trajectories
from jaxphys.gdynet.data.validation import describe
from jaxphys.gdynet.inference import export as exports
from jaxphys.gdynet.inference import predict as prediction
from jaxphys.gdynet.simulation import cases
from jaxphys.gdynet.training import step
from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble
from jaxphys.training import app
from jaxphys.training.writer import read_metrics


def train(config: Config, session: app.Session) -> None:
    """Simulates if needed, trains all phases, analyses and reports."""
    finished = _finished_epochs(config)
    app.open_workdir(config)
    with session.stage("data"):
        parts = data.load(config)
    lobes = make_lobes(config, parts.train)
    variables = _starting_weights(config, lobes)
    task = make_task(config, lobes, parts, variables)
    steps = task.train_data.num_batches(0)
    folder = pathlib.Path(config.workdir)
    if jax.process_index() == 0:
        facts = _facts(config, parts)
        n_nbrs = parts.train.trajectories.num_neighbours
        prediction.save_network(folder, lobes, n_nbrs, **facts)
    print(
        f"{parts.train.pairs.size} pairs, {steps} steps in each of "
        f"{config.total_epochs} epochs ({','.join(config.loss_schedule)})",
        file=sys.stderr,
    )
    with session.stage("training"):
        result = app.train(_with_steps(config, steps), task, config.total_epochs)
    if jax.process_index() != 0:
        return
    page = folder / "report" / "report.html"
    if finished >= config.total_epochs and page.exists():
        print(
            f"training already completed: {finished} epochs; {page} "
            "(--mode=evaluate makes it anew)"
        )
        return
    report_run(config, session, parts, list(result.progress.history))


def _finished_epochs(config: Config) -> int:
    """Returns the epochs of the run in the workdir; checks its schedule.

    Raises:
      ValueError: --resume names what is not there, or another schedule was begun.
    """
    if not config.resume.isdecimal():
        # said before all work if it is wrong
        app.find_checkpoint(config, BEST[config.best_rule])
    saved = pathlib.Path(config.workdir) / "schedule.json"
    entries = read_metrics(config.workdir)
    epochs = max((entry["round"] for entry in entries if "round" in entry), default=0)
    if saved.is_file():
        check_schedule(config, json.loads(saved.read_text()), epochs)
    saved.parent.mkdir(parents=True, exist_ok=True)
    saved.write_text(json.dumps(list(config.loss_schedule)) + "\n")
    return epochs


def _with_steps(config: Config, steps: int) -> Any:
    """Returns the configuration with epochs of the flags turned into steps."""
    changes: dict[str, Any] = {
        "checkpoint_every": f"{config.frequency} rounds",
        "keep_every": 0 if config.save_best_only else config.frequency * steps,
    }
    if config.resume.isdecimal():
        changes["resume"] = str(int(config.resume) * steps)
    return config.replace(**changes)


def _facts(config: Config, parts: Parts) -> dict[str, Any]:
    time_unit, name = time_unit_of(config, parts.exact)
    return {
        "tau": config.tau,
        "time_unit": time_unit,
        "time_unit_name": name,
        "model_type": config.model_type,
        "seed": config.seed,
    }


def _starting_weights(config: Config, lobes: step.Lobes) -> dict[str, Any] | None:
    """Returns the variables of --init_from, None to draw them."""
    if not config.init_from:
        return None
    drawn = step.initial_variables(jax.random.key(config.seed), lobes)
    start = {}
    for name in lobes.names:
        found: Any = prediction.load(config.init_from, config.weights, name).variables
        mine = drawn[name]["params"]
        if (
            found["params"]["fc_state"]["kernel"].shape
            != mine["fc_state"]["kernel"].shape
        ):
            print(
                f"warning: {config.init_from}: another number of states: fc_state is "
                "drawn anew",
                file=sys.stderr,
            )
            found = {
                **found,
                "params": {**found["params"], "fc_state": mine["fc_state"]},
            }
        shapes = [jax.tree.map(np.shape, tree) for tree in (found["params"], mine)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"--init_from={config.init_from}: a network of other sizes "
                "(--atom_fea_len, --n_conv, --num_gaussians, --model_type)"
            )
        start[name] = found
    return start


def evaluate(config: Config, session: app.Session) -> None:
    """The analysis and the report again, with the flags of this call."""
    parts = data.load(config)
    history = prediction.load(config.workdir, config.weights).metadata["history"]
    report_run(config, session, parts, list(history))


def predict(config: Config, session: app.Session) -> None:
    """Writes the probabilities of --data, or of the file --trajectory."""
    predictor = prediction.load(config.workdir, config.weights)
    if config.trajectory:
        folder = pathlib.Path(config.workdir) / "prepared" / _stem(config.trajectory)
        places: Any = str(_prepare(config, folder))
    elif session.given("data") or session.given("test_fnames"):
        places = config.data or list(config.test_fnames)
    else:
        raise ValueError("--data, --test_fnames or --trajectory: needed, what to score")
    found = data.open_checked(places, predictor.ferro)
    output = config.output or f"{config.workdir}/prediction.parquet"
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
    if not config.output:
        raise ValueError("--output: needed, the folder for the simulated frames")
    source = None
    if config.data:
        source = pathlib.Path(config.data)
        if not cases.is_case(source):
            raise ValueError(f"--data={source}: not a recorded case")
    data.write_case(config, pathlib.Path(config.output), source)
    print((pathlib.Path(config.output) / data.ABOUT).read_text().strip())


def prepare_data(config: Config, session: app.Session) -> None:
    """Converts --trajectory to a folder, or only checks --data (--check_only)."""
    del session
    if config.check_only:
        if not config.data and not config.train_fnames:
            raise ValueError("--data or --train_fnames: needed, what to check")
        places = config.data or list(config.train_fnames)
        found = data.open_checked(places, config.ferro, config.cutoff)
        print("\n".join(describe(found, config.tau, config.batch_size)))
        return
    if not config.trajectory or not config.output:
        raise ValueError("--trajectory, --output: needed, a file and a folder")
    print(_prepare(config, pathlib.Path(config.output)))


def _stem(path: str) -> str:
    return pathlib.Path(path).name.split(".")[0]


def _prepare(config: Config, folder: pathlib.Path) -> pathlib.Path:
    path = pathlib.Path(config.trajectory)
    if path.suffix == ".npz":
        source, targets = trajectories.open_npz_frames(path)
    else:
        source = trajectories.open_trajectory(path, config.topology)
        if not config.target:
            raise ValueError("--target: needed, the atoms whose states are wanted")
        targets = None
    if config.target:
        select = getattr(source, "select", None)
        targets = trajectories.parse_targets(config.target, source.atom_types, select)
    assert_targets = np.asarray(targets)
    recipe = prepare.Recipe(
        n_nbrs=config.n_nbrs,
        radius=config.search_radius(),
        backend=config.backend,
        pbc=config.pbc,
        directions=directions.parse_directions(config.directions),
    )
    return prepare.prepare(
        source, assert_targets, folder, recipe, workers=config.workers, progress=True
    )


def export(config: Config, session: app.Session) -> None:
    """Writes lobe_0 as StableHLO and the lobes as PyTorch weights."""
    del session
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    for path in exports.write(folder, config.workdir, config.weights):
        print(path)


def summarize(config: Config, session: app.Session) -> None:
    """Writes mean, spread and the fraction of successes over the runs of --seeds."""
    members = {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        members[f"seed {seed}"] = _member(json.loads(path.read_text())["numbers"])
    scores = np.array([found["val_vamp2"] for found in members.values()])
    success = float(np.mean(scores >= 0.9 * scores.max()))
    columns = [Column("validation VAMP-2"), Column("slowest timescale")]
    folder = pathlib.Path(config.workdir) / "report"
    write_ensemble(
        folder,
        "gdynet",
        members,
        columns,
        keys=("val_vamp2", "slowest"),
        command=session.command,
    )
    print(
        f"{success:.0%} of {len(members)} runs within 10% of the best validation "
        f"VAMP-2\nreport: {folder / 'report.html'}"
    )


def _member(numbers: Mapping[str, Any]) -> dict[str, float]:
    slowest = numbers["summary"].get("slowest")
    return {
        "val_vamp2": numbers["scores"]["val_vamp2"],
        "slowest": float("nan") if slowest is None else slowest,
    }


def main() -> None:
    """Runs the mode that the flags ask for."""
    app.run(
        Config,
        {
            "train": train,
            "evaluate": evaluate,
            "predict": predict,
            "simulate": simulate,
            "prepare": prepare_data,
            "export": export,
            "summarize": summarize,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
