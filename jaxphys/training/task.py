"""What an experiment tells the loop: its state, its pure steps and its data.

The loop owns time (rounds, devices, checkpoints, logging); the task owns meaning.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxphys.data.batches import Batches

PyTree = Any
Metrics = Mapping[str, tuple[jax.Array, jax.Array]]
Scalars = Mapping[str, float]


class TrainState(flax.struct.PyTreeNode):
    """Everything on the device that a training step reads and writes.

    Attributes:
      step: number of steps taken, int32; the loop advances it.
      params: weights; a dict of trees where a system has several networks.
      opt_state: state of the optimizer(s), in the same arrangement.
      extra: batch statistics, averaged weights, adaptive scalars.
      best: what `Task.best_of` gave of the best evaluation; the loop keeps it.
    """

    step: jax.Array
    params: PyTree
    opt_state: PyTree
    extra: PyTree = flax.struct.field(default_factory=dict)
    best: PyTree = None


def initial_state(
    params: PyTree, *, objective: Any = None, optimizer: Any
) -> TrainState:
    """Returns the state of step 0 of one network with one optimizer (of optax)."""
    del objective  # of a system whose state depends on it
    return TrainState(jnp.int32(0), params, optimizer.init(params))


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands, on the host; saved as JSON in every checkpoint.

    Attributes:
      step: training steps taken.
      round: rounds (passes over the training data) finished.
      step_in_round: steps taken in the round that is under way.
      phase: name of the phase that the next step belongs to.
      stop: why the run is over; empty while it is not.
      totals: metric name -> (weighted sum, weight) since the last evaluation.
      history: the scalars of every evaluation, in order.
      extra: numbers in float64 that decisions are made of (learning rate, best
        value, patience counters).
      best_phase: the phase of the best weights; see `jaxphys.training.best`.
    """

    step: int = 0
    round: int = 0
    step_in_round: int = 0
    phase: str = "train"
    stop: str = ""
    totals: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, float] = dataclasses.field(default_factory=dict)
    best_phase: str = ""

    def replace(self, **changes: Any) -> "Progress":
        """Returns a copy with other values."""
        return dataclasses.replace(self, **changes)

    def with_extra(self, **numbers: float) -> "Progress":
        """Returns a copy in which these entries of `extra` are set."""
        return self.replace(extra={**self.extra, **numbers})

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON types (a shallow copy; nothing is shared for writing)."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        found["totals"] = {key: list(pair) for key, pair in self.totals.items()}
        found["history"] = list(self.history)
        found["extra"] = dict(self.extra)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Progress":
        """Inverts `to_json`."""
        return cls(
            **{
                **found,
                "totals": {key: tuple(pair) for key, pair in found["totals"].items()},
                "history": tuple(found["history"]),
                "extra": dict(found["extra"]),
            }
        )


def weighted_means(
    totals: Mapping[str, tuple[float, float]], prefix: str = "train_"
) -> dict[str, float]:
    """Returns sum / weight under train_<name>; NaN where the weight is 0."""
    return {
        f"{prefix}{name}": float(total / weight) if weight else math.nan
        for name, (total, weight) in totals.items()
    }


def weights_and_statistics(state: TrainState) -> dict[str, PyTree]:
    """Returns {"params"} and, where a state has them, {"batch_stats"}."""
    names = [name for name in ("batch_stats",) if name in state.extra]
    return {"params": state.params, **{name: state.extra[name] for name in names}}


def _same_progress(progress: Progress, scalars: Scalars) -> Progress:
    del scalars
    return progress


def _same_state(state: TrainState, phase: str) -> TrainState:
    del phase
    return state


def _no_histograms(batches: Sequence[PyTree]) -> dict[str, Any]:
    del batches
    return {}


def _untouched_state(state: TrainState, extra: Any, scalars: Any) -> TrainState:
    del extra, scalars
    return state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """An experiment as the loop sees it.

    Attributes:
      init: key -> state of step 0.
      train_step: (state, batch, key, phase) -> (state, metrics), pure; metrics map a
        name to (weighted sum, weight). The loop adds 1 to `state.step`.
      eval_step: (state, batch, key, phase) -> a tree of arrays, pure: sums, or one
        entry per example.
      summarize: list of these trees, on the host as numpy -> {name: float}; an exact
        statistic of the whole data set, never a mean of means.
      histograms: the same list -> {name: values of any shape}, for TensorBoard.
      train_data: the training batches.
      eval_data: the batches of an evaluation, the same in every evaluation.
      first_phase: the phase in which training begins.
      advance: (progress, scalars) -> progress, on the host after an evaluation:
        phases, learning rates, early stopping.
      enter_phase: (state, phase) -> state, compiled; runs when `advance` changed the
        phase.
      after_eval: (state, extra, scalars) -> state, compiled; both mappings hold
        scalar arrays: `Progress.extra` and the evaluation. Sets the learning rate.
      on_step: optional (progress, metrics) -> progress after every step; forces one
        step per dispatch.
      best: (scalar, "min" or "max") by which weights and checkpoints are ranked; the
        loop keeps the best weights, see `jaxphys.training.best`.
      best_of: state -> {"params"} and maybe {"batch_stats"}, compiled: what was
        evaluated and is kept of a state.
      must_be_finite: scalars of an evaluation that end the run when they are not.
      announce: optional (progress, entry of the history) -> a line for the console
        after an evaluation.
      on_resume: optional progress -> progress, on the host when a checkpoint was
        restored: the phase of a run that goes on with a longer schedule.
      report_last: add the metrics of the last step to the scalars of an evaluation, as
        train_<name>_last.
    """

    init: Callable[[jax.Array], TrainState]
    train_step: Callable[
        [TrainState, PyTree, jax.Array, str], tuple[TrainState, Metrics]
    ]
    eval_step: Callable[[TrainState, PyTree, jax.Array, str], PyTree]
    summarize: Callable[[Sequence[PyTree]], dict[str, float]]
    train_data: Batches
    eval_data: Batches
    histograms: Callable[[Sequence[PyTree]], Mapping[str, Any]] = _no_histograms
    first_phase: str = "train"
    advance: Callable[[Progress, Scalars], Progress] = _same_progress
    enter_phase: Callable[[TrainState, str], TrainState] = _same_state
    after_eval: Callable[
        [TrainState, Mapping[str, jax.Array], Mapping[str, jax.Array]], TrainState
    ] = _untouched_state
    on_step: Callable[[Progress, Mapping[str, float]], Progress] | None = None
    best: tuple[str, str] | None = None
    best_of: Callable[[TrainState], PyTree] = weights_and_statistics
    must_be_finite: tuple[str, ...] = ()
    announce: Callable[[Progress, Mapping[str, Any]], str] | None = None
    on_resume: Callable[[Progress], Progress] | None = None
    report_last: bool = False


@dataclasses.dataclass(frozen=True)
class Interval:
    """Every `count` `unit`, for example every 5 rounds.

    Attributes:
      count: how many.
      unit: "steps", "rounds" or "seconds".
    """

    count: float
    unit: str

    @classmethod
    def parse(cls, text: str, *, flag: str, units: Sequence[str]) -> "Interval":
        """Reads "5 rounds" or "5rounds".

        Raises:
          ValueError: names the flag and what is allowed.
        """
        digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz").strip()
        unit = text.strip()[len(digits) :].strip() if digits else ""
        unit = unit if unit.endswith("s") or not unit else unit + "s"
        try:
            count = float(digits)
        except ValueError:
            count = -1.0
        whole = unit == "seconds" or count.is_integer()
        if unit not in units or not 0 < count < math.inf or not whole:
            raise ValueError(
                f"--{flag}={text!r}: expected a positive number and one of "
                f"{', '.join(units)}, for example '5 {units[0]}'"
            )
        return cls(count, unit)
