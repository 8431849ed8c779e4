"""Checkpoints: one atomic step, the right ones kept, nothing cast without a word."""

import dataclasses
import json
import logging
import math
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.task import Progress, TrainState


def state_of(value=0.0, **changes):
    """Returns a state with leaves of several types, filled with one value."""
    params = {"w": jnp.full((3, 2), value), "b": jnp.full(2, value, jnp.bfloat16)}
    state = TrainState(
        step=jnp.int32(value),
        params=params,
        opt_state=(jnp.int32(value), {"mu": jax.tree.map(jnp.copy, params)}),
        extra={"best_params": jax.tree.map(jnp.copy, params), "count": jnp.uint8(3)},
    )
    return state.replace(**changes)


def save(keep, step, history=(), **scalars):
    progress = Progress(step=step, history=history)
    keep.save(state_of(float(step)), progress, scalars)


@pytest.fixture
def open_keep(tmp_path):
    """Opens checkpoints in one folder and closes them at the end."""
    opened = []

    def opener(**settings):
        opened.append(Checkpointer(tmp_path / "c", **settings))
        return opened[-1]

    yield opener
    for keep in opened:
        keep.close()


def test_state_and_progress_come_back_exactly(open_keep):
    keep = open_keep()
    before = Progress(
        step=7,
        round=2,
        step_in_round=3,
        phase="slow",
        totals={"loss": (0.1 + 0.2, 3.0)},
        history=({"step": 4, "val_loss": math.nan}, {"step": 6, "val_loss": 1 / 3}),
        extra={"learning_rate": 1e-3 / 3, "plateau_best": math.inf},
    )
    keep.save(state_of(7.0), before, {})
    keep.wait()
    state, after = keep.restore(7, state_of(0.0))
    assert jax.tree.structure(state) == jax.tree.structure(state_of())
    for got, expected in zip(
        jax.tree.leaves(state), jax.tree.leaves(state_of(7.0)), strict=True
    ):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    assert math.isnan(after.history[0]["val_loss"])
    cut = {"history": after.history[1:]}
    assert after.replace(**cut) == before.replace(**cut)


def test_what_is_saved_is_the_state_of_that_moment_though_it_is_donated(open_keep):
    keep = open_keep(keep_latest=5)
    step = jax.jit(
        lambda s: jax.tree.map(lambda x: x + jnp.ones_like(x), s), donate_argnums=0
    )
    state = state_of(0.0)
    for i in range(1, 5):
        state = step(state)
        keep.save(state, Progress(step=i), {})
    keep.wait()
    for i in range(1, 5):
        found, _ = keep.restore(i, state_of())
        np.testing.assert_array_equal(found.params["w"], i)


@pytest.mark.parametrize(("mode", "best"), [("min", 2), ("max", 3)])
def test_latest_and_best_survive(open_keep, mode, best):
    keep = open_keep(best=("loss", mode), keep_latest=2)
    for step, loss in enumerate([5.0, 1.0, 9.0, 4.0, 3.0, 4.0], start=1):
        save(keep, step, loss=loss)
    keep.wait()
    assert keep.steps() == sorted({best, 5, 6})
    assert keep.find("best") == best
    assert keep.find("latest") == 6


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_metric_that_is_not_finite_never_becomes_best(open_keep, mode, bad):
    keep = open_keep(best=("loss", mode), keep_latest=1)
    for step, loss in enumerate([bad, 2.0, bad, bad], start=1):
        save(keep, step, loss=loss)
    keep.wait()
    assert keep.steps() == [2, 4]
    assert keep.find("best") == 2


@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_is_of_the_last_phase_that_was_evaluated(open_keep, mode):
    keep = open_keep(best=("loss", mode), keep_latest=1)
    history = []
    for step, (phase, loss) in enumerate(
        [("a", 1.0), ("a", 9.0), ("b", 4.0), ("b", 5.0), ("b", math.nan)], start=1
    ):
        history.append({"phase": phase})
        save(keep, step, loss=loss, history=tuple(history))
    keep.wait()
    best = 3 if mode == "min" else 4
    assert keep.find("best") == best
    assert keep.steps() == [best, 5]


def test_best_survives_a_restart_of_the_program(open_keep):
    keep = open_keep(best=("loss", "min"), keep_latest=1)
    save(keep, 1, loss=0.5)
    save(keep, 2, loss=0.7)
    keep.close()
    again = open_keep(best=("loss", "min"), keep_latest=1)
    assert again.find("best") == 1
    save(again, 3, loss=0.6)
    save(again, 4, loss=0.6)
    again.wait()
    assert again.steps() == [1, 4]
    assert again.find("best") == 1


def test_no_best_among_metrics_that_are_all_not_finite(open_keep):
    keep = open_keep(best=("loss", "min"))
    save(keep, 1, loss=math.nan)
    keep.wait()
    with pytest.raises(ValueError, match="no evaluated checkpoint"):
        keep.find("best")


def test_checkpoints_between_evaluations_do_not_drive_out_the_best(open_keep):
    keep = open_keep(best=("loss", "min"), keep_latest=1)
    save(keep, 1, loss=0.5)
    for step in (2, 3, 4):
        save(keep, step)
    keep.wait()
    assert keep.steps() == [1, 4]
    assert keep.find("best") == 1


def test_every_nth_step_is_kept_where_asked(open_keep):
    keep = open_keep(keep_latest=1, keep_every=4)
    for step in range(1, 11):
        save(keep, step)
    keep.wait()
    assert keep.steps() == [4, 8, 10]


def test_resume_finds_what_it_is_asked_for(open_keep):
    keep = open_keep(best=("loss", "min"), keep_latest=3)
    assert keep.find("auto") is None
    assert keep.find("none") is None
    for which in ("latest", "best", "3"):
        with pytest.raises(ValueError, match=f"--resume={which}"):
            keep.find(which)
    for step, loss in ((5, 1.0), (10, 2.0), (15, 3.0)):
        save(keep, step, loss=loss)
    keep.wait()
    found = {which: keep.find(which) for which in ("auto", "latest", "best", "10")}
    assert found == {"auto": 15, "latest": 15, "best": 5, "10": 10}
    with pytest.raises(ValueError, match=r"--resume=none.*\[5, 10, 15\]"):
        keep.find("none")
    for wrong in ("7", "newest", "-5", "5.0"):
        with pytest.raises(ValueError, match=r"--resume=.*one of \[5, 10, 15\]"):
            keep.find(wrong)


def test_later_checkpoints_are_deleted_when_a_run_goes_on_from_an_older_one(
    open_keep, caplog
):
    keep = open_keep(keep_latest=3)
    for step in (5, 10, 15):
        save(keep, step)
    keep.wait()
    with caplog.at_level(logging.WARNING):
        keep.forget_after(5)
    assert keep.steps() == [5]
    assert [r.args[1] for r in caplog.records if "deleting" in r.msg] == [10, 15]
    save(keep, 10)
    keep.wait()
    assert open_keep().steps() == [5, 10]


def expected_of(change):
    state = state_of(0.0)
    return {
        "name": state.replace(params={"w": state.params["w"], "c": state.params["b"]}),
        "shape": state.replace(params={**state.params, "w": jnp.zeros((2, 3))}),
        "dtype": state.replace(params={**state.params, "b": jnp.zeros(2)}),
        "missing": state.replace(extra={**state.extra, "ema": jnp.zeros(1)}),
        "surplus": state.replace(extra={"count": jnp.uint8(0)}),
        "optimizer": state.replace(opt_state=()),
    }[change]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ("name", ["params/c: not saved", "params/b: not expected"]),
        ("shape", ["params/w: saved ((3, 2), 'float32'), expected ((2, 3)"]),
        ("dtype", ["params/b: saved ((2,), 'bfloat16'), expected ((2,), 'float32')"]),
        ("missing", ["extra/ema: not saved"]),
        ("surplus", ["extra/best_params/w: not expected"]),
        ("optimizer", ["opt_state/0: not expected", "opt_state/1/mu/w: not expected"]),
    ],
)
def test_other_names_shapes_and_types_are_refused_with_the_list(
    open_keep, change, lines
):
    keep = open_keep()
    save(keep, 1)
    keep.wait()
    with pytest.raises(ValueError, match="another model or optimizer") as caught:
        keep.restore(1, expected_of(change))
    for line in lines:
        assert line in str(caught.value)


def test_a_run_that_kept_no_best_weights_is_not_gone_on_with(open_keep):
    keep = open_keep()
    save(keep, 1)
    keep.wait()
    now = state_of(best={"params": {"w": jnp.ones(2)}})
    with pytest.raises(ValueError, match=r"1: of an earlier version.*--init_from"):
        keep.restore(1, now)


def test_reader_leaves_a_half_written_checkpoint_of_a_running_training_alone(
    open_keep, tmp_path
):
    keep = open_keep()
    save(keep, 1)
    keep.wait()
    half = tmp_path / "c" / "2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "data").write_text("half")
    reader = open_keep(read_only=True)
    assert reader.steps() == [1]
    state, progress = reader.read_latest()
    assert progress.step == 1
    np.testing.assert_array_equal(state["params"]["w"], 1.0)
    assert (half / "data").exists()
    # the training itself cleans up what a kill left
    again = open_keep()
    save(again, 2)
    again.wait()
    assert again.steps() == [1, 2]
    assert not half.exists()


def test_reader_sees_no_checkpoint_where_there_is_no_folder(tmp_path):
    reader = Checkpointer(tmp_path / "none", read_only=True)
    with pytest.raises(ValueError, match="no checkpoint in"):
        reader.read_latest()
    assert not (tmp_path / "none").exists()


def test_fresh_process_on_other_devices_restores_exactly(open_keep, tmp_path):
    keep = open_keep()
    save(keep, 9)
    keep.wait()
    program = (
        "import sys, json, jax, numpy as np\n"
        "from jaxphys.training.checkpoint import Checkpointer\n"
        "state, progress = Checkpointer(sys.argv[1], read_only=True).read_latest()\n"
        "w = np.asarray(state['opt_state'][1]['mu']['w'])\n"
        "print(json.dumps([jax.device_count(), progress.step, w.tolist()]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        env={
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
        },
        check=True,
    )
    assert json.loads(found.stdout) == [1, 9, [[9.0, 9.0]] * 3]


def test_folder_that_cannot_be_written_is_named_and_the_rest_is_intact(
    open_keep, monkeypatch
):
    keep = open_keep()
    save(keep, 1)
    keep.wait()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keep._manager, "save", full)
    with pytest.raises(OSError, match=r"/c: checkpoint of step 2 .*\[1\].*No space"):
        save(keep, 2)
    assert keep.steps() == [1]


def test_failure_of_a_save_under_way_names_its_own_step(open_keep, monkeypatch):
    """It surfaces while the next one is asked for."""
    keep = open_keep()
    save(keep, 1)
    keep.wait()
    keep._saving = 2

    def full():
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keep._manager, "wait_until_finished", full)
        with pytest.raises(OSError, match=r"checkpoint of step 2 .*RESOURCE"):
            save(keep, 3)


def test_empty_parts_of_a_state_are_saved(open_keep):
    keep = open_keep()
    bare = TrainState(jnp.int32(1), {"w": jnp.ones(2)}, (), {})
    keep.save(bare, Progress(step=1), {})
    keep.wait()
    state, _ = keep.restore(1, dataclasses.replace(bare, step=jnp.int32(0)))
    assert (state.opt_state, state.extra, int(state.step)) == ((), {}, 1)


def test_damaged_checkpoint_is_named_with_those_to_go_on_from(open_keep):
    keep = open_keep()
    save(keep, 1)
    save(keep, 2)
    keep.close()
    for path in (keep.folder / "2").rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # a process of its own: Orbax closes its event loop while other reads are pending,
    # and whichever test runs when they end would be blamed
    read = "import sys, jaxphys.training.checkpoint as c; "
    read += "c.Checkpointer(sys.argv[1], read_only=True).read_latest()"
    found = subprocess.run(
        [sys.executable, "-c", read, keep.folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert re.search(r"ValueError: .*/2: cannot be read, damaged\?", found.stderr)
    assert "go on from [1]" in found.stderr
