"""The best weights of a run: which evaluation chose them, and how they are read.

The loop keeps them for every task with a `best`: the tree in `TrainState.best`, value,
step and phase in `Progress`, both in the same checkpoint. They are those of one phase:
losses of different phases cannot be compared, so the first finite evaluation of a phase
takes over from the phase before, which stays the best until then.
"""

import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxphys.training.checkpoint import CHECKPOINTS, Checkpointer
from jaxphys.training.task import (
    Progress,
    Scalars,
    TrainState,
    weights_and_statistics,
)

WEIGHTS = ("best", "last")

PyTree = Any


def begin_phase(progress: Progress) -> Progress:
    """Lets the next finite evaluation become the best, whatever came before."""
    return progress.with_extra(best_fresh=1.0)


def track(progress: Progress, scalars: Scalars, best: tuple[str, str]) -> Progress:
    """Records whether an evaluation is the best of its phase.

    Args:
      progress: in the phase that was evaluated.
      scalars: of the evaluation.
      best: (scalar, "min" or "max").

    Returns:
      The progress with the best phase and, in `extra`, best_value, best_step (-1: none
      was finite yet), best_bad (evaluations since), best_is_now (1: this one) and
      best_fresh (1: none of this phase was finite yet).
    """
    name, mode = best
    value, old = scalars[name], progress.extra
    worst = math.inf if mode == "min" else -math.inf
    fresh = old.get("best_fresh", 1.0)
    known = old.get("best_value", worst)
    ahead = value < known if mode == "min" else value > known
    better = math.isfinite(value) and bool(fresh or ahead)
    if better:
        progress = progress.replace(best_phase=progress.phase)
    return progress.with_extra(
        best_value=value if better else known,
        best_step=float(progress.step) if better else old.get("best_step", -1.0),
        best_bad=0.0 if better else old.get("best_bad", 0.0) + 1,
        best_is_now=float(better),
        best_fresh=0.0 if better else fresh,
    )


def exists(progress: Progress) -> bool:
    """Returns whether an evaluation was finite, so that there are best weights."""
    return progress.extra.get("best_step", -1.0) >= 0


def with_best(state: TrainState, progress: Progress) -> TrainState:
    """Returns a state with the best weights, or as it is while there are none."""
    if state.best is None or not exists(progress):
        return state
    if "batch_stats" in state.best:
        extra = {**state.extra, "batch_stats": state.best["batch_stats"]}
        state = state.replace(extra=extra)
    return state.replace(params=state.best["params"])


class Weights(NamedTuple):
    """Weights of a run as they are read.

    Attributes:
      params: as the task says which (`Task.best_of`).
      batch_stats: running statistics; empty where there are none.
      weights: "best" or "last", what they are.
      step: that they are of.
      phase: of this step.
    """

    params: PyTree
    batch_stats: PyTree
    weights: str
    step: int
    phase: str

    def facts(self) -> dict[str, Any]:
        """Returns where they come from, for the metadata of a loaded run."""
        return {
            "weights": self.weights,
            "weights_step": self.step,
            "weights_phase": self.phase,
        }


def read_weights(
    workdir: str | os.PathLike,
    weights: str = "best",
    best_of: Callable[[TrainState], PyTree] = weights_and_statistics,
) -> tuple[Weights, Progress]:
    """Reads the weights of a run from its latest checkpoint.

    Args:
      workdir: of the run.
      weights: "best", or the last ones where no evaluation was finite yet; or "last".
      best_of: that of the task.

    Returns:
      (weights, progress of the run).

    Raises:
      ValueError: `weights` is neither, or there is no checkpoint.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights={weights!r}: expected {' or '.join(WEIGHTS)}")
    folder = pathlib.Path(workdir) / CHECKPOINTS
    state, progress = Checkpointer(folder, read_only=True).read_latest()
    found = choose(TrainState(**state), progress, weights, best_of)
    if found.weights != weights:
        print(
            f"{workdir}: no best weights yet, the last ones are taken", file=sys.stderr
        )
    return found, progress


def choose(
    state: TrainState,
    progress: Progress,
    weights: str = "best",
    best_of: Callable[[TrainState], PyTree] = weights_and_statistics,
) -> Weights:
    """Returns the weights of a state; see `read_weights`."""
    if weights == "best":
        if state.best is not None and exists(progress):
            where = int(progress.extra["best_step"]), progress.best_phase
            return _weights(state.best, "best", *where)
        if "best_params" in (state.extra or {}):
            old = _of_old_run(state.extra["best_params"], progress)
            if old is not None:
                return old
    return _weights(best_of(state), "last", progress.step, progress.phase)


def _weights(tree: PyTree, *where: Any) -> Weights:
    return Weights(tree["params"], tree.get("batch_stats", {}), *where)


def _of_old_run(tree: PyTree, progress: Progress) -> Weights | None:
    """Returns the best weights that the recipe of a run kept in place of the loop."""
    value = progress.extra.get("best_value", math.nan)
    chosen = [entry for entry in progress.history if value in entry.values()]
    if not math.isfinite(value) or not chosen:
        return None
    found: dict[str, Any] = {"params": tree}
    if all(isinstance(v, Mapping) and "batch_stats" in v for v in tree.values()):
        # several networks, each with its statistics
        found = {
            part: {name: own[part] for name, own in tree.items()}
            for part in ("params", "batch_stats")
        }
    return _weights(found, "best", chosen[0]["step"], chosen[0]["phase"])
