"""What the compiled steps promise: keys by step, one placement, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.data.batches import ArrayBatches, sequential
from jaxphys.training import loop
from jaxphys.training.compiled import Compiled, initial_key
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Interval, Task, TrainState
from tests.data.variable import BucketBatches
from tests.training.toy import make_task, toy_data


def one_device():
    return make_mesh("data:1")


def recording_task(**changes):
    """Returns a task whose metrics are the key and the data of every step."""

    def train_step(state, batch, key, phase):
        bits = jax.random.key_data(key)[0].astype(jnp.uint32)
        one = jnp.float32(1)
        metrics = {
            "key_low": ((bits & 0xFFFF).astype(jnp.float32), one),
            "key_high": ((bits >> 16).astype(jnp.float32), one),
            "x": (jnp.sum(batch["x"] * batch["weight"]), one),
        }
        return state, metrics

    def eval_step(state, batch, key, phase):
        return {"key": jax.random.key_data(key)}

    count = len(changes.pop("x", np.zeros(10)))
    settings = {
        "init": lambda key: TrainState(jnp.int32(0), {"w": jnp.zeros(2)}, ()),
        "train_step": train_step,
        "eval_step": eval_step,
        "summarize": lambda batches: {},
        "train_data": ArrayBatches(
            {"x": np.arange(count, dtype=np.float32)}, 2, sequential(count)
        ),
        "eval_data": ArrayBatches({"x": np.zeros(6, np.float32)}, 2, sequential(6)),
    }
    return Task(**{**settings, **changes})


def recorded(task, calls, epoch=0, seed=0):
    """Returns the metrics of every step, taken in calls of the given counts."""
    compiled = Compiled(task, one_device(), seed)
    state, found, index = compiled.init(), [], 0
    for count in calls:
        rows = [
            task.train_data.batch(epoch, index + i, slice(None)) for i in range(count)
        ]
        rows += [rows[-1]] * (5 - count)
        stack = jax.tree.map(lambda *x: np.stack(x), *rows)
        state, metrics = compiled.train(state, stack, epoch, count, "train")
        for i in range(count):
            found.append({k: float(v[0][i]) for k, v in metrics.items()})
        index += count
    assert int(state.step) == index
    return found


@pytest.mark.parametrize("calls", [(5,), (1,) * 5, (2, 3), (4, 1)])
def test_key_and_batch_of_a_step_do_not_depend_on_the_grouping(calls):
    task = recording_task()
    found = recorded(task, calls)
    root = jax.random.fold_in(jax.random.key(0), 1)
    for step, row in enumerate(found):
        bits = int(jax.random.key_data(jax.random.fold_in(root, step))[0])
        assert (row["key_low"], row["key_high"]) == (bits & 0xFFFF, bits >> 16)
        assert row["x"] == 4 * step + 1


def test_keys_differ_by_step_seed_and_purpose():
    task = recording_task()
    keys = {
        (row["key_low"], row["key_high"])
        for seed in (0, 1)
        for row in recorded(task, (5,), seed=seed)
    }
    assert len(keys) == 10
    compiled = Compiled(task, one_device(), 0)
    stack = {"rows": np.zeros((3, 2), np.int32), "weight": np.ones((3, 2), np.float32)}
    found = compiled.evaluate(compiled.init(), stack, 0, 3, "train")
    assert len({tuple(row) for row in np.asarray(found["key"])}) == 3
    first = tuple(np.asarray(jax.random.key_data(initial_key(0))))
    assert first not in {tuple(row) for row in np.asarray(found["key"])}


def test_evaluation_keys_are_the_same_in_every_evaluation_and_grouping():
    task = recording_task()
    compiled = Compiled(task, one_device(), 0)
    state = compiled.init()
    one = {"rows": np.zeros((3, 2), np.int32), "weight": np.ones((3, 2), np.float32)}
    together = np.asarray(compiled.evaluate(state, one, 0, 3, "train")["key"])
    apart = [
        np.asarray(compiled.evaluate(state, one, i, 1, "train")["key"][0])
        for i in range(3)
    ]
    np.testing.assert_array_equal(together, np.stack(apart))


def test_places_beyond_the_count_change_neither_state_nor_step():
    task = make_task(noise=0.0)
    compiled = Compiled(task, one_device(), 0)
    rows = [task.train_data.batch(0, i, slice(None)) for i in range(3)]
    stacks = [
        jax.tree.map(lambda *x: np.stack(x), *rows, *[rows[j]] * 2) for j in (0, 2)
    ]
    ends = [compiled.train(compiled.init(), s, 0, 3, "train")[0] for s in stacks]
    for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(ends[0].step) == 3


def test_resident_arrays_are_placed_once_and_again_only_when_they_change(monkeypatch):
    placed = []
    original = jax.device_put

    def spy(tree, *args, **kwargs):
        if isinstance(tree, dict) and "x" in tree:
            placed.append(tree["x"])
        return original(tree, *args, **kwargs)

    monkeypatch.setattr(jax, "device_put", spy)
    loop.fit(make_task(), mesh=one_device(), rounds=4, steps_per_call=2)
    assert len(placed) == 2  # training and validation arrays

    placed.clear()

    def fresh(epoch):
        return toy_data(epoch)

    source = ArrayBatches(fresh, 32, sequential(150))
    loop.fit(make_task(train_data=source), mesh=one_device(), rounds=3)
    assert len(placed) == 3 + 1


@pytest.mark.parametrize("on_device", [True, False])
def test_online_arrays_reach_the_step_in_their_own_epoch(on_device):
    def fresh(epoch):
        return {"x": np.full(10, epoch, np.float32)}

    task = recording_task(
        train_data=ArrayBatches(fresh, 2, sequential(10), on_device),
        advance=lambda progress, scalars: progress,
    )
    result = loop.fit(task, mesh=one_device(), rounds=3, steps_per_call=2)
    assert [h["train_x"] for h in result.progress.history] == [0.0, 2.0, 4.0]


def variable_task(data, **changes):
    """The toy task on batches of two shapes."""
    return make_task(train_data=data, eval_data=BucketBatches(), **changes)


@pytest.mark.parametrize(("steps_per_call", "resident"), [(2, True), (3, False)])
def test_batches_of_two_shapes_train_as_one_by_one(steps_per_call, resident):
    reference = loop.fit(
        variable_task(BucketBatches(resident=resident)),
        mesh=one_device(),
        rounds=4,
        steps_per_call=1,
    )
    result = loop.fit(
        variable_task(BucketBatches(resident=resident)),
        mesh=one_device(),
        rounds=4,
        steps_per_call=steps_per_call,
        checkpoint_every=Interval(3, "steps"),
    )
    assert [h["step"] for h in result.progress.history] == [5, 11, 18, 23]
    np.testing.assert_allclose(
        [(h["train_loss"], h["val_loss"]) for h in result.progress.history],
        [(h["train_loss"], h["val_loss"]) for h in reference.progress.history],
        rtol=2e-6,
    )


def test_two_shapes_are_compiled_once_each():
    run = loop.Run(
        variable_task(BucketBatches()),
        one_device(),
        0,
        Interval(1, "rounds"),
        Interval(1, "rounds"),
        2,
    )
    run.checkpointer = run.writer = run.console = run.preemption = None
    run.state, run.progress = run.compiled.init(), loop.Progress()
    for _ in range(3):
        run.one_round(last=False)
    assert run.compiled.compilations() == {"train": 2, "eval": 2, "after": 1}


def test_more_steps_per_call_than_the_limit_are_taken_when_asked_for(monkeypatch):
    monkeypatch.setattr(loop, "MOST_STEPS_PER_CALL", 2)
    counts = []
    original = Compiled.train

    def spy(self, state, stack, epoch, count, phase):
        counts.append(count)
        return original(self, state, stack, epoch, count, phase)

    monkeypatch.setattr(Compiled, "train", spy)
    loop.fit(make_task(), mesh=one_device(), rounds=1, steps_per_call=5)
    loop.fit(make_task(), mesh=one_device(), rounds=1)
    assert counts == [5, 2, 2, 1]


def test_float64_goes_through_training_evaluation_and_decisions():
    """Every part of the state keeps its type, and the rate all its digits."""
    rate = 0.1 + 1e-12

    def init(key):
        params = {"w": jnp.zeros((3, 1), jnp.float64)}
        return TrainState(jnp.int32(0), params, (), {"rate": jnp.float64(rate)})

    def error(params, batch):
        return (batch["x"] @ params["w"] - batch["y"])[:, 0]

    def train_step(state, batch, key, phase):
        def loss(params):
            return jnp.sum(batch["weight"] * error(params, batch) ** 2)

        value, grads = jax.value_and_grad(loss)(state.params)
        scale = state.extra["rate"] / 5
        params = jax.tree.map(lambda p, g: p - scale * g, state.params, grads)
        return state.replace(params=params), {"loss": (value, jnp.float64(1))}

    def eval_step(state, batch, key, phase):
        return {"loss": jnp.sum(batch["weight"] * error(state.params, batch) ** 2)}

    def advance(progress, scalars):
        return progress.with_extra(learning_rate=rate)

    def after_eval(state, extra, scalars):
        return state.replace(extra={"rate": extra["learning_rate"]})

    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3))
    arrays = {"x": x, "y": x @ np.array([[1.0], [2.0], [-1.0]])}
    data = ArrayBatches(arrays, 16, sequential(50))
    with jax.enable_x64(True):
        task = Task(
            init=init,
            train_step=train_step,
            eval_step=eval_step,
            summarize=lambda found: {"val_loss": float(sum(f["loss"] for f in found))},
            train_data=data,
            eval_data=data,
            advance=advance,
            after_eval=after_eval,
        )
        result = loop.fit(task, mesh=one_device(), rounds=60)
        kinds = {x.dtype for x in jax.tree.leaves(result.last)}
        assert kinds == {np.dtype(np.float64), np.dtype(np.int32)}
        assert float(result.last.extra["rate"]) == rate
        assert result.progress.history[-1]["val_loss"] < 1e-20
