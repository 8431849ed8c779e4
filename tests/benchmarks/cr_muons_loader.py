"""Measures how fast muon bundles come from Parquet files into packed batches.

Command: `taskset -c 0 python -m tests.benchmarks.cr_muons_loader` (about a minute).
Simulated events of both populations, in batches of 48,000; medians of --repeats epochs
of millions of events per second, wall and process CPU time. Nothing of a file is kept
between epochs: each one opens, decodes and packs all events anew.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import statistics
import tempfile
import time

import pyarrow as pa

from jaxphys.cr_muons.batches.batches import MuonBatches
from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.conditions import DEFAULT, PUBLISHED_LIKE
from jaxphys.cr_muons.simulation import simulate

BATCH = 48_000
ORDERS = {
    "in order": {},
    "shuffled in windows of 100k": {"shuffle": True, "shuffle_window": 100_000},
    "shuffled in whole files": {"shuffle": True},
}


def epoch_rates(index, repeats, **settings):
    """Returns medians of (wall, CPU) in M events/s, and the padded share of places."""
    wall, cpu, places, muons = [], [], 0, 0
    batches = MuonBatches(index, BATCH, prefetch=0, **settings)
    for epoch in range(1, repeats + 1):
        batches._store._held.clear()
        start, start_cpu = time.perf_counter(), time.process_time()
        events = 0
        for i in range(batches.num_batches(epoch)):
            batch = batches.batch(epoch, i, slice(None))
            events += int(batch["event_mask"].sum())
            places += batch["muons"].shape[1]
            muons += int(batch["num_muons"].sum())
        wall.append(events / (time.perf_counter() - start) / 1e6)
        cpu.append(events / (time.process_time() - start_cpu) / 1e6)
    medians = statistics.median(wall), statistics.median(cpu)
    return [round(x, 2) for x in medians], round(1 - muons / places, 3)


def measure(path, repeats):
    """Returns the rates of one file."""
    start = time.process_time()
    index = scan([str(path)])
    found = {
        "muons per event": round(index.facts["muons"] / index.facts["events"], 2),
        "indexed and checked": round(
            index.facts["events"] / (time.process_time() - start) / 1e6, 2
        ),
    }
    for name, settings in ORDERS.items():
        rates, padded = epoch_rates(index, repeats, **settings)
        found[name] = {"wall, CPU (M/s)": rates, "empty places": padded}
    return found


def main():
    """Writes the files and prints the rates as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--showers", type=int, default=48_000)
    parser.add_argument("--repeats", type=int, default=7)
    flags = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    report = {}
    three = dataclasses.replace(DEFAULT, yield_scale=0.78)  # muons per event
    with tempfile.TemporaryDirectory() as folder:
        for name, population in (("3", three), ("0.4", PUBLISHED_LIKE)):
            events = simulate(population, flags.showers, 5)
            for compression in ("zstd", "snappy"):
                path = pathlib.Path(folder) / f"{name}_{compression}.parquet"
                write_events(path, events, compression=compression)
                report[f"{name}, {compression}"] = measure(path, flags.repeats)
    report["peak memory (MB)"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
