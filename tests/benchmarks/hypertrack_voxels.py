"""Measures the Voxel-Dynamics estimator: training, rates, flatness, time and memory.

Command: `python -m tests.benchmarks.hypertrack_voxels --data=FOLDER`, FOLDER with
full_mu200-*.parquet (4 events) and train_mu20-*.parquet (48 events; about a minute).
Trained on the former and on 30000 to 30039 of the latter, validated on 30040 to 30047.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from jaxphys.hypertrack.analysis.edge_metrics import (
    MeanRates,
    candidate_counts,
    mean_rates,
)
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.model.candidates import (
    candidate_graph,
    candidate_rows,
    edge_index_of,
    reverse_edges,
)
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from jaxphys.hypertrack.model.voxels import read_voxels, write_voxels

VALIDATION = range(40, 48)
# (ncell, augment) -> TPR and FPR of the specification's authors, 8 iterations
REFERENCE = {
    (16_384, 1): (0.904, 0.00635),
    (16_384, 8): (0.983, 0.01280),
    (65_536, 1): (0.621, 0.00110),
    (65_536, 8): (0.894, 0.00368),
}


class Clock:
    """Wall and CPU seconds, of all threads, since it was made."""

    def __init__(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self):
        """Returns (wall, CPU)."""
        now = time.perf_counter(), time.process_time()
        return now[0] - self._wall, now[1] - self._cpu


def show(name, rates: MeanRates, reference=None):
    """Prints a line of rates."""
    beside = f" (table {reference[0]:.3f}, {reference[1]:.5f})" if reference else ""
    print(
        f"{name:24s} TPR {rates.tpr[0]:.4f} +- {rates.tpr[1]:.4f}  FPR "
        f"{rates.fpr[0]:.6f} +- {rates.fpr[1]:.6f}{beside}  purity "
        f"{rates.purity[0]:.3f}  edges {rates.edges[0]:,.0f}",
        flush=True,
    )


def train(tracks, events, path, ncell, augment, niter):
    """Trains, writes the model, prints time and rates."""
    clock = Clock()
    model = train_voxels(tracks, ncell, niter=niter, augment=augment)
    wall, cpu = clock.read()
    write_voxels(path, model)
    rates = mean_rates(candidate_counts(model, events[i]) for i in VALIDATION)
    name = f"{ncell:,} cells, augment {augment}"
    show(name, rates, REFERENCE.get((ncell, augment)))
    print(
        f"{'':24s} trained in {wall:.1f} s (CPU {cpu:.1f} s), density "
        f"{model.density:.5f}, file {path.stat().st_size / 1e6:.1f} MB"
    )
    return {"wall": wall, "cpu": cpu, "tpr": rates.tpr, "fpr": rates.fpr}


def flatness(model, events):
    """Prints the rates at several fractions of the pile-up, noise ratio 0.05."""
    for rfactor, draws in ((0.1, 8), (0.5, 2), (1.0, 1)):
        counts = [
            candidate_counts(
                model,
                reduce(events[i], rfactor, 0.05, np.random.default_rng([7, i, draw])),
            )
            for i in VALIDATION
            for draw in range(draws)
        ]
        # pairs of all graphs together: small ones fluctuate
        pooled = {k: sum(getattr(c, k) for c in counts) for k in ("tp", "pos", "fp")}
        neg = sum(c.neg for c in counts)
        name = f"rfactor {rfactor:g}, {len(counts)} graphs"
        show(name, mean_rates(counts))
        print(
            f"{'':24s} pooled TPR {pooled['tp'] / pooled['pos']:.4f}  FPR "
            f"{pooled['fp'] / neg:.6f}"
        )


def time_graphs(model, event, repeats):
    """Prints the medians of wall and CPU time of the stages of a graph."""
    found = {}

    def measure(name, run):
        times = []
        for _ in range(repeats):
            clock = Clock()
            result = run()
            times.append(clock.read())
        found[name] = tuple(statistics.median(t) for t in zip(*times, strict=True))
        return result

    cells = measure("nearest cells", lambda: model.cells(event.position))
    rows = measure("join", lambda: candidate_rows(model, cells))
    measure("edge list", lambda: edge_index_of(*rows))
    measure("reverse edges", lambda: reverse_edges(*rows))
    measure("whole graph", lambda: candidate_graph(model, event.position).shape)
    print(f"event {event.event_id}: {event.num_hits:,} hits, {len(rows[1]):,} edges")
    for name, (wall, cpu) in found.items():
        print(f"{'':4s}{name:20s} {wall:8.4f} s (CPU {cpu:.4f} s)")


def peak_memory():
    """Returns the largest resident memory of this program, GB (Linux).

    What getrusage says would include the program that started it.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def memory_of_one_graph(path, prefix, place):
    """Prints the resident memory of this process before and at its largest."""
    model, event = read_voxels(path), open_events(str(prefix))[place]
    model.cells(event.position[:10])
    model.matrix  # noqa: B018
    before = peak_memory()
    edges = candidate_graph(model, event.position)
    after = peak_memory()
    print(
        f"event {event.event_id}: {edges.shape[1]:,} edges; peak memory "
        f"{after:.2f} GB, of it {before:.2f} GB before the graph"
    )


def main():
    """Prints every figure, and those of training as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the two samples")
    parser.add_argument("--niter", type=int, default=8, help="iterations of k-means")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory_of", default="", help="voxel file (internal)")
    args = parser.parse_args()
    folder = pathlib.Path(args.data)
    if args.memory_of:
        memory_of_one_graph(args.memory_of, folder / "full_mu200", 0)
        return
    full, mu20 = (open_events(str(folder / n)) for n in ("full_mu200", "train_mu20"))
    chosen = [*(full[i] for i in range(4)), *(mu20[i] for i in range(40))]
    tracks = gather_tracks(chosen)
    events = {i: mu20[i] for i in VALIDATION}
    print(f"{len(tracks.position):,} training hits, {len(tracks.offsets) - 1:,} tracks")
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for ncell, augment in REFERENCE:
            path = pathlib.Path(temporary) / f"{ncell}_{augment}.npz"
            key = f"{ncell}/{augment}"
            found[key] = train(tracks, events, path, ncell, augment, args.niter)
            real = folder / "trackml_real_5pct"
            if real.is_dir():
                counts = candidate_counts(read_voxels(path), open_events(str(real))[0])
                show("    the real event", mean_rates([counts]))
        model = read_voxels(path)
        flatness(model, events)
        for event in (events[40], full[0]):
            time_graphs(model, event, args.repeats)
        command = [sys.executable, "-m", "tests.benchmarks.hypertrack_voxels"]
        options = [f"--data={folder}", f"--memory_of={path}"]
        subprocess.run([*command, *options], check=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
