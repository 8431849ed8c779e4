"""Two real processes on one machine are the same training as one process."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from jaxphys.training import loop
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.mesh import make_mesh
from tests.training.commands import ROOT, Commands, checkpoints_of, finish, metrics_of
from tests.training.toy import make_task

pytestmark = pytest.mark.slow
ROUNDS = 4


def environments():
    """Returns what Open MPI's launcher would tell two processes on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {
        "JAX_COORDINATOR_PORT": str(port),
        "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": "2",
    }
    ranks = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
    return [common | dict.fromkeys(ranks, str(rank)) for rank in (0, 1)]


def train(workdir, axes="", *, calls=0, split=False, rounds=ROUNDS):
    """Returns (exit status, output) of both processes."""
    plain = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    words = [str(workdir), axes, str(rounds), str(calls), str(int(split))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.process.two_processes", *words],
            cwd=ROOT,
            env={**plain, "JAX_PLATFORMS": "cpu", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in environments()
    ]
    return [finish(process) for process in processes]


def weights_in(output):
    (line,) = [x for x in output.splitlines() if x.startswith("weights ")]
    return {k: np.array(v) for k, v in json.loads(line[len("weights ") :]).items()}


def losses(workdir):
    return [(e["step"], e["train_loss"], e["val_loss"]) for e in metrics_of(workdir)]


@pytest.fixture(scope="module")
def alone():
    """The same training in this process, on two devices."""
    return loop.fit(
        make_task(), mesh=make_mesh("data:2"), rounds=ROUNDS, steps_per_call=2
    )


def assert_agrees(workdir, outputs, alone):
    expected = [
        (h["step"], h["train_loss"], h["val_loss"]) for h in alone.progress.history
    ]
    np.testing.assert_allclose(losses(workdir), expected, rtol=1e-5)
    weights = [weights_in(output) for _, output in outputs]
    for name, value in alone.last.params.items():
        np.testing.assert_array_equal(weights[0][name], weights[1][name])
        np.testing.assert_allclose(weights[0][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("axes", "split"), [("", False), ("fsdp:2", True)], ids=["data", "fsdp"]
)
def test_two_processes_train_as_one_and_leave_checkpoints_for_one(
    tmp_path, alone, axes, split
):
    outputs = train(tmp_path, axes, split=split)
    assert [status for status, _ in outputs] == [0, 0], outputs
    assert_agrees(tmp_path, outputs, alone)
    keep = Checkpointer(tmp_path / "checkpoints", read_only=True)
    state, progress = keep.read_latest()
    assert progress.step == 5 * ROUNDS
    written = weights_in(outputs[0][1])
    for name, value in state["params"].items():
        np.testing.assert_array_equal(np.asarray(value), written[name])


def test_sigterm_in_one_process_ends_both_at_one_step_and_both_go_on(tmp_path, alone):
    first = train(tmp_path, calls=3, rounds=ROUNDS)
    assert [status for status, _ in first] == [75, 75], first
    step = checkpoints_of(tmp_path)[-1]
    assert 5 <= step < 5 * ROUNDS
    assert all(f"saved at step {step}" in output for _, output in first)
    again = train(tmp_path)
    assert [status for status, _ in again] == [0, 0], again
    assert_agrees(tmp_path, again, alone)


def test_command_line_with_multihost_trains_as_without(tmp_path):
    commands = Commands(tmp_path / "cache")
    settings = {"epochs": 3, "schedule": "constant", "model": "medium"}
    status, output = commands.run(workdir=tmp_path / "one", **settings)
    assert status == 0, output
    processes = [
        commands.start(
            "--multihost",
            "--mesh=fsdp:2",  # medium has a layer that is large enough to be split
            environment=found,
            workdir=tmp_path / "two",
            **settings,
        )
        for found in environments()
    ]
    outputs = [finish(process) for process in processes]
    assert [status for status, _ in outputs] == [0, 0], outputs
    np.testing.assert_allclose(
        losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4
    )
    assert (tmp_path / "two" / "report" / "report.html").is_file()
    assert checkpoints_of(tmp_path / "two") == checkpoints_of(tmp_path / "one")
