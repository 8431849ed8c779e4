"""Checkpoints: state and progress in one atomic step of an Orbax manager."""

import contextlib
import itertools
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from jaxphys.training.task import Progress, TrainState

CHECKPOINTS = "checkpoints"  # of a run, in its folder
_log = logging.getLogger(__name__)


class Checkpointer:
    """Saves and restores (state, progress) below one folder.

    The latest checkpoints, the best one and, where asked for, every n-th are kept. A
    checkpoint appears under its name only when it is complete, so whatever happens
    during a save, the one before it can be read.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        *,
        best: tuple[str, str] | None = None,
        keep_latest: int = 2,
        keep_every: int = 0,
        read_only: bool = False,
    ):
        """Opens or creates the folder.

        Args:
          folder: where the checkpoints lie.
          best: (scalar, "min" or "max") by which the best is chosen, among those of
            the last phase that was evaluated.
          keep_latest: how many of the latest to keep.
          keep_every: keep checkpoints whose step is a multiple of this; 0 is off.
          read_only: only look; a training that is under way is left alone.
        """
        self.folder = pathlib.Path(folder).resolve()
        self._best = best
        keep: list[Any] = [checkpoint_managers.LatestN(keep_latest)]
        if best is not None:
            # Orbax's own best_fn with max_to_keep deletes the latest checkpoint; below
            # it only makes Orbax write the metrics down
            keep.append(
                checkpoint_managers.BestN(
                    get_metric_fn=self._rank,
                    reverse=best[1] == "min",
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        if keep_every:
            keep.append(checkpoint_managers.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(keep),
            best_fn=(lambda metrics: metrics["best"]) if best is not None else None,
            best_mode=best[1] if best is not None else "max",
            cleanup_tmp_directories=not read_only,
            create=not read_only,
        )
        self._saving = -1
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "progress": ocp.JsonCheckpointHandler(),
            },
        )

    def steps(self) -> list[int]:
        """Returns the steps at which complete checkpoints exist, in order."""
        return sorted(self._manager.all_steps())

    def find(self, which: str) -> int | None:
        """Returns the step that a value of --resume means, None for a fresh start.

        Args:
          which: "auto", "none", "latest", "best" or a step.

        Raises:
          ValueError: the checkpoint does not exist, or the folder is used and
            "none" was asked for.
        """
        steps = self.steps()
        if which == "none":
            if steps:
                raise ValueError(
                    f"--resume=none, but {self.folder} holds checkpoints of steps "
                    f"{steps}: use another --workdir or --resume=latest"
                )
            return None
        if which == "auto" and not steps:
            return None
        if not steps:
            raise ValueError(f"--resume={which}: no checkpoint in {self.folder}")
        if which in ("auto", "latest"):
            return steps[-1]
        if which == "best":
            return self._best_step(steps)
        if not which.isdecimal() or int(which) not in steps:
            raise ValueError(
                f"--resume={which}: expected auto, none, latest, best or one of {steps}"
            )
        return int(which)

    def _best_step(self, steps: list[int]) -> int:
        found = {
            step: self._manager.metrics(step) or {"best": math.nan} for step in steps
        }
        ranked = {s: m for s, m in found.items() if math.isfinite(m["best"])}
        if self._best is None or not ranked:
            raise ValueError(f"--resume=best: no evaluated checkpoint in {self.folder}")
        choose = min if self._best[1] == "min" else max
        return choose(ranked, key=lambda step: self._rank(ranked[step]))

    def _rank(self, metrics: Mapping[str, float]) -> Any:
        """Returns what orders checkpoints: losses of phases cannot be compared."""
        value, phase = metrics["best"], metrics.get("phase", 0)
        sign = -1 if self._best is not None and self._best[1] == "min" else 1
        return sign * math.isfinite(value), sign * phase, value

    def save(
        self, state: TrainState, progress: Progress, scalars: Mapping[str, float]
    ) -> None:
        """Saves a checkpoint under the step of `progress`.

        Args:
          state: on the devices; copied before this returns.
          progress: where the run stands.
          scalars: of the latest evaluation of this very state, or empty.

        Raises:
          OSError: the folder cannot be written (full disk, no permission); every
            earlier checkpoint is intact.
        """
        metrics = None
        if self._best is not None:
            # a NaN would be taken for the best and drive out the true one
            value = scalars.get(self._best[0], math.nan)
            worst = math.inf if self._best[1] == "min" else -math.inf
            phases = [entry["phase"] for entry in progress.history if "phase" in entry]
            begun = sum(1 for _ in itertools.groupby(phases))
            best = value if math.isfinite(value) else worst
            metrics = {"best": best, "phase": begun}
        self.wait()
        self._saving = progress.step
        try:
            self._manager.save(
                progress.step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    progress=ocp.args.JsonSave(progress.to_json()),
                ),
                metrics=metrics,
                force=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OSError:
        self._manager.reload()  # it has struck off what it was about to delete
        return OSError(
            f"{self.folder}: checkpoint of step {self._saving} could not be written; "
            f"the complete ones are of steps {self.steps()}. {error}"
        )

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
          OSError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def restore(self, step: int, state: TrainState) -> tuple[TrainState, Progress]:
        """Restores a checkpoint onto the devices and the sharding of `state`.

        Args:
          step: from `find`.
          state: arrays, or shapes with shardings, of the expected tree.

        Returns:
          (state, progress).

        Raises:
          ValueError: the saved arrays have other names, shapes or types.
        """
        self._check_types(step, state)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        return self._read(step, abstract)

    def _read(self, step: int, abstract: Any) -> tuple[Any, Progress]:
        wanted = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()
        )
        with self._reading(step):
            found = self._manager.restore(step, args=wanted)
        return found["state"], Progress.from_json(found["progress"])

    def _saved_tree(self, step: int) -> Any:
        with self._reading(step):
            saved = self._manager.item_metadata(step)["state"]
        return getattr(saved, "tree", saved)

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns whatever Orbax and its stores raise into one line that names a way."""
        try:
            yield
        except Exception as error:
            others = [other for other in self.steps() if other != step]
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{self.folder / str(step)}: cannot be read, damaged? "
                f"({reason[:200]}); remove it to go on from {others or 'the start'}"
            ) from error

    def read_latest(self) -> tuple[dict[str, Any], Progress]:
        """Reads the latest checkpoint on one device, without knowing the task.

        Returns:
          (state as nested dicts, progress).

        Raises:
          ValueError: there is none.
        """
        steps = self.steps()
        if not steps:
            raise ValueError(f"no checkpoint in {self.folder}")
        step = steps[-1]
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
            self._saved_tree(step),
        )
        return self._read(step, abstract)

    def _check_types(self, step: int, state: TrainState) -> None:
        """Compares names, shapes and types, which Orbax would cast without a word."""
        have = {_name(path): leaf for path, leaf in _leaves(self._saved_tree(step))}
        want = {_name(path): leaf for path, leaf in _leaves(state)}
        if state.best is not None and not any(n.startswith("best/") for n in have):
            raise ValueError(
                f"{self.folder / str(step)}: of an earlier version, which kept no best "
                "weights: it can be used, not gone on with (--init_from takes weights)"
            )
        problems = [f"  {name}: not saved" for name in want if name not in have]
        problems += [f"  {name}: not expected" for name in have if name not in want]
        for name in want.keys() & have.keys():
            saved_kind = (tuple(have[name].shape), str(have[name].dtype))
            kind = (tuple(want[name].shape), str(want[name].dtype))
            if saved_kind != kind:
                problems.append(f"  {name}: saved {saved_kind}, expected {kind}")
        if problems:
            raise ValueError(
                f"{self.folder / str(step)}: another model or optimizer:\n"
                + "\n".join(sorted(problems))
            )

    def forget_after(self, step: int) -> None:
        """Deletes checkpoints later than `step`: the run goes on from there."""
        for later in self.steps():
            if later > step:
                _log.warning("%s: deleting checkpoint %d", self.folder, later)
                self._manager.delete(later)

    def close(self) -> None:
        """Waits for the last save and closes the manager."""
        self.wait()
        self._manager.close()


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _name(path: Any) -> str:
    return "/".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
        for key in path
    )
