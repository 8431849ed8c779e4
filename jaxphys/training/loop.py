"""The one training loop: rounds, evaluations, checkpoints, logging, preemption."""

import functools
import math
import time
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxphys.data.batches import Batches, plan_stacks, read_stacks
from jaxphys.training import best as best_weights
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.compiled import Compiled
from jaxphys.training.mesh import process_rows, to_host
from jaxphys.training.process.preemption import Preempted, Preemption
from jaxphys.training.task import Interval, Progress, Task, TrainState, weighted_means
from jaxphys.training.writer import Console, Writer

PyTree = Any
# A call of more steps would answer SIGTERM late; fewer would be bound by dispatch.
MOST_STEPS_PER_CALL = 512
STACK_BYTES = 2**25  # of batches that are not on the device already
PLACED_BYTES = 2**28  # of an evaluation's batches that stay on the device


class NonFiniteError(ArithmeticError):
    """A metric became NaN or infinite."""


class FitResult(NamedTuple):
    """Where a run ended.

    Attributes:
      last: state after the last step.
      best: the same with the best weights; as it is while there are none.
      progress: on the host.
    """

    last: TrainState
    best: TrainState
    progress: Progress


def fit(
    task: Task,
    *,
    mesh: Mesh,
    rounds: int,
    eval_every: Interval = Interval(1, "rounds"),  # noqa: B008 (frozen)
    checkpoint_every: Interval = Interval(60, "seconds"),  # noqa: B008 (frozen)
    steps_per_call: int = 0,
    seed: int = 0,
    checkpointer: Checkpointer | None = None,
    resume: int | None = None,
    writer: Writer | None = None,
    console: Console | None = None,
    preemption: Preemption | None = None,
) -> FitResult:
    """Trains a task.

    The order is fixed: a call of some steps; at the end of a round (or every so many
    steps) evaluate, decide, apply; save when due; only then take the next batches.

    Args:
      task: what to train.
      mesh: the devices.
      rounds: rounds of the whole run, those before a resume included.
      eval_every: counted in steps or rounds; an evaluation changes the run (learning
        rate, phase), so it never depends on the clock.
      checkpoint_every: counted in steps, rounds or seconds.
      steps_per_call: steps per dispatch; 0: as many as fit a round.
      seed: of every random draw.
      checkpointer: where to save; None saves nothing.
      resume: step of the checkpoint to go on from; None begins at 0.
      writer: receives the scalars.
      console: shows where the run stands.
      preemption: asked between calls whether to end.

    Returns:
      The last and the best state, and the progress.

    Raises:
      NonFiniteError: names the metric and the step.
      Preempted: the run was asked to end and has been saved.
    """
    if eval_every.unit == "seconds":
        raise ValueError("eval_every in seconds would make the result depend on speed")
    run = Run(task, mesh, seed, eval_every, checkpoint_every, steps_per_call)
    run.checkpointer, run.writer, run.console = checkpointer, writer, console
    run.preemption = preemption
    if resume is not None:
        if checkpointer is None:
            raise ValueError(f"resume={resume} needs a checkpointer")
        run.state, run.progress = checkpointer.restore(
            resume, run.compiled.abstract_state
        )
        checkpointer.forget_after(resume)
        run.saved_step = resume
        run.take_up()
    else:
        run.state = run.compiled.init()
        run.progress = Progress(phase=task.first_phase)
    if writer is not None:
        writer.start(resume)
    while not run.progress.stop and run.progress.round < rounds:
        run.one_round(last=run.progress.round + 1 == rounds)
    run.save()
    if checkpointer is not None:
        checkpointer.wait()
    best = best_weights.with_best(run.state, run.progress)
    return FitResult(run.state, best, run.progress)


class Run:
    """The moving parts of `fit`."""

    state: TrainState
    progress: Progress
    checkpointer: Checkpointer | None
    writer: Writer | None
    console: Console | None
    preemption: Preemption | None

    def __init__(
        self,
        task: Task,
        mesh: Mesh,
        seed: int,
        eval_every: Interval,
        checkpoint_every: Interval,
        steps_per_call: int,
    ):
        self.task, self.compiled = task, Compiled(task, mesh, seed)
        self._mesh = mesh
        self._eval_every, self._save_every = eval_every, checkpoint_every
        self._steps_per_call = steps_per_call
        self._capacity: dict[str, int] = {}
        self._parts: dict[tuple[str, Hashable], slice] = {}
        self._eval_stacks: list[tuple[int, int, PyTree]] = []
        self._pending: list[tuple[int, PyTree]] = []
        self._scalars: dict[str, float] = {}  # of the state as it is now
        self._last: dict[str, tuple[float, float]] = {}  # metrics of the last step
        self._clock = self._save_clock = time.monotonic()
        self._clock_step, self._wait = 0, 0.0
        self.saved_step = -1

    def take_up(self) -> None:
        """Lets the task look at a restored run."""
        if self.task.on_resume is not None:
            self._change_progress(self.task.on_resume(self.progress))

    def _change_progress(self, progress: Progress) -> None:
        before, self.progress = self.progress.phase, progress
        if progress.phase != before:
            if self.task.best is not None:
                self.progress = best_weights.begin_phase(progress)
            self.state = self.compiled.enter_phase(self.state, progress.phase)

    def one_round(self, last: bool) -> None:
        """Trains one pass over the data, from wherever the round stands."""
        data, epoch = self.task.train_data, self.progress.round
        total = data.num_batches(epoch)
        capacity = self._room("train", data, epoch)
        plan = plan_stacks(
            data, epoch, self.progress.step_in_round, capacity, self._cut
        )
        rows = functools.partial(self._rows, "train", data, epoch)
        for _, count, stack in self._waited(read_stacks(data, epoch, plan, rows)):
            self.state, metrics = self.compiled.train(
                self.state, stack, epoch, count, self.progress.phase
            )
            self._advance_steps(count, metrics)
            if self.progress.step_in_round < total:
                self._look_up(total)
            if self.progress.stop:  # decided within the round
                return
        self.progress = self.progress.replace(round=epoch + 1, step_in_round=0)
        if self._is_due(self._eval_every, at_round_end=True):
            self.evaluate()
        self._show(total)
        if self._save_due(at_round_end=True) and not last:
            self.save()
        self._end_if_asked()

    def _waited(self, stacks: Iterator[Any]) -> Iterator[Any]:
        """Passes stacks on and adds up how long they were waited for."""
        while True:
            begin = time.monotonic()
            stack = next(stacks, None)
            self._wait += time.monotonic() - begin
            if stack is None:
                return
            yield stack

    def _look_up(self, total: int) -> None:
        """Does what is due within a round."""
        if self._is_due(self._eval_every, at_round_end=False):
            self.evaluate()
        if self._save_due(at_round_end=False):
            self.save()
        self._show(total)
        self._end_if_asked()

    def _advance_steps(self, count: int, metrics: PyTree) -> None:
        first = self.progress.step
        self._pending.append((first, (count, metrics)))
        self.progress = self.progress.replace(
            step=first + count, step_in_round=self.progress.step_in_round + count
        )
        self._scalars = {}
        # the metrics of the call before are ready while this one runs
        self._collect(keep=0 if self.task.on_step else 1)

    def _collect(self, keep: int = 0) -> None:
        """Adds the metrics of finished calls to the totals, in float64."""
        while len(self._pending) > keep:
            first, (count, metrics) = self._pending.pop(0)
            found = to_host(metrics)
            totals = dict(self.progress.totals)
            for name, (sums, weights) in found.items():
                sums = np.asarray(sums[:count], np.float64)
                weights = np.asarray(weights[:count], np.float64)
                bad = np.flatnonzero(~(np.isfinite(sums) & np.isfinite(weights)))
                if bad.size:
                    self._not_finite(f"train_{name}", first + int(bad[0]), totals)
                old = totals.get(name, (0.0, 0.0))
                totals[name] = (old[0] + sums.sum(), old[1] + weights.sum())
                self._last[name] = (sums[-1], weights[-1])
            self.progress = self.progress.replace(totals=totals)
            if self.task.on_step:
                first_of = {k: (s[0], w[0]) for k, (s, w) in found.items()}
                now = weighted_means(first_of, prefix="")
                self._change_progress(self.task.on_step(self.progress, now))

    def _not_finite(self, name: str, step: int, totals: Mapping[str, Any]) -> None:
        if self.writer is not None:
            self.writer.write(self.progress.step, weighted_means(totals))
            self.writer.write(self.progress.step, {"not_finite": name, "at": step})
        saved = "no checkpoint was written"
        if self.saved_step >= 0:
            saved = f"the last checkpoint is of step {self.saved_step}"
        raise NonFiniteError(
            f"{name} is not finite in step {step} "
            f"(round {self.progress.round}, phase {self.progress.phase}); {saved}"
        )

    def evaluate(self) -> None:
        """Evaluates, decides on the host and applies the decisions to the state."""
        self._collect()
        batches, running = [], (0, None)
        for first, count, stack in self._read_eval():
            found = self.compiled.evaluate(
                self.state, stack, first, count, self.progress.phase
            )
            batches += _unstack(*running)  # fetched while the next call runs
            running = (count, found)
        batches += _unstack(*running)
        scalars = {k: float(v) for k, v in self.task.summarize(batches).items()}
        if self.writer is not None:
            for name, values in self.task.histograms(batches).items():
                self.writer.write_histogram(self.progress.step, name, values)
        for name in self.task.must_be_finite:
            if not math.isfinite(scalars[name]):
                self._not_finite(name, self.progress.step, self.progress.totals)
        if self.task.report_last:
            last = weighted_means(self._last)
            scalars |= {f"{name}_last": value for name, value in last.items()}
        self._decide({**weighted_means(self.progress.totals), **scalars})

    def _decide(self, scalars: dict[str, float]) -> None:
        self._scalars = scalars
        progress, before = self.progress, self.progress.phase
        if self.task.best is not None:
            progress = best_weights.track(progress, scalars, self.task.best)
        progress = self.task.advance(progress, scalars)
        entry = {"round": progress.round, "phase": before, **scalars}
        if "learning_rate" in progress.extra:
            entry["learning_rate"] = progress.extra["learning_rate"]
        history = (*progress.history, {"step": progress.step, **entry})
        self.state = self.compiled.after_eval(self.state, progress.extra, scalars)
        self._change_progress(progress.replace(totals={}, history=history))
        now = time.monotonic()
        spent = max(now - self._clock, 1e-9)
        entry["steps_per_second"] = (progress.step - self._clock_step) / spent
        entry["input_wait"] = self._wait / spent
        self._clock, self._clock_step, self._wait = now, progress.step, 0.0
        if self.writer is not None:
            self.writer.write(progress.step, entry)
        if self.console is not None and self.task.announce is not None:
            self.console.say(self.task.announce(self.progress, entry))

    def _read_eval(self) -> Any:
        """Yields the stacks of an evaluation; those that are only rows stay placed."""
        data = self.task.eval_data
        if self._eval_stacks:
            yield from self._eval_stacks
            return
        capacity = self._room("eval", data, 0)
        plan = plan_stacks(data, 0, 0, capacity, lambda index: capacity)
        stays = data.resident(0) is not None
        stacks, held = [], 0
        rows = functools.partial(self._rows, "eval", data, 0)
        for first, count, stack in read_stacks(data, 0, plan, rows):
            placed = self.compiled.place_stack(stack)
            held += _num_bytes(stack)
            if stays and held <= PLACED_BYTES:
                stacks.append((first, count, placed))
            else:
                stays, stacks = False, []
            yield first, count, placed
        self._eval_stacks = stacks

    def _room(self, name: str, data: Batches, epoch: int) -> int:
        """Returns the places of a stack: the same for the whole run."""
        if name not in self._capacity:
            room = self._steps_per_call or MOST_STEPS_PER_CALL
            # beside what is resident a batch may bring data along too
            one = data.batch(epoch, 0, self._rows(name, data, epoch, 0))
            room = min(room, max(1, STACK_BYTES // max(_num_bytes(one), 1)))
            room = min(room, data.num_batches(epoch))
            if name == "train":
                for interval in (self._eval_every, self._save_every):
                    if interval.unit == "steps":
                        room = min(room, int(interval.count))
                if self.task.on_step:
                    room = 1
            self._capacity[name] = max(room, 1)
        return self._capacity[name]

    def _rows(self, name: str, data: Batches, epoch: int, index: int) -> slice:
        """Returns the rows of a global batch that this process reads."""
        key = (name, data.shape_key(epoch, index))
        if key not in self._parts:
            whole = data.batch(epoch, index, slice(None))
            count = len(jax.tree.leaves(whole)[0])
            self._parts[key] = process_rows(self._mesh, count)
        return self._parts[key]

    def _cut(self, index: int) -> int:
        """Returns how many batches may go from this index on before we look up."""
        step = self.progress.step - self.progress.step_in_round + index
        counts = [
            int(interval.count) - step % int(interval.count)
            for interval in (self._eval_every, self._save_every)
            if interval.unit == "steps"
        ]
        return min(counts, default=self._capacity["train"])

    def _is_due(self, interval: Interval, at_round_end: bool) -> bool:
        if interval.unit == "steps":
            return self.progress.step % int(interval.count) == 0
        return at_round_end and self.progress.round % int(interval.count) == 0

    def _save_due(self, at_round_end: bool) -> bool:
        if self.checkpointer is None:
            return False
        if self._save_every.unit != "seconds":
            return self._is_due(self._save_every, at_round_end)
        due = time.monotonic() - self._save_clock >= self._save_every.count
        if jax.process_count() > 1:  # one clock decides for all
            due = bool(multihost_utils.broadcast_one_to_all(np.array(due)))
        return due

    def save(self) -> None:
        """Saves unless this step is saved; metrics so far are checked first."""
        self._collect()
        if self.checkpointer is None or self.progress.step == self.saved_step:
            return
        self.checkpointer.save(self.state, self.progress, self._scalars)
        self.saved_step = self.progress.step
        self._save_clock = time.monotonic()

    def _show(self, total: int) -> None:
        if self.console is not None:
            fraction = self.progress.step_in_round / max(total, 1)
            rounds = self.progress.round + fraction
            self.console.update(self.progress, rounds, self._scalars or None)

    def _end_if_asked(self) -> None:
        if self.preemption is None or not self.preemption.reached():
            return
        where = "nothing was saved: there is no workdir"
        if self.checkpointer is not None:
            self.save()
            self.checkpointer.wait()
            where = f"saved at step {self.progress.step}"
        raise Preempted(f"asked to end; {where}. The same command goes on from there")


def _unstack(count: int, outputs: PyTree) -> list[PyTree]:
    found = to_host(outputs)
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(count)]


def _num_bytes(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
