"""From a command line to a mode of an experiment, and a run in its workdir."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from jax.experimental import multihost_utils

from jaxphys import command_line
from jaxphys import config as configs
from jaxphys.flag_help import help_of
from jaxphys.training.checkpoint import CHECKPOINTS, Checkpointer
from jaxphys.training.loop import FitResult, NonFiniteError, fit
from jaxphys.training.mesh import make_mesh, to_host
from jaxphys.training.process.preemption import EXIT_CODE, Preempted, Preemption
from jaxphys.training.task import Interval, Task
from jaxphys.training.writer import Console, Writer

CONFIG_FILE = "config.flags"
# These say what one call does, not what the run is.
_PER_CALL = (
    "mode",
    "workdir",
    "resume",
    "output",
    "plain_log",
    "traceback",
    "seeds",
    "allow_training_data",
)


@dataclasses.dataclass
class Session:
    """One call of an experiment.

    Attributes:
      command: the command line, for the report.
      flags: names of the flags that the command line gives.
      timings: stage -> wall time in seconds.
    """

    command: str = ""
    flags: frozenset[str] = frozenset()
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    _started: float = dataclasses.field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage."""
        begin = time.monotonic()
        yield
        spent = time.monotonic() - begin
        self.timings[name] = self.timings.get(name, 0.0) + spent

    def given(self, flag: str) -> bool:
        """Returns whether the command line gives a flag."""
        return flag in self.flags

    def seconds(self) -> float:
        """Returns the wall time since the call began."""
        return time.monotonic() - self._started


Mode = Callable[[Any, Session], None]


def run(config_class: type[configs.RunConfig], modes: Mapping[str, Mode]) -> None:
    """Runs an experiment from ``sys.argv`` and exits.

    Args:
      config_class: its configuration.
      modes: mode -> function of (configuration, session).
    """
    command_line.define_flags(config_class)
    parse = functools.partial(_parse, config_class)
    app.run(functools.partial(_main, modes), flags_parser=parse)


def _parse(config_class: type[configs.RunConfig], argv: Sequence[str]) -> Any:
    if any(word.lstrip("-") in ("help", "helpfull", "h") for word in argv[1:]):
        choices = {"mode": config_class.MODES, "precision": config_class.PRECISIONS}
        print(help_of(config_class, choices))
        sys.exit(0)
    try:
        config = command_line.parse_command_line(config_class, argv[1:], flags.FLAGS)
        given = command_line.given_flags(config_class, flags.FLAGS)
        config = resolve(_absolute_paths(config), given)
        _intervals(config)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    module = f"experiments.{config.EXPERIMENT}"
    command = shlex.join(["python", "-m", module, *argv[1:]])
    return config, Session(command, frozenset(given))


def _main(modes: Mapping[str, Mode], parsed: tuple[Any, Session]) -> None:
    config, session = parsed
    logging.set_verbosity(logging.WARNING)
    logging.set_stderrthreshold(logging.WARNING)
    start_devices(config)
    try:
        if config.mode == "train" and config.seeds:
            for seed in config.seeds:
                print(f"seed {seed}", file=sys.stderr)
                member = resolve(of_seed(config, seed), (*session.flags, "seed"))
                modes["train"](member, Session(session.command))
            if "summarize" in modes:
                modes["summarize"](config, session)
            return
        modes[config.mode](config, session)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        sys.exit(130)
    except Preempted as stop:
        print(stop, file=sys.stderr)
        sys.exit(EXIT_CODE)
    except (ValueError, OSError, ImportError, NonFiniteError) as error:
        if config.traceback:
            raise
        print(f"error: {error}\n(--traceback shows where it arose)", file=sys.stderr)
        sys.exit(1)


def _absolute_paths(config: Any) -> Any:
    """A run must find its files again from any folder."""
    found = {name: getattr(config, name) for name in config.PATHS}
    return config.replace(
        **{name: _absolute(value) for name, value in found.items() if value}
    )


def _absolute(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(str(_absolute(path)) for path in value)
    return value if "://" in value else os.path.abspath(value)


def _intervals(config: configs.RunConfig) -> tuple[Interval, Interval]:
    units = ("steps", "rounds", "seconds")
    return (
        Interval.parse(config.eval_every, flag="eval_every", units=units[:2]),
        Interval.parse(config.checkpoint_every, flag="checkpoint_every", units=units),
    )


def of_seed(config: configs.RunConfig, seed: int) -> Any:
    """Returns the configuration of one member of an ensemble."""
    folder = str(pathlib.Path(config.workdir) / f"seed_{seed}")
    return config.replace(seed=seed, seeds=(), workdir=folder)


def start_devices(config: configs.RunConfig) -> None:
    """Sets the arithmetic that --precision asks for and joins other processes."""
    if config.multihost:
        jax.distributed.initialize()
    jax.config.update("jax_enable_x64", config.precision == "float64")
    matmul = {"tensorfloat32": "tensorfloat32", "bfloat16": "bfloat16"}
    jax.config.update(
        "jax_default_matmul_precision", matmul.get(config.precision, "highest")
    )


def compute_dtype(config: configs.RunConfig) -> Any:
    """Returns the type that a model computes in under --precision."""
    return {"bfloat16": jnp.bfloat16, "float64": jnp.float64}.get(
        config.precision, jnp.float32
    )


def weight_dtype(config: configs.RunConfig) -> Any:
    """Returns the type of weights and optimizers under --precision."""
    return jnp.float64 if config.precision == "float64" else jnp.float32


def resolve(config: configs.RunConfig, given: Sequence[str]) -> Any:
    """Merges a command line with the configuration of the run in its workdir.

    Flags that are not given keep the value that the run began with; given ones may
    only change what may change. Data that a call names for --mode=evaluate or predict
    take the place of all flags that name data of the run.

    Args:
      config: from the command line.
      given: names of the flags that are on it.

    Returns:
      The configuration of this call.

    Raises:
      ValueError: a run of another experiment, a change of its meaning, or no run
        where one is needed.
    """
    if config.mode in config.WITHOUT_RUN:
        return config
    if not config.workdir:
        raise ValueError("--workdir: needed, the folder of the run")
    path = pathlib.Path(config.workdir) / CONFIG_FILE
    if config.seeds:
        return config
    if not path.exists():
        if config.mode != "train":
            raise ValueError(f"--workdir={config.workdir}: no run there ({path})")
        return config
    checkpoints = path.with_name(CHECKPOINTS).glob("*")
    begun = any(found.name.isdecimal() for found in checkpoints)
    saved = command_line.read_flagfile(type(config), path)  # of this experiment?
    if config.mode == "train" and not begun:
        return config  # a start that failed says nothing about this one
    named = {"evaluate": config.DATA, "predict": config.PREDICTED}.get(config.mode, ())
    own = {*_PER_CALL, *given}
    if set(named) & set(given):
        own |= {*named, *config.RANGES}
    kept = {
        field.name: getattr(saved, field.name)
        for field in dataclasses.fields(config)
        if field.name not in own
    }
    merged = config.replace(**kept)
    configs.check_resume(saved, merged)
    return merged


def open_workdir(config: configs.RunConfig) -> pathlib.Path:
    """Creates the workdir and writes the configuration into it.

    Raises:
      OSError: it cannot be written, naming the flag.
    """
    folder = pathlib.Path(config.workdir)
    if jax.process_index() == 0:
        draft = folder / f"{CONFIG_FILE}.draft"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(command_line.to_flagfile(config))
            os.replace(draft, folder / CONFIG_FILE)
        except OSError as error:
            raise OSError(
                f"--workdir={folder}: cannot be written: {error.strerror or error}"
            ) from error
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("workdir")
    return folder


def open_checkpoints(config: configs.RunConfig, task: Task | None) -> Checkpointer:
    """Opens the checkpoints of a run."""
    return Checkpointer(
        pathlib.Path(config.workdir) / CHECKPOINTS,
        best=task.best if task else None,
        keep_latest=config.keep_checkpoints,
        keep_every=config.keep_every,
    )


def find_checkpoint(
    config: configs.RunConfig, best: tuple[str, str] | None = None
) -> int | None:
    """Returns the step that --resume means; None for a fresh start.

    Args:
      config: of this call.
      best: that of the task, for --resume=best.

    Raises:
      ValueError: there is no such checkpoint.
    """
    folder = pathlib.Path(config.workdir) / CHECKPOINTS
    if not folder.is_dir():
        if config.resume in ("auto", "none"):
            return None
        raise ValueError(f"--resume={config.resume}: no checkpoint in {folder}")
    keeper = Checkpointer(folder, best=best, read_only=True)
    with contextlib.closing(keeper):
        return keeper.find(config.resume)


def train(config: configs.RunConfig, task: Task, rounds: int) -> FitResult:
    """Trains a task in the workdir, from where a former call left it.

    Args:
      config: of this call.
      task: what to train.
      rounds: rounds of the whole run.

    Returns:
      Where the run ended, with whole arrays in numpy on every process.
    """
    eval_every, checkpoint_every = _intervals(config)
    folder = pathlib.Path(config.workdir)
    first = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        keeper = stack.enter_context(contextlib.closing(open_checkpoints(config, task)))
        resume = keeper.find(config.resume)
        writer = console = None
        if first:
            writer = Writer(folder)
            console = Console(rounds, plain=config.plain_log)
            stack.enter_context(contextlib.closing(writer))
            stack.enter_context(contextlib.closing(console))
        if resume is not None and first:
            print(f"resuming at step {resume} of {folder}", file=sys.stderr)
        with Preemption() as preemption:
            result = fit(
                task,
                mesh=make_mesh(config.mesh),
                rounds=rounds,
                eval_every=eval_every,
                checkpoint_every=checkpoint_every,
                steps_per_call=config.steps_per_call,
                seed=config.seed,
                checkpointer=keeper,
                resume=resume,
                writer=writer,
                console=console,
                preemption=preemption,
            )
    # one process alone cannot read arrays that are split over several
    last, best = to_host((result.last, result.best))
    return FitResult(last, best, result.progress)
