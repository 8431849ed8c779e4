"""From a command line to a run in its workdir, and on from where it stood."""

import dataclasses
import json
import os
import pathlib
from typing import ClassVar

import jax
import numpy as np
import pytest
from absl import flags

from jaxphys import command_line
from jaxphys import config as configs
from jaxphys.config import option
from jaxphys.training import app
from jaxphys.training.loop import NonFiniteError
from jaxphys.training.process.preemption import Preempted, Preemption
from tests.training.toy import make_task


@dataclasses.dataclass(frozen=True)
class Toy(configs.RunConfig):
    EXPERIMENT = "toy"
    MODES: ClassVar = ("train", "evaluate", "simulate")
    rate: float = option(0.1, "rate", change="structural")
    epochs: int = option(3, "epochs", unit="rounds", change="extendable")
    names: tuple[str, ...] = option((), "files")
    other: str = option("", "other data")
    first: int = option(0, "first event of the data", unit="events")
    DATA: ClassVar = ("data", "other")
    RANGES: ClassVar = ("first",)


def call(*arguments):
    """Returns the configuration of a call, as `run` finds it."""
    values = flags.FlagValues()
    command_line.define_flags(Toy, values)
    config = command_line.parse_command_line(Toy, arguments, values)
    return app.resolve(config, command_line.given_flags(Toy, values))


def begin(folder, *arguments, trained=True):
    config = call(f"--workdir={folder}", *arguments)
    app.open_workdir(config)
    if trained:
        (folder / "checkpoints" / "5").mkdir(parents=True)
    return config


def lines_of(folder):
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


def test_workdir_is_needed_except_to_make_data():
    with pytest.raises(ValueError, match="--workdir: needed"):
        call("--rate=1")
    assert call("--mode=simulate").workdir == ""


def test_flags_that_are_not_given_keep_the_value_that_the_run_began_with(tmp_path):
    begin(tmp_path, "--rate=0.5", "--batch_size=64", "--plain_log", "--resume=none")
    again = call(f"--workdir={tmp_path}", "--epochs=7")
    assert (again.rate, again.batch_size, again.epochs) == (0.5, 64, 7)
    # these belong to one call
    assert (again.resume, again.plain_log, again.mode) == ("auto", False, "train")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_structural_change_is_refused_naming_every_field(tmp_path, mode):
    begin(tmp_path, "--rate=0.5", "--batch_size=64")
    with pytest.raises(ValueError, match="cannot be resumed") as caught:
        call(
            f"--workdir={tmp_path}",
            f"--mode={mode}",
            "--rate=0.25",
            "--batch_size=32",
            "--epochs=2",
        )
    for line in (
        "--rate: was 0.5, now 0.25",
        "--batch_size: was 64, now 32",
        "--epochs: 3 cannot become 2",
    ):
        assert line in str(caught.value)


def test_data_that_a_call_names_replace_all_that_the_run_names(tmp_path):
    begin(tmp_path, "--data=a", "--other=b", "--first=3")
    again = call(f"--workdir={tmp_path}", "--mode=evaluate", "--other=c")
    assert (again.data, again.other, again.first) == ("", "c", 0)
    again = call(f"--workdir={tmp_path}", "--mode=evaluate")
    assert (again.data, again.other, again.first) == ("a", "b", 3)


def test_before_the_first_checkpoint_everything_may_change(tmp_path):
    """A first call that failed on its flags must not lock them."""
    begin(tmp_path, "--batch_size=63", trained=False)
    (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
    assert call(f"--workdir={tmp_path}", "--batch_size=64").batch_size == 64


def test_workdir_of_another_experiment_is_refused(tmp_path):
    begin(tmp_path)
    path = tmp_path / "config.flags"
    path.write_text(path.read_text().replace("experiment: toy", "experiment: gdynet"))
    with pytest.raises(ValueError, match="experiment 'toy', got 'gdynet'"):
        call(f"--workdir={tmp_path}")


def test_mode_that_needs_a_run_is_refused_without_one(tmp_path):
    with pytest.raises(ValueError, match=r"no run there \(.*config.flags\)"):
        call("--mode=evaluate", f"--workdir={tmp_path}")


def test_file_in_the_way_of_the_workdir_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    config = call(f"--workdir={tmp_path}/file/run")
    with pytest.raises(OSError, match=r"--workdir=.*/file/run: cannot be written"):
        app.open_workdir(config)


def test_configuration_in_the_workdir_is_replaced_in_one_go(tmp_path, monkeypatch):
    begin(tmp_path, "--rate=0.5")
    before = (tmp_path / "config.flags").read_text()

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        app.open_workdir(call(f"--workdir={tmp_path}", "--epochs=9"))
    assert (tmp_path / "config.flags").read_text() == before


def parse(*arguments):
    """Parses as `run` does, with absl's own flags beside ours."""
    values = flags.FlagValues()
    command_line.define_flags(Toy, values)
    saved, flags.FLAGS = flags.FLAGS, values
    try:
        return app._parse(Toy, ["program", *arguments])
    finally:
        flags.FLAGS = saved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ephocs=3",), "Did you mean: epochs"),
        (("--epochs=many",), "--epochs"),
        (("--rate=inf", "--workdir=w"), "--rate=inf: expected a finite number"),
        (("train",), "'train' is not a flag"),
        ((), "--workdir: needed"),
        (("--mode=predict",), "mode"),
    ],
)
def test_bad_command_line_ends_with_status_2_and_says_why(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_session_knows_its_command_line_and_times_its_stages(tmp_path):
    config, session = parse(f"--workdir={tmp_path}/a b", "--epochs=4")
    assert config.epochs == 4
    expected = f"python -m experiments.toy '--workdir={tmp_path}/a b' --epochs=4"
    assert session.command == expected
    assert session.given("epochs")
    assert not session.given("rate")
    with session.stage("data"), session.stage("inner"):
        pass
    with session.stage("data"):
        pass
    assert set(session.timings) == {"data", "inner"}
    assert 0 <= sum(session.timings.values()) <= 2 * session.seconds()


def test_files_are_found_again_from_any_folder_and_addresses_are_left_alone(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Toy, "PATHS", ("data", "names"))
    config, _ = parse("--workdir=w", "--data=a/*.parquet", "--names=b,s3://c/d")
    assert config.data == f"{tmp_path}/a/*.parquet"
    assert config.names == (f"{tmp_path}/b", "s3://c/d")


@pytest.fixture
def undo_precision():
    """Gives the settings of the test suite back."""
    names = ("jax_enable_x64", "jax_default_matmul_precision")
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("precision", "x64", "matmul", "dtype"),
    [
        ("float32", False, "highest", "float32"),
        ("tensorfloat32", False, "tensorfloat32", "float32"),
        ("bfloat16", False, "bfloat16", "bfloat16"),
        ("float64", True, "highest", "float64"),
    ],
)
def test_precision_sets_the_arithmetic(undo_precision, precision, x64, matmul, dtype):
    config = Toy(precision=precision)
    app.start_devices(config)
    assert jax.config.values["jax_enable_x64"] is x64
    assert jax.config.values["jax_default_matmul_precision"] == matmul
    assert np.dtype(app.compute_dtype(config)).name == dtype


def run_main(config, modes, given=()):
    app._main(modes, (config, app.Session("command", frozenset(given))))


def test_preempted_mode_exits_with_75(tmp_path, capsys, undo_precision):
    def train(config, session):
        raise Preempted("asked to end; saved at step 4")

    with pytest.raises(SystemExit) as caught:
        run_main(Toy(workdir=str(tmp_path)), {"train": train})
    assert caught.value.code == 75
    assert "saved at step 4" in capsys.readouterr().err


def test_seeds_train_one_run_each_and_are_summarised(tmp_path, undo_precision):
    seen = []
    modes = {
        "train": lambda config, session: seen.append((config.seed, config.workdir)),
        "summarize": lambda config, session: seen.append(config.seeds),
    }
    config = call(f"--workdir={tmp_path}", "--seeds=3,1")
    run_main(config, modes, given=("workdir", "seeds"))
    folders = [(s, str(tmp_path / f"seed_{s}")) for s in (3, 1)]
    assert seen == [*folders, (3, 1)]


def test_member_of_an_ensemble_is_resumed_under_the_same_rules(
    tmp_path, undo_precision, capsys
):
    seen = []
    modes = {"train": lambda config, session: seen.append(config)}
    begin(tmp_path / "seed_1", "--rate=0.5", "--seed=1")
    given = ["workdir", "seeds"]
    config = call(f"--workdir={tmp_path}", "--seeds=1")
    run_main(config, modes, given)
    assert seen[0].rate == 0.5
    config = call(f"--workdir={tmp_path}", "--seeds=1", "--rate=0.2")
    with pytest.raises(SystemExit) as stopped:
        run_main(config, modes, [*given, "rate"])
    assert stopped.value.code == 1
    assert "--rate: was 0.5, now 0.2" in capsys.readouterr().err
    shown = config.replace(traceback=True)
    with pytest.raises(ValueError, match=r"--rate: was 0.5, now 0.2"):
        run_main(shown, modes, [*given, "rate", "traceback"])


def train(folder, *arguments, **changes):
    config = call(
        f"--workdir={folder}", "--mesh=data:1", "--steps_per_call=2", *arguments
    )
    app.open_workdir(config)
    return app.train(config, make_task(**changes), config.epochs)


def cut(entries):
    timed = ("steps_per_second", "input_wait")
    return [{k: v for k, v in e.items() if k not in timed} for e in entries]


def ask_after(monkeypatch, calls):
    left = [calls]

    def reached(self):
        left[0] -= 1
        return left[0] < 0

    monkeypatch.setattr(Preemption, "reached", reached)


def test_same_command_goes_on_after_a_preemption_to_the_same_end(
    tmp_path, monkeypatch, capsys
):
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        ask_after(patch, 4)
        with pytest.raises(Preempted, match="saved at step 9"):
            train(tmp_path / "run")
    again = train(tmp_path / "run")
    assert f"resuming at step 9 of {tmp_path / 'run'}" in capsys.readouterr().err
    assert again.progress == whole.progress
    for a, b in zip(
        jax.tree.leaves(whole.last), jax.tree.leaves(again.last), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert cut(lines_of(tmp_path / "run")) == cut(lines_of(tmp_path / "whole"))


def test_finished_run_is_left_as_it_is_by_the_same_command(tmp_path):
    first = train(tmp_path, "--epochs=2")
    before = (tmp_path / "metrics.jsonl").read_text()
    again = train(tmp_path)
    assert again.progress == first.progress
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_run_goes_on_from_the_checkpoint_that_is_asked_for(tmp_path):
    every = ("--checkpoint_every=1 rounds", "--keep_checkpoints=9")
    whole = train(tmp_path, *every)
    files = pathlib.Path(tmp_path / "checkpoints")
    assert sorted(int(p.name) for p in files.iterdir()) == [5, 10, 15]
    again = train(tmp_path, "--resume=5")
    assert again.progress == whole.progress
    assert [e["step"] for e in lines_of(tmp_path)] == [5, 10, 15]
    with pytest.raises(ValueError, match="--resume=none"):
        train(tmp_path, "--resume=none")
    with pytest.raises(ValueError, match=r"--resume=7: expected .*\[5, 10, 15\]"):
        train(tmp_path, "--resume=7")
    assert [e["step"] for e in lines_of(tmp_path)] == [5, 10, 15]


def test_other_model_is_refused_before_anything_is_cut(tmp_path):
    train(tmp_path, "--checkpoint_every=1 rounds", "--keep_checkpoints=9")
    before = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match="another model or optimizer"):
        train(tmp_path, "--resume=5", width=8)
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_not_finite_training_says_so_in_the_metrics_and_stops(tmp_path):
    with pytest.raises(NonFiniteError, match="train_loss is not finite in step 8"):
        train(tmp_path, poison_step=8)
    assert lines_of(tmp_path)[-1]["not_finite"] == "train_loss"
    assert lines_of(tmp_path)[-1]["at"] == 8


@pytest.mark.parametrize("flag", ["--eval_every=5 seconds", "--checkpoint_every=often"])
def test_bad_interval_is_refused_before_anything_is_written(tmp_path, flag):
    with pytest.raises(ValueError, match=r"--\w+_every=.*: expected a positive"):
        train(tmp_path / "run", flag)
    assert not (tmp_path / "run" / "checkpoints").exists()
