"""The modes of every experiment, as one text.

An experiment says in an `Experiment` what it reads, learns and shows; what a mode does,
in which order, and what it refuses, stands here.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxphys.command_line import to_flagfile
from jaxphys.config import RunConfig
from jaxphys.report import Column, RunPage
from jaxphys.report.ensemble import write_ensemble
from jaxphys.training import app, runs
from jaxphys.training.loop import FitResult
from jaxphys.training.task import Task


class Start(NamedTuple):
    """Weights that a run starts from, and what they belong to.

    Attributes:
      record: of the run or file that they come from; its normalisation goes with them.
      params: as `Experiment.make_task` takes them.
    """

    record: Any
    params: Any


def _as_it_is(config: Any) -> Any:
    return config


def _settled(config: Any, data: Any) -> Any:
    del data
    return config


def _no_start(config: Any) -> Start | None:
    del config
    return None


def _no_record(*_: Any) -> None:
    """Of a system whose flags describe its model."""


def _nothing_to_prepare(config: Any, session: app.Session) -> None:
    del session
    raise ValueError(f"--mode={config.mode}: this system reads its files as they are")


def _nothing(config: Any, data: Any, record: Any, result: FitResult) -> None:
    del config, data, record, result


def _first(mean: Mapping[str, float], std: Mapping[str, float], _: Any) -> str:
    name = next(iter(mean))
    return f"{name} {mean[name]:.4g} +- {std[name]:.2g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble:
    """What the page of several seeds shows.

    Attributes:
      columns: name of a number -> how it is shown.
      read: numbers of a report.json -> these, by name.
      words: (mean, standard deviation, members) -> a line.
    """

    columns: Mapping[str, Column]
    read: Callable[[Mapping[str, Any]], Mapping[str, float]] = dict
    words: Callable[[Mapping[str, float], Mapping[str, float], Mapping], str] = _first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A system as the modes see it.

    Data are objects with a `fingerprint`; a record is what a run saves of its model, so
    that its weights can be used.

    Attributes:
      config: class of the flags.
      best: flags -> (scalar, "min" or "max") that ranks checkpoints.
      load: (flags, record or None) -> data of a run, simulated where the flags name
        none; a record gives the normalisation.
      load_unseen: flags -> all of --data, none of it for training.
      describe: (flags, data, record or None) -> the record.
      save: (workdir, record, flags); writes the record.
      open_record: workdir -> the record.
      make_task: (flags, data, record, params or None) -> the task of the loop.
      rounds: flags -> rounds of the whole run.
      report: (flags, session, data, history); evaluates, writes the page.
      predict: (flags, session, output file); the model on the user's files.
      export: (flags, folder) -> files.
      simulate, prepare: (flags, session).
      ensemble: of --seeds.
      needs: what --mode=predict reads, in words.
      prediction: name of the file that it writes by default.
      endings: of the files that it can write.
      leaves: files beside the page that a finished run has.
      begin: flags -> flags, before all work: checks and defaults.
      settle: (flags, data) -> flags of the training.
      start: flags -> weights that the flags name, None to draw them.
      finish: (flags, data, record, result); after a training, before its report.
      more: mode -> function, of modes that this system alone has.
    """

    config: type[RunConfig]
    best: Callable[[Any], tuple[str, str]]
    load: Callable[[Any, Any], Any]
    load_unseen: Callable[[Any], Any]
    make_task: Callable[[Any, Any, Any, Any], Task]
    rounds: Callable[[Any], int]
    report: Callable[[Any, app.Session, Any, list], None]
    predict: Callable[[Any, app.Session, str], None]
    export: Callable[[Any, pathlib.Path], Sequence[pathlib.Path]]
    simulate: Callable[[Any, app.Session], None]
    ensemble: Ensemble
    needs: str
    describe: Callable[[Any, Any, Any], Any] = _no_record
    save: Callable[[pathlib.Path, Any, Any], None] = _no_record
    open_record: Callable[[str | pathlib.Path], Any] = _no_record
    prepare: Callable[[Any, app.Session], None] = _nothing_to_prepare
    prediction: str = "prediction.parquet"
    endings: tuple[str, ...] = (".parquet",)
    leaves: tuple[str, ...] = ()
    begin: Callable[[Any], Any] = _as_it_is
    settle: Callable[[Any, Any], Any] = _settled
    start: Callable[[Any], Start | None] = _no_start
    finish: Callable[[Any, Any, Any, FitResult], None] = _nothing
    more: Mapping[str, app.Mode] = dataclasses.field(default_factory=dict)


def run(experiment: Experiment) -> None:
    """Runs the mode that ``sys.argv`` asks for and exits."""
    app.run(experiment.config, modes_of(experiment))


def modes_of(experiment: Experiment) -> dict[str, app.Mode]:
    """Returns every mode of an experiment: name -> function of (flags, session)."""
    standard = {
        "train": train,
        "evaluate": evaluate,
        "predict": predict,
        "export": export,
        "summarize": summarize,
    }
    return {
        **{name: _bound(mode, experiment) for name, mode in standard.items()},
        "simulate": _bound(simulate, experiment),
        "prepare": experiment.prepare,
        **experiment.more,
    }


def _bound(mode: Callable, experiment: Experiment) -> app.Mode:
    return lambda config, session: mode(experiment, config, session)


def train(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Reads or simulates data, trains from where the run stands, and reports."""
    config = experiment.begin(config)
    # said before all work if it is wrong
    begun = app.find_checkpoint(config, experiment.best(config))
    folder = app.open_workdir(config)
    start = experiment.start(config) if begun is None else None
    known = start.record if start else None
    if begun is not None:
        known = experiment.open_record(folder)
    with session.stage("data"):
        data = experiment.load(config, known)
        if begun is not None:
            runs.check_same_data(folder, data.fingerprint)
        record = experiment.describe(config, data, known)
        params = start.params if start else None
        task = experiment.make_task(config, data, record, params)
    if jax.process_index() == 0:
        experiment.save(folder, record, config)
        if begun is None or runs.data_of(folder) is None:
            runs.remember_data(folder, data.fingerprint)
    config = experiment.settle(config, data)
    with session.stage("training"):
        result = app.train(config, task, experiment.rounds(config))
    if jax.process_index() != 0:
        return
    page = folder / "report" / "report.html"
    left = [page, *(folder / name for name in experiment.leaves)]
    if begun == result.progress.step and all(path.exists() for path in left):
        print(f"the run was finished before: {page} (--mode=evaluate makes it anew)")
        return
    with session.stage("after the training"):
        experiment.finish(config, data, record, result)
    experiment.report(config, session, data, list(result.progress.history))


def evaluate(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Reports on the run's own test part, or on all of --data as unseen data."""
    if any(session.given(name) for name in experiment.config.DATA):
        data = experiment.load_unseen(config)
        runs.check_unseen(config.workdir, data.fingerprint, config.allow_training_data)
    else:
        data = experiment.load(config, experiment.open_record(config.workdir))
        runs.check_same_data(config.workdir, data.fingerprint)
    experiment.report(config, session, data, runs.history_of(config.workdir))


def predict(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Applies a trained run to the user's files and writes --output."""
    flags = experiment.config.PREDICTED
    if not any(session.given(name) for name in flags):
        raise ValueError(f"--{' or --'.join(flags)}: needed, {experiment.needs}")
    output = config.output or str(pathlib.Path(config.workdir) / experiment.prediction)
    if pathlib.Path(output).suffix not in experiment.endings:
        expected = " or ".join(experiment.endings)
        raise ValueError(f"--output={output}: expected a {expected} file")
    if (
        config.data
        and pathlib.Path(output).resolve() == pathlib.Path(config.data).resolve()
    ):
        raise ValueError(f"--output={output}: is --data itself")
    experiment.predict(config, session, output)


def export(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Writes a trained run in forms that other programs read."""
    del session
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    for path in experiment.export(config, folder):
        print(path)


def simulate(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Writes the default data of a system."""
    if session.given("seed"):
        raise ValueError("--seed: --mode=simulate draws by --data_seed")
    experiment.simulate(config, session)


def summarize(experiment: Experiment, config: Any, session: app.Session) -> None:
    """Writes mean and spread over the runs of --seeds."""
    shown, members = experiment.ensemble, {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        numbers = json.loads(path.read_text())["numbers"]
        members[f"seed {seed}"] = dict(shown.read(numbers))
    folder = pathlib.Path(config.workdir) / "report"
    found = write_ensemble(
        folder,
        experiment.config.EXPERIMENT,
        members,
        list(shown.columns.values()),
        keys=list(shown.columns),
        command=session.command,
    )
    words = shown.words(found["mean"], found["std"], members)
    print(f"{words} over {len(members)} seeds\nreport: {folder / 'report.html'}")


def page_of(
    config: Any, session: app.Session, history: Any, weights: Mapping[str, Any]
) -> RunPage:
    """Returns what the page of a run says of it, in --output or its own folder."""
    return RunPage(
        config.output or f"{config.workdir}/report",
        history,
        session.command,
        to_flagfile(config),
        session.timings,
        weights,
    )


def required(config: Any, flag: str, meaning: str) -> str:
    """Returns the value of a flag.

    Raises:
      ValueError: it is empty, saying what it means.
    """
    if not getattr(config, flag):
        raise ValueError(f"--{flag}: needed, {meaning}")
    return getattr(config, flag)


def check_alike(where: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuses weights that belong to another architecture.

    Args:
      where: they come from, in words.
      mine: flag -> value of this run.
      theirs: the same of the weights.

    Raises:
      ValueError: names every flag that differs, and both values.
    """
    others = [
        f"--{name} is {theirs.get(name)!r} there, {value!r} here"
        for name, value in mine.items()
        if theirs.get(name) != value
    ]
    if others:
        raise ValueError(f"{where}: weights of another network: {'; '.join(others)}")
