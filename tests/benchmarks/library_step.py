"""The library's side of `training_step`: imported once the process is pinned."""

import functools

import jax
import numpy as np

from jaxphys.data.batches import ArrayBatches, sequential, shuffled
from jaxphys.track_extrapolator.model.model import TrackMLP
from jaxphys.track_extrapolator.training import step
from jaxphys.training.loop import Run
from jaxphys.training.mesh import make_mesh
from jaxphys.training.optimizers import make_optimizer
from jaxphys.training.task import Interval, Progress, Task
from tests.benchmarks.training_step import BATCH, ROWS, random_data, sized


def measure_jax(hidden, seconds):
    """Returns the cost of our steps: the compiled call alone, and the whole loop.

    "step" repeats one call whose rows are on the device; "pipeline" is what a run does
    in a round: a new permutation, its rows to the device, the metrics back.
    """
    run = library_run(hidden)
    data, compiled = run.task.train_data, run.compiled
    per_round = data.num_batches(0)
    stack = {
        "rows": np.tile(np.arange(BATCH, dtype=np.int32), (per_round, 1)),
        "weight": np.ones((per_round, BATCH), np.float32),
    }

    def repeat_call(steps):
        for _ in range(-(-steps // per_round)):
            run.state, metrics = compiled.train(run.state, stack, 0, per_round, "train")
        jax.block_until_ready(metrics)

    def rounds(steps):
        for _ in range(-(-steps // per_round)):
            run.one_round(last=True)
        jax.block_until_ready(run.state)

    return {
        "step": sized(repeat_call, seconds, per_round),
        "pipeline": sized(rounds, seconds, per_round),
    }


def library_run(hidden):
    """Returns a run of the library's loop with the original's recipe."""
    x, y = random_data()
    model = TrackMLP(hidden, "tanh")
    variables = model.init(jax.random.key(0), x[:1])
    objective = step.Objective(model, variables["stats"], raw=True)
    optimizer = make_optimizer("adamw", 1e-3, weight_decay=1e-5)
    arrays = {"inputs": x, "target": y}
    bound = {"objective": objective, "optimizer": optimizer}
    task = Task(
        init=lambda key: step.initial_state(variables["params"], **bound),
        train_step=functools.partial(step.train_step, **bound),
        eval_step=lambda state, batch, key, phase: batch["weight"],
        summarize=lambda batches: {},
        train_data=ArrayBatches(arrays, BATCH, shuffled(ROWS, 0)),
        eval_data=ArrayBatches(arrays, BATCH, sequential(ROWS)),
    )
    never = Interval(10**9, "rounds")
    run = Run(task, make_mesh("data:1"), 0, never, never, 0)
    run.state, run.progress = run.compiled.init(), Progress()
    run.checkpointer = run.writer = run.console = run.preemption = None
    return run
