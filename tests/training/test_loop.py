"""The laws of the training loop."""

import contextlib
import dataclasses
import time
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.data.batches import ArrayBatches, sequential
from jaxphys.training import loop, phases
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.compiled import Compiled
from jaxphys.training.mesh import make_mesh
from jaxphys.training.process.preemption import Preempted, Preemption
from jaxphys.training.task import Interval
from jaxphys.training.writer import Console, Writer
from tests.training.toy import BATCH, make_task, toy_data

STEPS = 5  # of a round
NEVER = Interval(10**9, "rounds")


class AskedAfter(Preemption):
    """Asks the run to end when the loop looks up for the n-th time."""

    def __init__(self, calls):
        super().__init__()
        self.left = calls

    def reached(self):
        self.left -= 1
        return self.left <= 0


def one_device():
    return make_mesh("data:1")


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def history_of(result):
    return [
        (h["step"], h["train_loss"], h["val_loss"]) for h in result.progress.history
    ]


def test_training_learns_and_keeps_the_best_weights():
    task = make_task(noise=0.0, width=32)
    result = loop.fit(task, mesh=one_device(), rounds=60)
    losses = [h["val_loss"] for h in result.progress.history]
    assert len(losses) == 60
    assert losses[-1] < 0.3 * losses[0]
    compiled = Compiled(task, one_device(), 0)
    stack = jax.tree.map(
        lambda *x: np.stack(x),
        *[task.eval_data.batch(0, i, slice(None)) for i in range(3)],
    )
    out = compiled.evaluate(result.best, stack, 0, 3, "train")
    batches = [jax.tree.map(lambda x, i=i: np.asarray(x[i]), out) for i in range(3)]
    assert task.summarize(batches)["val_loss"] == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("steps_per_call", [0, 1, 2, 3])
def test_steps_per_call_and_residence_change_nothing(steps_per_call, on_device):
    reference = loop.fit(make_task(), mesh=one_device(), rounds=3, steps_per_call=1)
    task = make_task(on_device=on_device)
    result = loop.fit(task, mesh=one_device(), rounds=3, steps_per_call=steps_per_call)
    for (_, *a), (_, *b) in zip(history_of(reference), history_of(result), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6)


@pytest.mark.parametrize(("calls", "interrupted_at"), [(2, 4), (3, 5), (4, 7), (7, 12)])
def test_resume_mid_epoch_equals_no_interruption_bit_for_bit(
    tmp_path, calls, interrupted_at
):
    """Interrupted at any step, mid-epoch too."""
    whole = loop.fit(make_task(), mesh=one_device(), rounds=4, steps_per_call=2)

    keep = Checkpointer(tmp_path / "c", best=("val_loss", "min"))
    with pytest.raises(Preempted, match=r"saved at step \d+"):
        loop.fit(
            make_task(),
            mesh=one_device(),
            rounds=4,
            steps_per_call=2,
            checkpointer=keep,
            preemption=AskedAfter(calls),
        )
    step = keep.find("auto")
    assert step == interrupted_at
    again = loop.fit(
        make_task(),
        mesh=one_device(),
        rounds=4,
        steps_per_call=2,
        checkpointer=keep,
        resume=step,
    )
    keep.close()
    assert_same(whole.last, again.last)
    assert_same(whole.best, again.best)
    assert whole.progress == again.progress


def test_extension_of_a_finished_run_equals_one_long_run(tmp_path):
    whole = loop.fit(make_task(), mesh=one_device(), rounds=5)
    keep = Checkpointer(tmp_path / "c")
    loop.fit(make_task(), mesh=one_device(), rounds=2, checkpointer=keep)
    again = loop.fit(
        make_task(),
        mesh=one_device(),
        rounds=5,
        checkpointer=keep,
        resume=keep.find("latest"),
    )
    keep.close()
    assert_same(whole.last, again.last)
    assert whole.progress == again.progress


@pytest.mark.parametrize("mesh", ["data:4", "data:2,fsdp:2", "fsdp:4"])
def test_four_devices_agree_with_one(mesh, monkeypatch):
    monkeypatch.setattr("jaxphys.training.mesh.SMALLEST_SPLIT", 16)
    one = loop.fit(make_task(), mesh=one_device(), rounds=4)
    four = loop.fit(make_task(), mesh=make_mesh(mesh), rounds=4)
    for (_, *a), (_, *b) in zip(history_of(one), history_of(four), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_restore_on_four_devices_is_exact(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxphys.training.mesh.SMALLEST_SPLIT", 16)
    keep = Checkpointer(tmp_path / "c")
    one = loop.fit(make_task(), mesh=one_device(), rounds=2, checkpointer=keep)
    mesh = make_mesh("data:2,fsdp:2")
    state, progress = keep.restore(
        keep.steps()[-1], Compiled(make_task(), mesh, 0).abstract_state
    )
    assert_same(one.last, state)
    assert progress == one.progress
    assert len(state.params["w0"].sharding.device_set) == 4
    longer = loop.fit(make_task(), mesh=mesh, rounds=4, checkpointer=keep, resume=10)
    keep.close()
    whole = loop.fit(make_task(), mesh=one_device(), rounds=4)
    np.testing.assert_allclose(
        [h["val_loss"] for h in longer.progress.history],
        [h["val_loss"] for h in whole.progress.history],
        rtol=1e-5,
    )


def test_one_compilation_per_phase_and_shape(tmp_path):
    def advance(progress, scalars):
        return progress.replace(phase="slow" if progress.round >= 2 else "train")

    task = make_task(advance=advance)
    run = loop.Run(
        task, one_device(), 0, Interval(1, "rounds"), Interval(7, "steps"), 2
    )
    run.checkpointer = run.writer = run.console = run.preemption = None
    run.state = run.compiled.init()
    run.progress = loop.Progress()
    for _ in range(4):
        run.one_round(last=False)
    assert run.progress.phase == "slow"
    assert run.compiled.compilations() == {"train": 2, "eval": 2, "after": 1}


def test_not_finite_metric_stops_with_name_and_step(tmp_path):
    keep = Checkpointer(tmp_path / "c")
    task = make_task(poison_step=8)
    with pytest.raises(loop.NonFiniteError, match=r"train_loss .* step 8 .*step 5"):
        loop.fit(
            task,
            mesh=one_device(),
            rounds=4,
            checkpointer=keep,
            checkpoint_every=Interval(1, "rounds"),
        )
    assert keep.steps() == [5]
    keep.close()


def test_evaluation_scalar_must_be_finite_only_where_asked():
    def summarize(batches):
        return {"val_loss": float("nan")}

    with pytest.raises(loop.NonFiniteError, match="val_loss"):
        loop.fit(
            make_task(summarize=summarize, must_be_finite=("val_loss",)),
            mesh=one_device(),
            rounds=1,
        )
    result = loop.fit(make_task(summarize=summarize), mesh=one_device(), rounds=2)
    assert result.progress.extra["best_bad"] == 2


def test_evaluation_counted_in_steps_falls_inside_rounds():
    result = loop.fit(
        make_task(), mesh=one_device(), rounds=3, eval_every=Interval(4, "steps")
    )
    assert [h["step"] for h in result.progress.history] == [4, 8, 12]
    assert result.progress.totals["loss"][1] > 0  # steps 13 to 15 are still open


def test_round_mean_weights_every_example_once():
    task = make_task(noise=0.0, learning_rate=0.0)
    result = loop.fit(task, mesh=one_device(), rounds=1)
    compiled = Compiled(task, one_device(), 0)
    state = compiled.init()
    data = toy_data(0)
    from tests.training.toy import predict

    error = predict(state.params, jnp.asarray(data["x"])) - data["y"]
    expected = float(np.mean(np.asarray(error, np.float64) ** 2))
    assert result.progress.history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_on_step_sees_every_step_and_may_change_the_phase():
    seen = []

    def on_step(progress, metrics):
        seen.append((progress.step, progress.phase, metrics["loss"]))
        return progress.replace(phase="slow" if progress.step >= 7 else "train")

    loop.fit(make_task(on_step=on_step), mesh=one_device(), rounds=2)
    assert [s[0] for s in seen] == list(range(1, 11))
    assert [s[1] for s in seen] == ["train"] * 7 + ["slow"] * 3


def test_stop_ends_the_run_before_its_last_round(tmp_path):
    advance = phases.stop_when_impatient("val_loss", "min", 2)
    task = make_task(advance=advance, learning_rate=0.0, noise=0.0)
    result = loop.fit(task, mesh=one_device(), rounds=20)
    assert result.progress.round == 3
    assert "not improved in 2" in result.progress.stop


def test_stopped_run_stays_stopped_when_it_is_resumed_with_more_rounds(tmp_path):
    """As an uninterrupted run of more rounds would."""
    advance = phases.stop_when_impatient("val_loss", "min", 2)
    task = make_task(advance=advance, learning_rate=0.0, noise=0.0)
    keep = Checkpointer(tmp_path / "c")
    first = loop.fit(task, mesh=one_device(), rounds=20, checkpointer=keep)
    again = loop.fit(
        task,
        mesh=one_device(),
        rounds=30,
        checkpointer=keep,
        resume=keep.find("auto"),
    )
    keep.close()
    assert first.progress.round == 3
    assert again.progress == first.progress


def test_stop_within_a_round_takes_no_further_step():
    advance = phases.stop_when_impatient("val_loss", "min", 1)
    task = make_task(advance=advance, learning_rate=0.0, noise=0.0)
    result = loop.fit(
        task, mesh=one_device(), rounds=9, eval_every=Interval(2, "steps")
    )
    assert [h["step"] for h in result.progress.history] == [2, 4]
    assert (result.progress.step, result.progress.step_in_round) == (4, 4)


def test_evaluation_by_the_clock_is_refused():
    with pytest.raises(ValueError, match="depend on speed"):
        loop.fit(
            make_task(), mesh=one_device(), rounds=1, eval_every=Interval(1, "seconds")
        )


def test_resume_without_checkpoints_is_refused():
    with pytest.raises(ValueError, match="resume=5 needs a checkpointer"):
        loop.fit(make_task(), mesh=one_device(), rounds=1, resume=5)


def test_batch_that_does_not_divide_over_the_devices_is_refused():
    data = ArrayBatches(toy_data(), 30, sequential(150))
    with pytest.raises(ValueError, match="does not divide over 4 devices"):
        loop.fit(make_task(train_data=data), mesh=make_mesh("data:4"), rounds=1)


def test_announcement_is_printed_once_per_evaluation_with_what_it_is_about(capsys):
    seen = []

    def announce(progress, entry):
        seen.append((progress.round, entry["val_loss"], entry["input_wait"]))
        return f"line of round {progress.round}"

    task = dataclasses.replace(make_task(), announce=announce)
    console = Console(3, plain=True)
    result = loop.fit(task, mesh=one_device(), rounds=3, console=console)
    assert [round_ for round_, _, _ in seen] == [1, 2, 3]
    assert [v for _, v, _ in seen] == [h["val_loss"] for h in result.progress.history]
    assert all(0 <= wait <= 1 for _, _, wait in seen)
    text = capsys.readouterr().err
    assert [f"line of round {i}" in text for i in range(5)] == [0, 1, 1, 1, 0]


def test_waiting_for_input_is_measured_and_is_no_part_of_the_history():
    class Slow(ArrayBatches):
        def batch(self, epoch, index, part):
            time.sleep(0.02)
            return super().batch(epoch, index, part)

    waits = {}

    def announce(progress, entry):
        waits[progress.round] = entry["input_wait"]
        return ""

    for kind in (ArrayBatches, Slow):
        task = make_task()
        old: Any = task.train_data
        data = kind(old.arrays, old.batch_size, old.order, on_device=False)
        task = dataclasses.replace(task, train_data=data, announce=announce)
        console = Console(2, plain=True)
        result = loop.fit(task, mesh=one_device(), rounds=2, console=console)
        waits[kind] = waits[2]
        assert "input_wait" not in result.progress.history[-1]
    assert waits[Slow] > 0.5
    assert waits[Slow] > 2 * waits[ArrayBatches]


def test_evaluation_batches_stay_placed_only_while_they_are_small(monkeypatch):
    histories, kept = [], []
    for most in (2**28, 1):
        monkeypatch.setattr(loop, "PLACED_BYTES", most)
        run = loop.Run(make_task(), one_device(), 0, Interval(1, "rounds"), NEVER, 0)
        run.checkpointer = run.writer = run.console = run.preemption = None
        run.state = run.compiled.init()
        run.progress = loop.Progress(phase="train")
        for _ in range(2):
            run.one_round(last=False)
        histories.append([h["val_loss"] for h in run.progress.history])
        kept.append(len(run._eval_stacks) > 0)
    assert histories[0] == histories[1]
    assert kept == [True, False]


def test_batches_beside_resident_arrays_are_stacked_within_a_limit(monkeypatch):
    monkeypatch.setattr(loop, "STACK_BYTES", 1)
    task = make_task()
    assert task.train_data.resident(0) is not None
    run = loop.Run(task, one_device(), 0, Interval(1, "rounds"), NEVER, 0)
    assert run._room("train", task.train_data, 0) == 1


def test_every_evaluation_writes_the_histograms_of_its_own_batches(tmp_path):
    class Heard(Writer):
        heard: ClassVar = []

        def write_histogram(self, step, name, values):
            self.heard.append((step, name, values.shape))
            super().write_histogram(step, name, values)

    task = dataclasses.replace(
        make_task(),
        histograms=lambda found: {"val/error": np.stack([b["se"] for b in found])},
    )
    batches = task.eval_data.num_batches(0)
    with contextlib.closing(Heard(tmp_path)) as writer:
        loop.fit(task, mesh=one_device(), rounds=2, writer=writer)
    assert Heard.heard == [(n * STEPS, "val/error", (batches, BATCH)) for n in (1, 2)]
