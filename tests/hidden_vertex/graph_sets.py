"""Random small events for the tests of models, losses and steps."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hidden_vertex.replay.packing import join, pad


def event(size, seed, k=3):
    """Returns one event as a part; each node has min(k, n - 1) random neighbours."""
    rng = np.random.default_rng(seed)
    near = [
        rng.permutation(np.delete(np.arange(size), node))[:k] for node in range(size)
    ]
    return {
        "x": rng.normal(size=(size, 3)).astype(np.float32) + 1,
        "senders": np.array([j for row in near for j in row], np.int32),
        "receivers": np.array([i for i, row in enumerate(near) for _ in row], np.int32),
        "graph_index": np.zeros(size, np.int32),
        "n_node": np.array([size], np.int32),
        "weight": np.ones(1, np.float32),
        "slot": np.array([seed], np.int32),
    }


def events(sizes, seed=0):
    """Returns events of given sizes; event i has slot seed + i."""
    return [event(size, seed + number) for number, size in enumerate(sizes)]


def part_of(parts):
    """Returns events as one part without padding."""
    return jax.tree.map(jnp.asarray, join(parts))


def batch_of(*groups, nodes=0, edges=0, graphs=0):
    """Returns groups of events as the padded parts of one batch, [D, ...]."""
    joined = [join(group) for group in groups]
    sizes = [
        max(least, 1 + max(len(part[name]) for part in joined))
        for least, name in ((nodes, "x"), (edges, "senders"), (graphs, "n_node"))
    ]
    padded = [pad(part, *sizes) for part in joined]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *padded)


def neighbours_of(part, k):
    """Returns the neighbours [N, k] of a part, the node itself where there is none."""
    rows = [[node] * k for node in range(len(part["x"]))]
    filled = dict.fromkeys(range(len(rows)), 0)
    ends = zip(part["senders"].tolist(), part["receivers"].tolist(), strict=True)
    for sender, receiver in ends:
        if sender != receiver:
            rows[receiver][filled[receiver]] = sender
            filled[receiver] += 1
    return jnp.asarray(rows, jnp.int32)


def shuffled(part, seed=0):
    """Returns a part with the nodes of every graph in another order, and the order."""
    rng = np.random.default_rng(seed)
    graph = np.asarray(part["graph_index"])
    order = np.lexsort((rng.random(len(graph)), graph))  # new place -> old node
    place = np.argsort(order)
    moved = {
        **part,
        "x": part["x"][order],
        "senders": jnp.asarray(place)[part["senders"]],
        "receivers": jnp.asarray(place)[part["receivers"]],
    }
    return moved, order
