"""Compares the cost of a training step with PyTorch eager, in one run.

Command: `python -m tests.benchmarks.training_step` (about 4 minutes; --repeats=1 is a
quick look). Every measurement runs in its own process, pinned before JAX or PyTorch
starts its threads; the sides alternate, medians are printed. The recipe is the
original's: tanh, raw MSE, AdamW, batch 512, float32. The last line of JSON holds all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

BATCH = 512
ROWS = 85_000
SIZES = {"small": (64, 64, 32), "medium": (128, 128, 64), "large": (512, 512, 256, 128)}
KINDS = ("cpu", "wall")
SIDES = ("torch_1_thread", "jax_1_thread", "torch_2_threads", "jax_2_threads")
PAIRS = (
    ("step only, default AdamW", "torch_1_thread/adamw", "jax_1_thread/step"),
    ("step only, fused AdamW", "torch_1_thread/fused", "jax_1_thread/step"),
    ("with input pipeline", "torch_1_thread/loader", "jax_1_thread/pipeline"),
)
TARGETS = {
    ("large", "step only, default AdamW"): 2.5,
    ("large", "with input pipeline"): 2.5,
    ("medium", "with input pipeline"): 4.0,
    ("small", "with input pipeline"): 8.0,
}


def random_data():
    """Returns float32 inputs [ROWS, 6] and targets [ROWS, 4] of the usual sizes."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 6)) * [500, 400, 0.2, 0.15, 2e-4, 0]
    x[:, 5] = 4000.0
    y = rng.normal(size=(ROWS, 4)) * [900, 700, 0.3, 0.15]
    return x.astype(np.float32), y.astype(np.float32)


def timed(run, steps):
    """Returns milliseconds of CPU and of wall time per step of `run()`."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return {
        "cpu": (time.process_time() - cpu) / steps * 1e3,
        "wall": (time.perf_counter() - wall) / steps * 1e3,
    }


def measure_torch(size, seconds, threads):
    """Returns the cost of PyTorch eager steps and of its input pipeline."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from tests.track_extrapolator import torch_twin

    torch.set_num_threads(threads)
    x, y = map(torch.from_numpy, random_data())
    criterion = torch.nn.MSELoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)

    def fixed(steps):
        return ((x[:BATCH], y[:BATCH]) for _ in range(steps))

    def shuffled(steps):
        while steps > 0:
            for batch in loader:
                if steps == 0:
                    return
                steps -= 1
                yield batch

    cases = {"adamw": (fixed, None), "fused": (fixed, True), "loader": (shuffled, None)}
    result = {}
    for name, (batches, fused) in cases.items():
        torch.manual_seed(0)
        model = torch_twin.TorchTrackMLP(SIZES[size])
        optimizer = torch_twin.make_optimizer(model, fused=fused)

        def run(steps, batches=batches, model=model, optimizer=optimizer):
            for batch in batches(steps):
                torch_twin.train_step(model, optimizer, criterion, *batch)

        result[name] = sized(run, seconds)
    return result


def sized(run, seconds, least=8):
    """Warms up, chooses a number of steps for the given time and measures."""
    run(least)
    once = timed(lambda: run(least), least)["wall"]
    steps = max(2 * least, int(seconds * 1e3 / once))
    steps = -(-steps // least) * least
    return timed(lambda: run(steps), steps)


def measure(side, size, seconds):
    """Runs one side in this process; its affinity is set already."""
    if side.startswith("jax"):
        from tests.benchmarks.library_step import measure_jax

        return measure_jax(SIZES[size], seconds)
    return measure_torch(size, seconds, threads=2 if side == "torch_2_threads" else 1)


def in_own_process(side, size, seconds, cores):
    """Returns the result of `measure` from a pinned process."""
    used = cores[:2] if side.endswith("2_threads") else cores[-1:]
    threads = str(len(used))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-m", "tests.benchmarks.training_step"]
    command += [f"--measure={side}", f"--sizes={size}", f"--seconds={seconds}"]
    command += [f"--cores={','.join(map(str, used))}"]
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(size, costs):
    """Prints the medians of one size and the ratios with their targets."""
    print(f"\n{size}: {'-'.join(map(str, SIZES[size]))}, batch {BATCH}")
    print(f"  {'':26}{'CPU ms':>9}{'wall ms':>9}")
    for name, (cpu, wall) in costs.items():
        print(f"  {name:26}{cpu:9.3f}{wall:9.3f}")
    ratios = {}
    for title, theirs, ours in PAIRS:
        ratio = ratios[title] = costs[theirs][0] / costs[ours][0]
        target = TARGETS.get((size, title))
        verdict = "" if target is None else f"  (target {target})"
        print(f"  {title:26}{ratio:8.2f}x{verdict}")
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="small,medium,large")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="per measurement")
    parser.add_argument("--cores", default="0,1", help="the last one is the pinned one")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cores = [int(core) for core in arguments.cores.split(",")]
    sizes = arguments.sizes.split(",")
    if arguments.measure:
        os.sched_setaffinity(0, cores)
        print(json.dumps(measure(arguments.measure, sizes[0], arguments.seconds)))
        return
    everything = {}
    for size in sizes:
        runs: dict[str, list] = {}
        for _ in range(arguments.repeats):
            for side in SIDES:
                found = in_own_process(side, size, arguments.seconds, cores)
                for name, cost in found.items():
                    runs.setdefault(f"{side}/{name}", []).append(cost)
        costs = {
            name: [statistics.median(run[kind] for run in found) for kind in KINDS]
            for name, found in runs.items()
        }
        everything[size] = {"ms": costs, "ratio": report(size, costs)}
    print("\n" + json.dumps(everything))


if __name__ == "__main__":
    main()
