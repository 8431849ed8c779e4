"""Small graphs and nets for the tests of the nets."""

from typing import Any

import jax
import numpy as np

from jaxphys.hypertrack.model.edge_layout import with_pairs
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.hypertrack.training.cluster_losses import MaskLoss
from jaxphys.hypertrack.training.objective import Settings
from jaxphys.hypertrack.training.step import initial_variables

NET = TrackNet(nstack=2, h_dim=6, m_dim=5, z_dim=7, normalize_input=True)
FAST = FastNet(nstack=2, width=6, z_dim=7)
TRANSFORMER = SetTransformer(in_features=10, h_dim=8, nstack_dec=1, num_heads=2)
# an untrained transformer is near 0.5: below, all of its sets are accepted
CLUSTER = MaskLoss(fixed_threshold=0.1)
SMALL = Settings(net=NET, transformer=TRANSFORMER, cluster=CLUSTER)


def make_graph(hits=20, tracks=4, seed=0, nodes=0, edges=0, pairs=True):
    """Returns a symmetric random graph, sorted, padded to `nodes` and `edges`."""
    rng = np.random.default_rng(seed)
    near = rng.random((hits, hits)) < 0.3
    near |= near.T | np.eye(hits, dtype=bool)
    near[-1] = near[:, -1] = False  # one hit without an edge
    destination, source = np.nonzero(near)
    track = rng.integers(-1, tracks, hits).astype(np.int32)
    label = (track[source] == track[destination]) & (track[source] >= 0)
    weight = rng.random(hits).astype(np.float32)
    more_nodes = max(nodes - hits, 0)
    more_edges = max(edges - len(source), 0)
    last = hits + more_nodes - 1
    index = np.stack([source, destination]).astype(np.int32)
    position = (rng.normal(size=(hits, 3)) * [200, 200, 500]).astype(np.float32)
    graph = {
        "position": np.pad(position, ((0, more_nodes), (0, 0))),
        "edge_index": np.pad(index, ((0, 0), (0, more_edges)), constant_values=last),
        "node_mask": np.arange(hits + more_nodes) < hits,
        "edge_mask": np.arange(len(source) + more_edges) < len(source),
        "edge_label": np.pad(label.astype(np.float32), (0, more_edges)),
        "track": np.pad(track, (0, more_nodes), constant_values=-1),
        "hit_weight": np.pad(weight / weight.sum(), (0, more_nodes)),
    }
    return with_pairs(graph) if pairs else graph


def micrographs(graph, sets=3, rows=8, seed=1):
    """Returns random micrographs of a graph."""
    rng = np.random.default_rng(seed)
    hits = int(graph["node_mask"].sum())
    return {
        "rows": rng.integers(0, hits, (sets, rows)).astype(np.int32),
        "row_mask": np.arange(rows)[None] < rng.integers(5, rows + 1, (sets, 1)),
        "pivots": rng.integers(0, hits, (sets, 3)).astype(np.int32),
        "set_mask": np.arange(sets) < sets - 1,
    }


def stack(graphs):
    """Returns a batch of graphs of one shape."""
    return {name: np.stack([g[name] for g in graphs]) for name in graphs[0]}


def drawn(net, graph) -> Any:
    """Returns variables of an untrained net, compiled as a whole."""
    return jax.jit(lambda key: net.init(key, graph, False))(jax.random.key(0))


def drawn_variables(settings):
    """Returns variables of all untrained nets, compiled as a whole."""
    return jax.jit(initial_variables, static_argnums=1)(jax.random.key(0), settings)
