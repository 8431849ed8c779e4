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
from typing import Any

BATCH = 512
ROWS = 85_000
SIZES = {"small": (64, 64, 32), "medium": (128, 128, 64), "large": (512, 512, 256, 128)}
KINDS = ("cpu", "wall")
SIDES = ("torch_1_thread", "jax_1_thread", "torch_2_threads")
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

        result[name] = _sized(run, seconds)
    return result


def measure_jax(size, seconds):
    """Returns the cost of our steps, alone and with batches gathered on the device."""
    import numpy as np

    x, y = random_data()
    rng = np.random.default_rng(1)
    result = {}
    for name in ("step", "pipeline"):
        advance = compiled_steps(SIZES[size], x, y, gather=name == "pipeline")

        def run(steps, advance=advance, name=name):
            if name == "step":
                order = np.zeros((steps, 1), np.int32)
            else:
                epochs = -(-steps * BATCH // ROWS)
                order = np.concatenate([rng.permutation(ROWS) for _ in range(epochs)])
                order = order[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)
            advance(order)

        result[name] = _sized(run, seconds)
    return result


def compiled_steps(hidden, x, y, gather):
    """Returns a function that takes one step per row of an index array [K, B].

    The data lie on the device; with `gather` each step picks its rows inside the
    compiled loop, otherwise every step sees the same batch.
    """
    import jax
    import jax.numpy as jnp
    import optax

    from jaxphys.track_extrapolator.model import TrackMLP, mean_squared_error
    from jaxphys.training.adam import adamw

    model: Any = TrackMLP(hidden, "tanh")
    optimizer = adamw(1e-3, 1e-5)
    x, y = jnp.asarray(x), jnp.asarray(y)
    variables = model.init(jax.random.key(0), x[:1])
    params = variables["params"]
    state = [(params, optimizer.init(params))]

    def loss_of(params, x, y):
        prediction = model.apply({**variables, "params": params}, x)
        return mean_squared_error(prediction, y)

    def step(carry, rows):
        params, moments = carry
        batch = (x[rows], y[rows]) if gather else (x[:BATCH], y[:BATCH])
        loss, gradients = jax.value_and_grad(loss_of)(params, *batch)
        updates, moments = optimizer.update(gradients, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    scan = jax.jit(
        lambda carry, order: jax.lax.scan(step, carry, order), donate_argnums=0
    )

    def advance(order):
        state[0], losses = scan(state[0], order)
        return jax.block_until_ready(losses)

    return advance


def _sized(run, seconds):
    """Warms up, chooses a number of steps for the given time and measures."""
    run(8)
    once = timed(lambda: run(8), 8)["wall"]
    steps = max(16, int(seconds * 1e3 / once))
    run(steps)  # compiles for this number of steps
    return timed(lambda: run(steps), steps)


def measure(side, size, seconds):
    """Runs one side in this process; its affinity is set already."""
    if side == "jax_1_thread":
        return measure_jax(size, seconds)
    return measure_torch(size, seconds, threads=2 if side == "torch_2_threads" else 1)


def in_own_process(side, size, seconds, cores):
    """Returns the result of `measure` from a pinned process."""
    used = cores[:2] if side == "torch_2_threads" else cores[-1:]
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
