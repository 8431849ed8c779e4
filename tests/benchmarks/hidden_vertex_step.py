"""Compares the seed model's training step with PyTorch Geometric's, and times epochs.

Command: `python -m tests.benchmarks.hidden_vertex_step --data=FILE` (a minute; without
a file random events of the same sizes). Both sides take the same graphs, made into
batches before, in one process on two cores; they alternate, medians and minima are
printed. On a busy machine PyTorch's two threads wait for each other much longer than
they compute: only `--torch_threads=1` and the CPU times mean something there.
`--epoch_events=100000` trains an epoch of so many events with the real loop
from a store on disk, in a process of its own for each place of the data. The store is
made by repeating the rows of the file. The last line of JSON holds all.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

TARGET = 6.0  # times the throughput of PyTorch Geometric, batch 32
BATCHES = 8  # that a round goes through
RATE, DECAY, CLIP = 1e-3, 1e-5, 1.0


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A source whose rows come again and again."""

    path: str
    num_rows: int
    labelled: bool = True

    def read(self, start, stop):
        """Reads rows; their numbers go on ascending."""
        from jaxphys.hidden_vertex.data.readers import open_source
        from jaxphys.hidden_vertex.physics.events import join_events

        source, parts = open_source(self.path), []
        while start < stop:
            shift = start - start % source.num_rows
            end = min(stop, shift + source.num_rows)
            part = source.read(start - shift, end - shift)
            number = {"event_id": part.event_id + shift}
            parts.append(dataclasses.replace(part, **number))
            start = end
        return join_events(parts)

    def describe(self):
        """Returns what tells this source from another."""
        return {"kind": "repeated", "path": str(self.path), "rows": self.num_rows}


def anonymous_megabytes():
    """Returns the resident memory that no file backs."""
    sizes = {}
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        sizes[name] = value.split()
    return (int(sizes["VmRSS"][0]) - int(sizes["RssFile"][0])) / 1e3


def make_data(store, batch_size, **settings):
    """Returns the batches of all events, shuffled."""
    import numpy as np

    from jaxphys.data.batches import shuffled
    from jaxphys.hidden_vertex.batches import GraphBatches
    from jaxphys.hidden_vertex.data.store import open_store

    store = open_store(store)
    count = len(store)
    return GraphBatches(
        store, np.arange(count), batch_size, shuffled(count, 0), **settings
    )


def make_task(data, evaluation):
    """Returns the task of the seed model."""
    import jax

    from jaxphys.hidden_vertex.model import model
    from jaxphys.hidden_vertex.training import step
    from jaxphys.training import optimizers
    from jaxphys.training.task import Task

    net = model.SeedAutoencoder()
    objective = step.Objective(step.GraphObjective(net))
    optimizer = optimizers.make_optimizer(
        "adamw", RATE, weight_decay=DECAY, grad_clip_norm=CLIP
    )
    batch = data.expand(data.resident(0), data.batch(0, 0, slice(None)))
    first = {name: array[0] for name, array in batch.items()}

    def init(key):
        params = net.init(jax.random.fold_in(key, 0), first)["params"]
        return step.initial_state(params, objective=objective, optimizer=optimizer)

    def train_step(state, batch, key, phase):
        del key, phase
        return step.train_step(
            state, batch, None, objective=objective, optimizer=optimizer
        )

    def eval_step(state, batch, key, phase):
        del key, phase
        return step.eval_step(state, batch, objective=objective)

    return Task(
        init=init,
        train_step=train_step,
        eval_step=eval_step,
        summarize=functools.partial(step.summarize, objective=objective),
        train_data=data,
        eval_data=evaluation,
    )


def our_steps(task, data, calls):
    """Returns a function that trains through all batches once, in one call."""
    import jax
    import numpy as np

    from jaxphys.training.compiled import Compiled
    from jaxphys.training.mesh import make_mesh

    compiled = Compiled(task, make_mesh("data:1"), 0)
    batches = [data.batch(0, i, slice(None)) for i in calls]
    stack = compiled.place_stack(jax.tree.map(lambda *a: np.stack(a), *batches))
    state = [compiled.init()]

    def run():
        state[0], metrics = compiled.train(state[0], stack, 0, len(calls), "train")
        jax.block_until_ready(metrics)

    return run


def pyg_steps(data, calls):
    """Returns a function that trains the PyTorch Geometric model likewise."""
    import numpy as np
    import torch

    from tests.hidden_vertex import pyg_twin

    inputs = []
    for i in calls:
        batch = {k: a[0] for k, a in data.batch(0, i, slice(None)).items()}
        events = int(batch["weight"].sum())
        count = int(batch["n_node"][:events].sum())
        senders = batch["neighbours"][:count].reshape(-1)
        receivers = np.repeat(np.arange(count), batch["neighbours"].shape[1])
        real = senders != receivers
        part = {
            "x": batch["x"][:count],
            "senders": senders[real],
            "receivers": receivers[real],
            "graph_index": batch["graph_index"][:count],
            "n_node": batch["n_node"][:events],
        }
        inputs.append(pyg_twin.inputs_of(part))
    torch.manual_seed(0)
    model = pyg_twin.Seed()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)

    def run():
        for one in inputs:
            optimizer.zero_grad()
            loss = torch.mean((model(*one) - one[0]) ** 2)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return run


def compare(store, batch_size, rounds):
    """Returns ms per step of both sides, which take turns."""
    data = make_data(store, batch_size)
    key = data.shape_key(0, 0)
    calls = [i for i in range(data.num_batches(0) - 1) if data.shape_key(0, i) == key]
    calls = calls[:BATCHES]
    runs = {
        "PyTorch Geometric": (pyg_steps(data, calls), 1),
        "jaxphys": (our_steps(make_task(data, data), data, calls), 4),
    }
    wall = {name: [] for name in runs}
    cpu = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, (run, repeats) in runs.items():
            start, spent = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                run()
            each = 1e3 / (repeats * len(calls))
            if turn:  # the first one compiles
                wall[name].append((time.perf_counter() - start) * each)
                cpu[name].append((time.process_time() - spent) * each)
    return {"wall": wall, "cpu": cpu, "anonymous [MB]": anonymous_megabytes()}


def show(batch_size, found):
    """Prints the times of a batch size and their ratios."""
    print(f"batch {batch_size}, ms per step: median (least) of wall and CPU")
    for name in found["wall"]:
        both = [found[kind][name] for kind in ("wall", "cpu")]
        texts = [f"{statistics.median(ms):9.3f} ({min(ms):.3f})" for ms in both]
        print(f"  {name:20s}" + " ".join(texts))
    ratios = {}
    for kind in ("wall", "cpu"):
        theirs, ours = found[kind].values()
        each = [a / b for a, b in zip(theirs, ours, strict=True)]
        ratios[kind] = [statistics.median(each), min(theirs) / min(ours)]
        print(f"  {kind}: {ratios[kind][0]:.1f}x, of the least {ratios[kind][1]:.1f}x")
    print(f"  anonymous memory {found['anonymous [MB]']:.0f} MB", flush=True)
    return {**found, "ratio": ratios}


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.entries = []

    def start(self, resume):
        """Is told where the run begins."""

    def write(self, step, scalars):
        """Keeps the scalars of an evaluation."""
        self.entries.append(dict(scalars))


def measure_epoch(store, batch_size, on_device):
    """Trains two epochs with the real loop; the first one compiles."""
    from jaxphys.data.batches import sequential
    from jaxphys.training.loop import fit
    from jaxphys.training.mesh import make_mesh

    data = make_data(store, batch_size, on_device=on_device)
    few = {"positions": data.positions[:batch_size], "order": sequential(batch_size)}
    evaluation = dataclasses.replace(data, **few, on_device=False)
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], anonymous_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    spent = time.process_time()
    task = make_task(data, evaluation)
    writer: Any = Kept()
    fit(task, mesh=make_mesh("data:1"), rounds=2, writer=writer)
    history = writer.entries
    done.set()
    watcher.join()
    steps = data.num_batches(0)
    return {
        "seconds": [steps / entry["steps_per_second"] for entry in history],
        "CPU seconds": time.process_time() - spent,  # of both epochs
        "input_wait": [entry["input_wait"] for entry in history],
        "anonymous [MB]": peak[0],
        "loss": history[-1]["train_loss"],
    }


def show_epochs(store, batch_size, places):
    """Measures an epoch for each place of the data, in a process of its own."""
    found = {}
    for place in places:
        command = [sys.executable, "-m", "tests.benchmarks.hidden_vertex_step"]
        command += [f"--measure={place}", f"--store={store}"]
        command += [f"--batch_sizes={batch_size}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        one = found[place] = json.loads(done.stdout.splitlines()[-1])
        first, second = one["seconds"]
        print(
            f"epoch, data on the {place}: {second:.1f} s (the first {first:.1f} s), "
            f"waiting for data {one['input_wait'][1]:.1%}, CPU of both "
            f"{one['CPU seconds']:.1f} s, anonymous memory at most "
            f"{one['anonymous [MB]']:.0f} MB, loss {one['loss']:.4f}",
            flush=True,
        )
    return found


def make_store(folder, path, events, workers):
    """Returns the folder of a store of so many events, made unless it is there."""
    from jaxphys.hidden_vertex.data.prepare import Recipe, prepare

    folder = pathlib.Path(folder) / f"store_{events}"
    recipe = Recipe(with_ax=True)
    prepare(Repeated(str(path), events), folder, recipe, workers=workers, progress=True)
    return folder


def main():
    """Prints the medians and all measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="", help="file of events; random if empty")
    parser.add_argument("--batch_sizes", default="32,256")
    parser.add_argument("--rounds", type=int, default=7, help="0: no comparison")
    parser.add_argument("--epoch_events", type=int, default=0, help="0: no epochs")
    parser.add_argument("--places", default="host,device", help="of the epochs' data")
    parser.add_argument("--folder", default="", help="keeps the stores")
    parser.add_argument("--workers", type=int, default=2, help="processes of prepare")
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--torch_threads", type=int, default=2)
    parser.add_argument("--measure", default="", help=argparse.SUPPRESS)
    parser.add_argument("--store", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.sched_setaffinity(0, [int(core) for core in args.cores.split(",")])
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    if args.measure:
        found = measure_epoch(args.store, sizes[0], args.measure == "device")
        print(json.dumps(found))
        return
    everything = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or temporary
        path = args.data
        if not path:
            from tests.benchmarks.hidden_vertex_graphs import random_file

            path = random_file(pathlib.Path(folder) / "random.h5", 2000)
        if args.rounds:
            import torch

            torch.set_num_threads(args.torch_threads)
            events = max(BATCHES + 2, 10) * max(sizes)
            store = make_store(folder, path, events, args.workers)
            for size in sizes:
                everything[size] = show(size, compare(store, size, args.rounds))
            ratio = everything[sizes[0]]["ratio"]["wall"][0]
            print(f"batch {sizes[0]}: {ratio:.1f}x (target {TARGET:g})")
        if args.epoch_events:
            store = make_store(folder, path, args.epoch_events, args.workers)
            everything["epoch"] = show_epochs(store, sizes[0], args.places.split(","))
    print(json.dumps(everything))


if __name__ == "__main__":
    main()
