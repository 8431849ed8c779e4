"""Measures the data side of hidden_vertex on one core: graphs, files, store, batches.

Command: `taskset -c 0 python -m tests.benchmarks.hidden_vertex_graphs` (about half a
minute). --data=FILE takes events of a file instead of random ones of the same sizes.
Medians of --repeats; --workers is for `prepare`.
"""

import argparse
import json
import pathlib
import resource
import statistics
import tempfile
import time

import numpy as np

from jaxphys.data.batches import shuffled
from jaxphys.hidden_vertex.batches import GraphBatches
from jaxphys.hidden_vertex.data.prepare import Recipe, prepare
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.physics.events import iterate, join_events
from jaxphys.hidden_vertex.physics.graphs import (
    aggregate,
    features,
    knn_table,
    radius_table,
)
from tests.hidden_vertex.samples import lhco_rows, write_lhco

WHOLE = slice(None)


def per_second(run, count, repeats):
    """Returns the median of count per wall second of run()."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


def random_file(path, events):
    """Writes events of the sizes of real background."""
    sizes = np.random.default_rng(0).normal(173.5, 63.2, events)
    return write_lhco(path, lhco_rows(np.clip(sizes, 47, 482).astype(int)))


def measure_graphs(events, repeats):
    """Returns events per second of everything that is computed of events."""
    points, offset, count = events.particles[:, 1:], events.offset, len(events)
    x = features(events.particles)
    near = knn_table(points, offset, 6)
    runs = {
        "k-NN, k = 6": lambda: knn_table(points, offset, 6),
        "k-NN, periodic": lambda: knn_table(points, offset, 6, True),
        "radius 0.4": lambda: radius_table(points, offset, 0.4),
        "features": lambda: features(events.particles),
        "aggregate": lambda: aggregate(x, near, offset),
    }
    return {name: per_second(run, count, repeats) for name, run in runs.items()}


def measure_store(path, folder, workers, repeats, limit):
    """Returns events per second of preparing and of packing batches of 32."""
    folders = iter(range(1000))

    def run():
        recipe = Recipe(read_rows=1024 if limit else 4096, with_ax=True)
        place = folder / str(next(folders))
        stores.append(prepare(path, place, recipe, workers=workers, subset_size=limit))

    stores = []
    rows = limit or open_source(path).num_rows
    found = {f"prepare, {workers} workers": per_second(run, rows, repeats)}
    for on_device in (False, True):
        count = len(stores[0])
        order = shuffled(count, 0)
        data = GraphBatches(stores[0], np.arange(count), 32, order, on_device=on_device)
        where = "rows only" if on_device else "gathered"
        batches = data.num_batches(0)

        def pack(data=data, batches=batches):
            for i in range(batches):
                data.batch(0, i, WHOLE)

        pack()
        found[f"batches of 32, {where}"] = per_second(pack, count, repeats)
        found[f"batches of 32, {where}: bytes"] = sum(
            a.nbytes for a in data.batch(0, 0, WHOLE).values()
        )
    return found


def main():
    """Prints a line per measurement and all of them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="", help="file of events; random if empty")
    parser.add_argument("--events", type=int, default=2000, help="events; 0: all")
    parser.add_argument("--workers", type=int, default=1, help="processes of prepare")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        path = args.data or random_file(folder / "a.h5", args.events or 10_000)
        source = open_source(path)
        stop = min(args.events or source.num_rows, source.num_rows)
        events = join_events(list(iterate(source, stop=min(stop, 2000))))
        found = {
            "read": per_second(lambda: list(iterate(source, stop=stop)), stop, 3),
            **measure_graphs(events, args.repeats),
            **measure_store(path, folder, args.workers, args.repeats, stop),
        }
    for kind in ("SELF", "CHILDREN"):
        usage = resource.getrusage(getattr(resource, f"RUSAGE_{kind}"))
        found[f"peak memory, {kind.lower()} [MB]"] = usage.ru_maxrss / 1e3
    for name, value in found.items():
        rate = name.endswith("]") or name.endswith("bytes")
        each = "" if rate else f" /s, {1e3 / value:.3f} ms per event"
        print(f"{name:32s} {value:12,.0f}{each}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
