"""Compares loading and training steps of gdynet with PyTorch, in one run.

Command: `python -m tests.benchmarks.gdynet_step` (about 5 minutes). The recipe is the
original's: batch 32, 20 neighbours, 3 convolutions of 64, 10 states, 50 Gaussians, two
lobes, both scores as metrics, float32, two threads. Each measurement has a process of
its own with the allocator's settings in its environment; the sides alternate, medians
are printed. PyTorch is the twin of the tests, which loads and computes as the original
does: frame by frame, Gaussians on the host, int64 edges, one linear map of
[h_i, h_j, e_ij]. The last line of JSON holds all.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

BATCH, NEIGHBOURS, TAU, FRAMES = 32, 20, 10, 128
HUGE = "glibc.malloc.hugetlb=1"
SIDES = ("torch", "torch_huge", "jax", "jax_huge")
TARGETS = {
    ("torch", "jax_huge"): 5.0,
    ("torch_huge", "jax_huge"): 4.0,
    ("torch", "jax"): 4.0,
}


def random_files(folder, atoms):
    """Writes a random trajectory and returns it as memory maps."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (FRAMES + TAU, atoms, NEIGHBOURS)
    arrays = {
        "nbr_lists": rng.integers(0, atoms, shape).astype(np.int64),
        "nbr_dists": np.sort(rng.uniform(2, 6, shape), -1).astype(np.float32),
    }
    for name, array in arrays.items():
        np.save(os.path.join(folder, name), array)
    return {
        name: np.load(os.path.join(folder, f"{name}.npy"), mmap_mode="r")
        for name in arrays
    }


def batches_of_frames(steps):
    """Yields the first frames of shuffled pairs."""
    import numpy as np

    rng = np.random.default_rng(1)
    for _ in range(steps):
        yield rng.choice(FRAMES, BATCH, replace=False)


def timed(load, step, steps):
    """Returns median milliseconds of loading and of a step."""
    rows = []
    for chosen in batches_of_frames(steps + 2):
        marks = [time.perf_counter()]
        batch = load(chosen)
        marks.append(time.perf_counter())
        step(batch)
        marks.append(time.perf_counter())
        rows.append([1e3 * (b - a) for a, b in itertools.pairwise(marks)])
    loading, stepping = zip(*rows[2:], strict=True)
    found = {"load": statistics.median(loading), "step": statistics.median(stepping)}
    return {**found, "sum": statistics.median(map(sum, rows[2:]))}


def measure_torch(files, atoms, steps):
    """The original's way: every frame expanded and joined on the host."""
    import numpy as np
    import torch
    from torch_geometric.data import Batch, Data

    from tests.gdynet import torch_twin

    torch.set_num_threads(2)
    smearing = torch_twin.Smearing(6.0, 50)
    types, targets = np.full(atoms, 8), np.arange(atoms)
    lobes = [torch_twin.Lobe(), torch_twin.Lobe()]
    lobes[1].load_state_dict(lobes[0].state_dict())
    weights = [p for lobe in lobes for p in lobe.parameters()]
    optimizer = torch.optim.Adam(weights, 1e-3)

    def one(frame):
        seen = {name: np.array(array[frame])[None] for name, array in files.items()}
        graph = torch_twin.graph_of(seen, types, targets, smearing)
        return Data(num_nodes=atoms, **{"target_index": graph.pop("target")}, **graph)

    def load(chosen):
        found = []
        for shift in (0, TAU):
            joined: Any = Batch.from_data_list([one(f + shift) for f in chosen])
            found.append(
                {
                    "x": joined.x,
                    "edge_index": joined.edge_index,
                    "edge_attr": joined.edge_attr,
                    "target": joined.target_index,
                }
            )
        return found

    def step(graphs):
        lobe_0, lobe_t = lobes
        torch_twin.train_step(lobe_0, lobe_t, optimizer, graphs[0], graphs[1])

    return timed(load, step, steps)


def measure_jax(files, atoms, steps):
    """Ours: arrays of the batch, everything else on the device."""
    import jax
    import numpy as np

    from jaxphys.gdynet.model.model import GDyNet
    from jaxphys.gdynet.training import step as steps_
    from jaxphys.training.optimizers import make_optimizer

    lobes = steps_.Lobes(GDyNet(), np.full(atoms, 8), np.arange(atoms))
    optimizer = make_optimizer("adam", 1e-3)
    variables = steps_.initial_variables(jax.random.key(0), lobes)
    state = steps_.initial_state(variables, objective=lobes, optimizer=optimizer)
    update = jax.jit(
        lambda state, batch: steps_.train_step(
            state, batch, None, "vamp2", objective=lobes, optimizer=optimizer
        ),
        donate_argnums=0,
    )
    types = {"nbr_lists": np.int32, "nbr_dists": np.float32}

    def load(chosen):
        found = {"weight": np.ones(BATCH, np.float32)}
        for which, shift in (("0", 0), ("t", TAU)):
            for name, array in files.items():
                rows = array[chosen + shift].astype(types[name], copy=False)
                found[f"{name}_{which}"] = rows
        return jax.device_put(found)

    def step(batch):
        nonlocal state
        state, metrics = update(state, batch)
        jax.block_until_ready((state, metrics))

    return timed(load, step, steps)


def in_own_process(side, atoms, steps):
    """Returns the times of one side from a process with its allocator settings."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "GLIBC_TUNABLES": ""}
    if side.endswith("huge"):
        environment["GLIBC_TUNABLES"] = HUGE
    command = [sys.executable, "-m", "tests.benchmarks.gdynet_step"]
    command += [f"--measure={side}", f"--atoms={atoms}", f"--steps={steps}"]
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(atoms, runs):
    """Prints medians of one size and the ratios with their targets."""
    costs = {
        side: {k: statistics.median(r[k] for r in found) for k in found[0]}
        for side, found in runs.items()
    }
    print(f"\n{atoms} atoms, ms{'load':>16}{'step':>9}{'sum':>9}")
    for side, cost in costs.items():
        print(f"  {side:14}" + "".join(f"{cost[k]:9.1f}" for k in cost))
    ratios = {}
    for (theirs, ours), target in TARGETS.items():
        pairs = zip(runs[theirs], runs[ours], strict=True)
        ratio = statistics.median(a["sum"] / b["sum"] for a, b in pairs)
        ratios[f"{theirs} / {ours}"] = ratio
        print(f"  {theirs:>11} / {ours:9}{ratio:8.2f}x  (target {target})")
    return {"ms": costs, "ratio": ratios}


def main():
    """Measures everything, or one side where asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", default="100,200")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="per measurement")
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.atoms.split(",")]
    if arguments.measure:
        run = measure_jax if arguments.measure.startswith("jax") else measure_torch
        with tempfile.TemporaryDirectory() as folder:
            files = random_files(folder, sizes[0])
            print(json.dumps(run(files, sizes[0], arguments.steps)))
        return
    everything = {}
    for atoms in sizes:
        runs: dict[str, list] = {side: [] for side in SIDES}
        for _ in range(arguments.repeats):
            for side in SIDES:
                runs[side].append(in_own_process(side, atoms, arguments.steps))
        everything[atoms] = report(atoms, runs)
    print("\n" + json.dumps(everything))


if __name__ == "__main__":
    main()
