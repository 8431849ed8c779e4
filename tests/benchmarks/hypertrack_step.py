"""Compares training steps of hypertrack's first phase with PyTorch, in one run.

Command: `python -m tests.benchmarks.hypertrack_step` (about 2 minutes). Both sides take
steps on the same graph in turns, in one process, with two threads; medians of wall time
and of processor time of the process are printed. PyTorch is the twin of the tests,
which computes as the original does and has its recorded numbers. Then the time of the
contrastive loss against the number of tracks. The last line of JSON holds all.

The graph is made of random helices through ten layers, with noise hits; candidates are
hits of one track and hits that lie near each other in azimuth and slope.
"""

import argparse
import json
import statistics
import time

import numpy as np


def random_graph(tracks, edges, seed=0):
    """Returns a padded graph of about 11 hits per track and the number of edges asked.

    Edges: all pairs within a track, self edges, and random pairs, both directions.
    """
    rng = np.random.default_rng(seed)
    radius = np.array([32, 72, 116, 172, 260, 360, 500, 660, 820, 1020.0])
    phi, slope, bend = rng.uniform(-np.pi, np.pi, (3, tracks, 1))
    angle = phi + bend * 2e-4 * radius
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle), radius * slope], -1)
    position = x.reshape(-1, 3)
    noise = rng.normal(size=(len(position) // 10, 3)) * [300, 300, 900]
    position = np.concatenate([position, noise]).astype(np.float32)
    count = len(position)
    track = np.full(count, -1, np.int32)
    track[: tracks * 10] = np.repeat(np.arange(tracks), 10)
    keys = np.arange(count) * (count + 1)
    first = np.arange(tracks * 10).reshape(-1, 10)
    own = first[:, :, None] * count + first[:, None, :]
    keys = np.union1d(keys, own.ravel())
    while len(keys) < edges:
        a, b = rng.integers(0, count, (2, (edges - len(keys)) // 2 + 1))
        keys = np.union1d(keys, np.concatenate([a * count + b, b * count + a]))
    destination, source = keys // count, keys % count
    label = (track[source] == track[destination]) & (track[source] >= 0)
    return {
        "position": position,
        "edge_index": np.stack([source, destination]).astype(np.int32),
        "node_mask": np.ones(count, bool),
        "edge_mask": np.ones(len(keys), bool),
        "edge_label": label.astype(np.float32),
        "track": track,
        "hit_weight": np.full(count, 1 / count, np.float32),
    }


def timed(step, repeats):
    """Returns wall and processor seconds of every call."""
    rows = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        rows.append((time.perf_counter() - wall, time.process_time() - cpu))
    return rows


def torch_step(graph, threads):
    """Returns a step of the twin on a graph."""
    import torch

    from tests.hypertrack import torch_twin

    torch.set_num_threads(threads)
    track = graph["track"]
    rows = [np.flatnonzero(track == k) for k in range(track.max() + 1)]
    width = max(map(len, rows))
    x_ind = np.stack([np.pad(r, (0, width - len(r)), constant_values=-1) for r in rows])
    seen = {
        "position": torch.from_numpy(graph["position"]),
        "edge_index": torch.from_numpy(graph["edge_index"]).long(),
        "edge_label": torch.from_numpy(graph["edge_label"]),
        "hit_weight": torch.from_numpy(graph["hit_weight"]),
        "x_ind": x_ind,
    }
    net = torch_twin.Net()
    optimizer = torch_twin.make_adamw(net)
    return lambda: torch_twin.train_step(net, optimizer, seen)


def jax_step(graph, name="tune-5", dtype=None):
    """Returns a step of ours on a graph; it includes putting the batch in place."""
    import jax

    from jaxphys.hypertrack.model.edge_layout import with_pairs
    from jaxphys.hypertrack.model.fast_net import FastNet
    from jaxphys.hypertrack.model.track_net import TrackNet
    from jaxphys.hypertrack.training import step
    from jaxphys.hypertrack.training.edge_losses import EdgeBCE
    from jaxphys.hypertrack.training.objective import Settings
    from jaxphys.hypertrack.training.optimizer import make_optimizer
    from jaxphys.hypertrack.training.schedules import learning_rates

    if name == "fast":
        bce = EdgeBCE("BCE", edge_balance=False, remove_self_edges=True)
        settings = Settings(FastNet(dtype=dtype), edge_bce=bce)
    else:
        settings = Settings(TrackNet(dtype=dtype))
    optimizer = make_optimizer("AdamW", learning_rates("warm-cos", 5e-4))
    variables = step.initial_variables(jax.random.key(0), settings)
    state = step.initial_state(variables, objective=settings, optimizer=optimizer)
    update = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, "edges", objective=settings, optimizer=optimizer
        ),
        donate_argnums=0,
    )
    batch = {name: array[None] for name, array in with_pairs(graph).items()}

    def run():
        nonlocal state
        state, metrics = update(state, jax.device_put(batch))
        jax.block_until_ready((state, metrics))

    return run


def loss_times(graph, counts, repeats):
    """Returns milliseconds of the contrastive loss, with gradient, per track count."""
    import jax
    import jax.numpy as jnp

    from jaxphys.hypertrack.training.edge_losses import (
        EdgeContrastive,
        edge_contrastive,
    )

    edges, ones = jnp.asarray(graph["edge_index"]), jnp.ones(len(graph["edge_label"]))
    logits = jnp.asarray(np.random.default_rng(1).normal(size=len(ones)), jnp.float32)
    found = {}
    for count in counts:
        track = np.where(graph["track"] < count, graph["track"], -1)
        track, weight = jnp.asarray(track), jnp.asarray(graph["hit_weight"])
        run = jax.jit(
            jax.value_and_grad(
                lambda x, track=track, weight=weight: edge_contrastive(
                    x, edges, ones, track, weight, EdgeContrastive(sub_sample=10**6)
                )
            )
        )
        jax.block_until_ready(run(logits))
        rows = timed(lambda run=run: jax.block_until_ready(run(logits)), repeats)
        found[count] = 1e3 * statistics.median(wall for wall, _ in rows)
    return found


def main():
    """Measures steps in turns, then the loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--edges", type=int, default=20000)
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip_torch", action="store_true")
    options = parser.parse_args()
    graph = random_graph(options.tracks, options.edges)
    hits, edges = len(graph["position"]), graph["edge_index"].shape[1]
    print(f"{hits} hits, {edges} edges, {options.tracks} tracks")
    sides = {"jax": jax_step(graph), "jax fast": jax_step(graph, "fast")}
    if not options.skip_torch:
        sides = {"torch": torch_step(graph, options.threads), **sides}
    rows: dict = {name: [] for name in sides}
    for turn in range(options.repeats + 2):
        for name, run in sides.items():
            found = timed(run, 1)
            rows[name] += found if turn >= 2 else []
    everything = {}
    for name, found in rows.items():
        wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        everything[name] = {"wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu}
        print(f"{name:10} wall {1e3 * wall:8.1f} ms   processor {1e3 * cpu:8.1f} ms")
    for name in list(sides) if "torch" in sides else []:
        pairs = list(zip(rows["torch"], rows[name], strict=True))
        wall = statistics.median(a[0] / b[0] for a, b in pairs)
        cpu = statistics.median(a[1] / b[1] for a, b in pairs)
        everything[name] |= {"wall_ratio": wall, "cpu_ratio": cpu}
        print(f"torch / {name:10} wall {wall:6.2f}   processor {cpu:6.2f}")
    counts = sorted({5, options.tracks // 4, options.tracks})
    everything["contrastive_ms"] = loss_times(graph, counts, options.repeats)
    print(f"contrastive loss, ms by number of tracks: {everything['contrastive_ms']}")
    print(json.dumps(everything))


if __name__ == "__main__":
    main()
