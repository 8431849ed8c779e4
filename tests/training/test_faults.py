"""Whatever happens to a run, the same command goes on to the same end."""

import random
import signal
import time

import jax
import numpy as np
import pytest

from jaxphys.training.checkpoint import Checkpointer
from tests.training.commands import (
    Commands,
    checkpoints_of,
    finish,
    metrics_of,
    wait_for_evaluations,
)

EPOCHS = 40


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    return Commands(tmp_path_factory.mktemp("jax_cache"))


@pytest.fixture(scope="module")
def data(commands, tmp_path_factory):
    """Tracks that all runs of this file share."""
    folder = tmp_path_factory.mktemp("data")
    status, output = commands.run("--mode=simulate", output=folder)
    assert status == 0, output
    return folder


@pytest.fixture(scope="module")
def whole(commands, data, tmp_path_factory):
    """The workdir of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    status, output = commands.run(data=data, workdir=folder, epochs=EPOCHS)
    assert status == 0, output
    return folder


def state_of(workdir):
    state, progress = Checkpointer(
        workdir / "checkpoints", read_only=True
    ).read_latest()
    return jax.tree.map(np.asarray, state), progress


def assert_same_run(workdir, whole):
    assert metrics_of(workdir) == metrics_of(whole)
    (state, progress), (expected, expected_progress) = map(state_of, (workdir, whole))
    assert progress == expected_progress
    assert progress.round == EPOCHS
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    name = "track_mlp.bin"
    assert (workdir / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_sigterm_saves_exits_with_75_and_the_same_command_ends_the_same(
    commands, data, whole, tmp_path
):
    settings = {"data": data, "workdir": tmp_path / "run", "epochs": EPOCHS}
    # slowed down by saving, so that the signal finds it at work
    slow = {**settings, "checkpoint_every": "3 steps"}
    process = commands.start(**slow)
    wait_for_evaluations(process, tmp_path / "run", 3)
    process.send_signal(signal.SIGTERM)
    status, output = finish(process)
    assert status == 75, output
    assert "asked to end; saved at step" in output
    (last,) = checkpoints_of(tmp_path / "run")[-1:]
    assert f"saved at step {last}" in output
    assert 21 <= last < 7 * EPOCHS
    status, output = commands.run(**settings)
    assert status == 0, output
    assert f"resuming at step {last}" in output
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_readable_checkpoint_and_the_same_end(
    commands, data, whole, tmp_path
):
    """With a save after every step, most kills fall into one."""
    run = tmp_path / "run"
    settings = {"data": data, "workdir": run, "epochs": EPOCHS}
    dice, reached, evaluations = random.Random(1), [], 1
    for _ in range(5):
        process = commands.start(**settings, checkpoint_every="1 steps")
        wait_for_evaluations(process, run, evaluations)
        time.sleep(dice.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        status, output = finish(process)
        assert status == -signal.SIGKILL, output
        _, progress = state_of(run)
        reached.append(progress.step)
        evaluations = progress.round + 2  # lines after those that are kept
    assert reached == sorted(set(reached))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 999, "tr')
    status, output = commands.run(**settings)
    assert status == 0, output
    assert f"resuming at step {reached[-1]}" in output
    steps = [entry["step"] for entry in metrics_of(run)]
    assert steps == [7 * (i + 1) for i in range(EPOCHS)]
    assert_same_run(run, whole)
    assert not list((run / "checkpoints").glob("*tmp*"))


@pytest.mark.slow
def test_full_disk_names_the_folder_and_leaves_earlier_checkpoints_intact(
    commands, data, tmp_path
):
    run = tmp_path / "run"
    settings = {"data": data, "workdir": run, "model": "medium", "schedule": "constant"}
    process = commands.start(**settings, epochs=500, checkpoint_every="7 steps")
    wait_for_evaluations(process, run, 2)
    process.send_signal(signal.SIGTERM)
    status, output = finish(process)
    assert status == 75, output
    before, progress = state_of(run)
    # room for all other files, not for four copies of the weights
    limit = (run / "model.bin").stat().st_size + 2**15
    status, output = commands.run(**settings, epochs=500, file_limit=limit)
    assert status == 1, output
    (message,) = [x for x in output.splitlines() if x.startswith("error: ")]
    assert f"{run / 'checkpoints'}: checkpoint of step " in message
    known = checkpoints_of(run)
    assert f"could not be written; the complete ones are of steps {known}" in message
    # how small the files are that Orbax cuts a checkpoint into varies: some may fit
    assert known[-1] >= progress.step
    after, again = state_of(run)
    assert again.step == known[-1]
    assert again.history[: len(progress.history)] == progress.history
    if again.step == progress.step:
        assert again == progress
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_bad_calls_end_with_a_clear_message(commands, data, whole, tmp_path):
    before = (whole / "metrics.jsonl").read_text()
    (tmp_path / "file").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.flags").write_text("# experiment: gdynet\n--seed=1\n")
    for settings, expected, lines in (
        ({"workdir": tmp_path / "file" / "run"}, 1, ["cannot be written"]),
        ({"workdir": other}, 2, ["experiment 'track_extrapolator', got 'gdynet'"]),
        (
            {"workdir": whole, "learning_rate": 0.5, "model": "small"},
            2,
            ["--learning_rate: was 0.004, now 0.5", "--model: was 'tiny', now 'small'"],
        ),
        ({"workdir": tmp_path / "new", "sampels": 5}, 2, ["Did you mean: samples"]),
        ({"workdir": whole, "resume": "none"}, 1, ["--resume=none"]),
    ):
        status, output = commands.run(data=data, **settings)
        assert status == expected, (settings, output)
        for line in lines:
            assert line in output
    assert (whole / "metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_nan_in_training_stops_with_its_name_and_step(commands, data, tmp_path):
    status, output = commands.run(
        data=data,
        workdir=tmp_path / "run",
        parametrisation="absolute",
        loss="raw",
        schedule="constant",
        learning_rate=1e30,
        epochs=3,
    )
    assert status == 1
    assert "error: train_loss is not finite in step " in output
    last = metrics_of(tmp_path / "run")[-1]
    assert last["not_finite"] == "train_loss"
    assert f"in step {last['at']} " in output
