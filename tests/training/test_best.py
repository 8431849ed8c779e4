"""The best weights of a run: of the last phase that was evaluated, never of a NaN."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.training import best, loop
from jaxphys.training.checkpoint import CHECKPOINTS, Checkpointer
from jaxphys.training.mesh import make_mesh
from jaxphys.training.process.preemption import Preempted, Preemption
from jaxphys.training.task import Interval, Progress, TrainState
from tests.training.toy import make_task

RULE = ("val_loss", "min")
STEPS = 5  # of a round of the toy


class AskedAfter(Preemption):
    """Asks the run to end when the loop looks up for the n-th time."""

    def __init__(self, calls):
        super().__init__()
        self.left = calls

    def reached(self):
        self.left -= 1
        return self.left <= 0


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def scripted(values, phases=None, **changes):
    """Returns a task whose evaluations find these values, in these phases."""
    names = phases or ["train"] * (len(values) + 1)
    left = iter(values)

    def advance(progress, scalars):
        return progress.replace(phase=names[progress.round])

    return make_task(
        summarize=lambda batches: {"val_loss": next(left)},
        advance=advance,
        first_phase=names[0],
        **changes,
    )


def weights_after(rounds, **changes):
    """Returns the weights of the toy after so many rounds."""
    task = scripted([0.0] * rounds, **changes)
    return loop.fit(task, mesh=make_mesh("data:1"), rounds=rounds).last.params


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_a_value_that_is_not_finite_is_never_the_best(mode, sign):
    progress, seen = Progress(), []
    for step, value in enumerate(
        (math.nan, -sign * math.inf, 3.0, math.nan, 4.0, 2.0, 2.0), 1
    ):
        progress = progress.replace(step=step)
        progress = best.track(progress, {"loss": sign * value}, ("loss", mode))
        names = ("best_step", "best_bad", "best_is_now", "best_fresh")
        seen.append(tuple(progress.extra[name] for name in names))
        assert best.exists(progress) == (step >= 3)
    assert seen == [
        (-1, 1, 0, 1), (-1, 2, 0, 1), (3, 0, 1, 0), (3, 1, 0, 0), (3, 2, 0, 0),
        (6, 0, 1, 0), (6, 1, 0, 0),
    ]  # fmt: skip
    assert progress.extra["best_value"] == sign * 2.0


def test_a_phase_that_comes_back_starts_afresh():
    progress = Progress(step=1, phase="a")
    for phase, value in (("a", 1.0), ("b", math.nan), ("a", 5.0), ("a", 6.0)):
        if phase != progress.phase:
            progress = best.begin_phase(progress.replace(phase=phase))
        progress = best.track(progress, {"val_loss": value}, RULE)
        progress = progress.replace(step=progress.step + 1)
    assert (progress.extra["best_value"], progress.extra["best_step"]) == (5.0, 3)
    assert Progress.from_json(progress.to_json()) == progress


def test_the_best_weights_are_those_of_the_best_evaluation():
    values = [3.0, math.nan, 2.0, 2.5]
    result = loop.fit(scripted(values), mesh=make_mesh("data:1"), rounds=4)
    assert_same(result.best.params, weights_after(3))
    assert_same(result.last.params, weights_after(4))
    assert result.progress.extra["best_step"] == 3 * STEPS
    assert result.progress.best_phase == "train"


def test_before_a_finite_evaluation_the_last_weights_are_taken():
    task = scripted([math.nan] * 2)
    result = loop.fit(task, mesh=make_mesh("data:1"), rounds=2)
    assert not best.exists(result.progress)
    assert_same(result.best.params, result.last.params)
    found = best.choose(result.last, result.progress)
    assert found.facts() == {
        "weights": "last",
        "weights_step": 2 * STEPS,
        "weights_phase": "train",
    }


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        # a worse value of the new phase takes over from the old one
        ([1.0, 2.0, 7.0, 6.0, 6.5], (4, "slow")),
        # until one is finite the old phase stays
        ([2.0, 1.0, math.nan, math.nan, math.inf], (2, "train")),
    ],
)
def test_the_best_is_that_of_the_last_phase_that_was_evaluated(values, chosen):
    names = ["train", "train", "slow", "slow", "slow", "slow"]
    task = scripted(values, names)
    result = loop.fit(task, mesh=make_mesh("data:1"), rounds=5)
    found = best.choose(result.last, result.progress)
    round_, phase = chosen
    assert (found.weights, found.phase) == ("best", phase)
    assert found.step == round_ * STEPS
    assert_same(found.params, weights_after(round_, phases=names))
    assert_same(result.best.params, found.params)


def test_a_phase_that_begins_within_a_round_is_judged_by_its_own_evaluations():
    def on_step(progress, metrics):
        return progress.replace(phase="slow" if progress.step >= 7 else "train")

    values = iter([1.0, 3.0, 2.0])
    task = make_task(
        on_step=on_step, summarize=lambda batches: {"val_loss": next(values)}
    )
    result = loop.fit(task, mesh=make_mesh("data:1"), rounds=3)
    found = best.choose(result.last, result.progress)
    assert (found.phase, found.step) == ("slow", 3 * STEPS)


def test_what_the_task_names_is_kept_with_the_batch_statistics():
    def train_step(state, batch, key, phase):
        new, metrics = plain.train_step(state, batch, key, phase)
        count = state.extra["batch_stats"] + 1
        # a step may leave out what it does not know
        return TrainState(
            new.step, new.params, new.opt_state, {"batch_stats": count}
        ), metrics

    plain = make_task()

    def init(key):
        return plain.init(key).replace(extra={"batch_stats": jnp.int32(0)})

    task = scripted([2.0, 1.0, 3.0], init=init, train_step=train_step)
    result = loop.fit(task, mesh=make_mesh("data:1"), rounds=3)
    assert int(result.best.extra["batch_stats"]) == 2 * STEPS
    assert int(best.choose(result.last, result.progress).batch_stats) == 2 * STEPS

    halved = scripted(
        [2.0, 1.0, 3.0],
        best_of=lambda state: {"params": jax.tree.map(lambda x: x / 2, state.params)},
    )
    result = loop.fit(halved, mesh=make_mesh("data:1"), rounds=3)
    half = jax.tree.map(lambda x: x / 2, weights_after(2))
    assert_same(result.best.params, half)


@pytest.mark.parametrize("mesh", ["data:1", "data:2,fsdp:2"])
@pytest.mark.parametrize("calls", [3, 6, 8])
def test_a_run_that_goes_on_has_the_best_of_one_long_run(
    tmp_path, monkeypatch, mesh, calls
):
    """Bit for bit, stopped within a round and in either phase."""
    monkeypatch.setattr("jaxphys.training.mesh.SMALLEST_SPLIT", 16)

    def advance(progress, scalars):
        return progress.replace(phase="slow" if progress.round >= 2 else "train")

    def fit(**changes):
        return loop.fit(
            make_task(advance=advance),
            mesh=make_mesh(mesh),
            rounds=4,
            steps_per_call=2,
            **changes,
        )

    whole = fit()
    keep = Checkpointer(tmp_path / CHECKPOINTS, best=RULE)
    with pytest.raises(Preempted):
        fit(checkpointer=keep, preemption=AskedAfter(calls))
    again = fit(checkpointer=keep, resume=keep.find("auto"))
    keep.close()
    assert_same(whole.last, again.last)
    assert_same(whole.best, again.best)
    assert whole.progress == again.progress
    for part, own in (
        ("params", whole.last.params),
        ("best", whole.last.best["params"]),
    ):
        split = [len(x.sharding.device_set) for x in jax.tree.leaves(own)]
        assert set(split) == {make_mesh(mesh).size}, part
    lie = [x.sharding.spec for x in jax.tree.leaves(whole.last.params)]
    assert [x.sharding.spec for x in jax.tree.leaves(whole.last.best)] == lie
    found, progress = best.read_weights(tmp_path)
    assert_same(found.params, whole.best.params)
    assert (found.weights, found.phase, progress) == ("best", "slow", whole.progress)
    last, _ = best.read_weights(tmp_path, "last")
    assert_same(last.params, whole.last.params)
    assert (last.weights, last.step) == ("last", 4 * STEPS)
    with pytest.raises(ValueError, match="weights='first': expected best or last"):
        best.read_weights(tmp_path, "first")


def test_four_devices_keep_the_best_of_one():
    one, four = (
        loop.fit(make_task(), mesh=make_mesh(mesh), rounds=4)
        for mesh in ("data:1", "data:4")
    )
    assert one.progress.extra["best_step"] == four.progress.extra["best_step"]
    for x, y in zip(
        jax.tree.leaves(one.best.params), jax.tree.leaves(four.best.params), strict=True
    ):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_a_task_without_a_best_keeps_nothing(tmp_path):
    keep = Checkpointer(tmp_path / CHECKPOINTS)
    result = loop.fit(
        make_task(best=None),
        mesh=make_mesh("data:1"),
        rounds=2,
        checkpointer=keep,
        checkpoint_every=Interval(1, "rounds"),
    )
    keep.close()
    assert result.last.best is None
    assert not [name for name in result.progress.extra if name.startswith("best")]
    found, _ = best.read_weights(tmp_path)
    assert (found.weights, found.step) == ("last", 2 * STEPS)
    assert_same(found.params, result.last.params)


def old_state(kept):
    params = {"net": {"w": jnp.ones(2)}}
    stats = {"net": {"mean": jnp.ones(2)}}
    extra = {"best_params": kept, "batch_stats": stats}
    return TrainState(jnp.int32(9), params, (), extra)


def test_the_best_that_a_recipe_kept_in_an_old_run_is_understood():
    history = (
        {"step": 3, "phase": "a", "val": 2.0},
        {"step": 6, "phase": "b", "val": 1.5},
    )
    progress = Progress(step=9, phase="b", history=history)
    weights = {"net": {"w": jnp.zeros(2)}}
    plain, with_statistics = (
        old_state(weights),
        old_state(
            {"net": {"params": weights["net"], "batch_stats": {"mean": jnp.zeros(2)}}}
        ),
    )
    for state in (plain, with_statistics):
        unknown = best.choose(state, progress.with_extra(best_value=math.inf))
        assert (unknown.weights, unknown.step) == ("last", 9)
        assert_same(unknown.params, state.params)
        found = best.choose(state, progress.with_extra(best_value=1.5))
        assert (found.weights, found.step, found.phase) == ("best", 6, "b")
        assert_same(found.params, weights)
        last = best.choose(state, progress.with_extra(best_value=1.5), "last")
        assert_same(last.params, state.params)
    assert_same(found.batch_stats, {"net": {"mean": np.zeros(2)}})
