"""The candidate graph of one event, and its place in a bucket of fixed shape.

One program is compiled per shape, so shapes are few: a bucket ties the places for
nodes, edges and tracks, and a graph takes the first bucket that holds it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxphys.hypertrack.model.candidates import (
    candidate_rows,
    edge_index_of,
    reverse_edges,
)
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.physics.events import Event
from jaxphys.hypertrack.physics.truth_graph import edge_labels, true_pairs

# places come in multiples of these, so that equal settings give equal shapes
_NODES, _EDGES, _TRACKS = 64, 512, 32
_HEADROOM = 1.05


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Candidate graph of one event, or of a part of one.

    Attributes:
        event_id: of the event.
        position: hits, `[N, 3]` float32, mm.
        edge_index: `[2, E]` int32, source and destination, sorted by destination, then
            by source.
        indptr: first edge of each destination, `[N + 1]` int64.
        edge_label: whether an edge is a true pair, `[E]` bool.
        track: track of each hit, `[N]` int32; -1 is noise.
        hit_weight: `[N]` float32.
        num_tracks: number of tracks, P.
    """

    event_id: int
    position: np.ndarray
    edge_index: np.ndarray
    indptr: np.ndarray
    edge_label: np.ndarray
    track: np.ndarray
    hit_weight: np.ndarray
    num_tracks: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of hits, edges and tracks."""
        return len(self.position), self.edge_index.shape[1], self.num_tracks


def make_graph(
    event: Event,
    model: VoxelModel,
    cells: np.ndarray | None = None,
    node2node: str = "",
    cricket_compat: bool = False,
) -> Graph:
    """Builds the candidate graph of an event and labels its edges.

    Args:
        event: hits and truth.
        model: trained voxels.
        cells: cell of each hit, `[N]`, if known already.
        node2node: which pairs are true; empty takes the mode of the voxels.
        cricket_compat: see `jaxphys.hypertrack.physics.truth_graph.true_pairs`.
    """
    cells = model.cells(event.position) if cells is None else cells
    indptr, sources = candidate_rows(model, cells)
    edge_index, mode = edge_index_of(indptr, sources), node2node or model.node2node
    pairs = None
    if mode != "hyper":
        rows, offsets = event.track_hits()
        pairs = true_pairs(event.position, rows, offsets, mode, cricket_compat)
    label = edge_labels(edge_index, event.label, pairs)
    return Graph(
        event.event_id,
        event.position,
        edge_index,
        indptr,
        label,
        event.label,
        event.weight,
        event.num_tracks,
    )


class Bucket(NamedTuple):
    """Places of a padded graph; one node is always left over for padding.

    Attributes:
        nodes: N, of which N - 1 can be hits.
        edges: E.
        tracks: T.
    """

    nodes: int
    edges: int
    tracks: int

    def holds(self, sizes: Sequence[int]) -> bool:
        """Tells whether a graph of (hits, edges, tracks) fits."""
        nodes, edges, tracks = sizes
        return nodes < self.nodes and edges <= self.edges and tracks <= self.tracks


def choose_buckets(
    sizes: np.ndarray,
    fractions: Sequence[float] = (0.5, 1.0),
    quantile: float = 0.995,
    overflow: float = 1.5,
) -> tuple[Bucket, ...]:
    """Chooses few buckets for graphs like those of a sample.

    Args:
        sizes: hits, edges and tracks of the sample, `[S, 3]`.
        fractions: of the quantile of the edges; a bucket has these many edges, and the
            nodes and tracks that go with so many.
        quantile: of the edges; nearly all graphs fit.
        overflow: one more bucket is this much larger than the largest graph of the
            sample; it is compiled only if a graph needs it. 0 leaves it out.

    Returns:
        Buckets, the smallest first.

    Raises:
        ValueError: there is no sample, or arguments are out of range.
    """
    sizes = np.asarray(sizes, np.int64)
    if sizes.ndim != 2 or sizes.shape[1:] != (3,) or not len(sizes):
        raise ValueError(f"sizes: expected [S, 3], got {sizes.shape}")
    if not (0 < quantile <= 1 and all(f > 0 for f in fractions)) or (
        0 < overflow < 1 or overflow < 0
    ):
        raise ValueError(
            f"fractions, quantile, overflow: got {fractions}, {quantile}, {overflow}"
        )
    most = float(np.quantile(sizes[:, 1], quantile)) * _HEADROOM
    found = []
    for fraction in sorted(fractions):
        inside = sizes[sizes[:, 1] <= fraction * most]
        if len(inside):
            nodes, _, tracks = inside.max(axis=0) * _HEADROOM
            found.append(_bucket(nodes, fraction * most, tracks))
    if overflow:
        found.append(_bucket(*(sizes.max(axis=0) * overflow)))
    return tuple(dict.fromkeys(found))


def buckets_up_to(
    buckets: Sequence[Bucket], largest: Bucket, factor: float = 1.5
) -> tuple[Bucket, ...]:
    """Returns buckets with further ones above, each `factor` larger, up to `largest`.

    Only those that a graph needs are compiled. Without steps in between, the first
    graph above the usual sizes would be padded to any size: a step took 32 GB for a
    graph of 2.
    """
    found = [b for b in buckets if b.edges < largest.edges]
    while found and found[-1].edges * factor < largest.edges:
        found.append(_bucket(*(factor * size for size in found[-1])))
    return (*found, largest)


def _bucket(nodes, edges, tracks):
    return Bucket(_up(nodes + 1, _NODES), _up(edges, _EDGES), _up(tracks, _TRACKS))


def _up(count, step):
    return max(1, math.ceil(count / step)) * step


def find_bucket(
    buckets: Sequence[Bucket], sizes: Sequence[int], event_id: int
) -> Bucket:
    """Returns the first bucket that holds a graph.

    Args:
        buckets: the smallest first.
        sizes: hits, edges and tracks.
        event_id: for the message.

    Raises:
        ValueError: the graph is larger than every bucket.
    """
    for bucket in buckets:
        if bucket.holds(sizes):
            return bucket
    nodes, edges, tracks = sizes
    offered = "; ".join(f"{b.nodes - 1}, {b.edges}, {b.tracks}" for b in buckets)
    raise ValueError(
        f"event {event_id}: its graph has {nodes} hits, {edges} edges and {tracks} "
        f"tracks, more than every bucket holds ({offered}): set --node_buckets and "
        "--edge_buckets, lower --rfactor_end or raise --ncell"
    )


def pack_graph(
    graph: Graph, bucket: Bucket, reverse: bool = False
) -> dict[str, np.ndarray]:
    """Pads a graph to the shape of a bucket.

    Args:
        graph: one that fits.
        bucket: N, E and T.
        reverse: add reverse_edge.

    Returns:
        position `[N, 3]` float32 (0 in padding), edge_index `[2, E]` int32 (edges of
        padding join the last node, which is always padding, to itself), node_mask
        `[N]` and edge_mask `[E]` bool, edge_label `[E]` float32, track `[N]` int32
        (-1 for noise and padding), hit_weight `[N]` float32, track_mask `[T]` bool,
        num_tracks and event_id int32 and, if asked for, reverse_edge `[E]` int32: the
        edge that runs the other way, for padding itself.

    Raises:
        ValueError: the graph does not fit.
    """
    find_bucket([bucket], graph.sizes, graph.event_id)
    nodes, edges, tracks = graph.sizes
    packed = {
        "position": np.zeros((bucket.nodes, 3), np.float32),
        "edge_index": np.full((2, bucket.edges), bucket.nodes - 1, np.int32),
        "node_mask": np.arange(bucket.nodes) < nodes,
        "edge_mask": np.arange(bucket.edges) < edges,
        "edge_label": np.zeros(bucket.edges, np.float32),
        "track": np.full(bucket.nodes, -1, np.int32),
        "hit_weight": np.zeros(bucket.nodes, np.float32),
        "track_mask": np.arange(bucket.tracks) < tracks,
        "num_tracks": np.int32(tracks),
        "event_id": np.int32(graph.event_id),
    }
    packed["position"][:nodes] = graph.position
    packed["edge_index"][:, :edges] = graph.edge_index
    packed["edge_label"][:edges] = graph.edge_label
    packed["track"][:nodes] = graph.track
    packed["hit_weight"][:nodes] = graph.hit_weight
    if reverse:
        packed["reverse_edge"] = np.arange(bucket.edges, dtype=np.int32)
        packed["reverse_edge"][:edges] = reverse_edges(
            graph.indptr, graph.edge_index[0]
        )
    return packed


def empty_graph() -> Graph:
    """Returns a graph without hits, which fills up a last batch."""
    nothing = np.zeros(0, np.int32)
    return Graph(
        -1,
        np.zeros((0, 3), np.float32),
        np.zeros((2, 0), np.int32),
        np.zeros(1, np.int64),
        nothing.astype(bool),
        nothing,
        nothing.astype(np.float32),
        0,
    )
