"""Real command lines in processes of their own, for tests that end them."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time

TIMED = ("steps_per_second", "input_wait")  # differ from run to run
ROOT = pathlib.Path(__file__).parents[2]
SMALL = {
    "samples": 2000,
    "model": "tiny",
    "batch_size": 256,
    "step_mm": 200,
    "report_jacobians": 0,
    "plain_log": "true",
}  # seven steps in a round


def arguments(**settings):
    return [f"--{name}={value}" for name, value in {**SMALL, **settings}.items()]


class Commands:
    """Starts ``python -m experiments.track_extrapolator`` with a compilation cache."""

    def __init__(self, cache):
        self.cache = cache

    def start(self, *words, environment=None, file_limit=None, **settings):
        """Returns the process; `file_limit` in bytes stands for a full disk."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "experiments.track_extrapolator",
                *words,
                *arguments(**settings),
            ],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
                "JAX_PLATFORMS": "cpu",
                "JAX_COMPILATION_CACHE_DIR": str(self.cache),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if file_limit is not None:
            limits = (file_limit, file_limit)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
        return process

    def run(self, *words, **settings):
        """Returns (exit status, output) of a command that ends by itself."""
        return finish(self.start(*words, **settings))


def finish(process, seconds=180):
    """Waits for a process; returns (exit status, output)."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"did not end within {seconds} s:\n{output}") from None
    return process.returncode, output


def wait_for_evaluations(process, workdir, count, seconds=120):
    """Waits until metrics.jsonl has so many lines."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        if process.poll() is not None:
            raise AssertionError(f"ended too early:\n{process.communicate()[0]}")
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"no {count} evaluations:\n{process.communicate()[0]}")


def metrics_of(workdir):
    """Returns the entries of metrics.jsonl without the times in them."""
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines
    ]


def checkpoints_of(workdir):
    """Returns the steps of the complete checkpoints."""
    folder = pathlib.Path(workdir) / "checkpoints"
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal())
