"""Small pure functions of (progress, scalars): what is decided after an evaluation."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxphys.training.optimizers import set_learning_rate
from jaxphys.training.task import Progress, Scalars, TrainState

Advance = Callable[[Progress, Scalars], Progress]


def chain(*parts: Advance) -> Advance:
    """Applies several rules one after the other."""

    def advance(progress: Progress, scalars: Scalars) -> Progress:
        for part in parts:
            progress = part(progress, scalars)
        return progress

    return advance


def stop_when_impatient(metric: str, mode: str, patience: int) -> Advance:
    """Ends the run after `patience` evaluations without a better value; 0 is off.

    Args:
      metric: name of the scalar.
      mode: "min" or "max".
      patience: evaluations without improvement that are tolerated.
    """
    sign = 1 if mode == "min" else -1

    def advance(progress: Progress, scalars: Scalars) -> Progress:
        best = progress.extra.get("stop_value", sign * math.inf)
        better = sign * scalars[metric] < sign * best  # a NaN never is
        bad = 0.0 if better else progress.extra.get("stop_bad", 0) + 1
        progress = progress.with_extra(
            stop_value=scalars[metric] if better else best, stop_bad=bad
        )
        if patience and bad >= patience:
            return progress.replace(
                stop=f"{metric} has not improved in {patience} evaluations"
            )
        return progress

    return advance


def record_rate(schedule: Callable[[int], Any]) -> Advance:
    """Records the rate of a schedule: `extra` gets learning_rate, for the eye only."""
    return lambda progress, scalars: progress.with_extra(
        learning_rate=float(schedule(progress.step))
    )


@dataclasses.dataclass(frozen=True)
class Plateau:
    """PyTorch's ReduceLROnPlateau, decided on the host in float64.

    Attributes:
      metric: name of the scalar.
      learning_rate: rate at the start.
      factor: what a reduction multiplies the rate by.
      patience: evaluations without improvement that are tolerated.
      mode: "min" or "max".
      threshold: relative improvement that counts.
      cooldown: evaluations after a reduction during which nothing counts as bad.
      min_lr: the rate never falls below.
      eps: a smaller change of the rate is not made.

    Reference: torch.optim.lr_scheduler.ReduceLROnPlateau, threshold_mode "rel".
    """

    metric: str
    learning_rate: float
    factor: float = 0.5
    patience: int = 100
    mode: str = "min"
    threshold: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __call__(self, progress: Progress, scalars: Scalars) -> Progress:
        """Advances the plateau by one evaluation; `extra` gets learning_rate."""
        worst = math.inf if self.mode == "min" else -math.inf
        best = progress.extra.get("plateau_best", worst)
        bad = progress.extra.get("plateau_bad", 0.0)
        cooling = progress.extra.get("plateau_cooling", 0.0)
        rate = progress.extra.get("learning_rate", self.learning_rate)
        value = scalars[self.metric]
        if self._is_better(value, best):
            best, bad = value, 0.0
        else:
            bad += 1
        if cooling > 0:
            cooling, bad = cooling - 1, 0.0
        if bad > self.patience:
            lower = max(rate * self.factor, self.min_lr)
            rate = lower if rate - lower > self.eps else rate
            cooling, bad = float(self.cooldown), 0.0
        return progress.with_extra(
            plateau_best=best,
            plateau_bad=bad,
            plateau_cooling=cooling,
            learning_rate=rate,
        )

    def _is_better(self, value: float, best: float) -> bool:
        if self.mode == "min":
            return value < best * (1 - self.threshold)
        return value > best * (1 + self.threshold)


def apply_learning_rate(
    state: TrainState, extra: Mapping[str, jax.Array], scalars: Mapping[str, Any]
) -> TrainState:
    """Sets the rate that `Plateau` decided in the optimizer's state."""
    del scalars
    return state.replace(
        opt_state=set_learning_rate(state.opt_state, extra["learning_rate"])
    )
