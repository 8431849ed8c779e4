"""From the hits of an event to its tracks, with the time and memory of every stage."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.inference import simple_clustering
from jaxphys.hypertrack.inference.chunked import CHUNK, chunk_for, edge_outputs
from jaxphys.hypertrack.inference.clustering import (
    Clustering,
    ClusterSettings,
    cluster_components,
)
from jaxphys.hypertrack.inference.kept_graph import kept_graph
from jaxphys.hypertrack.inference.micrographs import Masks
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from jaxphys.hypertrack.inference.transformer_masks import transformer_masks
from jaxphys.hypertrack.model.candidates import candidate_graph
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.training.objective import transformer_rows

STAGES = ("graph", "net", "components", "cluster")
ALGORITHMS = ("transformer", *simple_clustering.ALGORITHMS, "none")


@dataclasses.dataclass(frozen=True, eq=False)
class Edges:
    """The candidate edges of an event and what the net says about them.

    Attributes:
      edge_index: sources and destinations, [2, E] int32.
      prob: that both ends belong to one track, [E] float32.
      latents: Z of the hits, [N, z_dim] float32.
    """

    edge_index: np.ndarray
    prob: np.ndarray
    latents: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
    """The tracks of an event.

    Attributes:
      labels: track of each hit, 0..K-1, or -1, [N] int32.
      edges: what they were made from.
      meter: time and memory of the stages graph, net, components and cluster.
      clustering: how the transformer found them; None for other algorithms.
    """

    labels: np.ndarray
    edges: Edges
    meter: StageMeter
    clustering: Clustering | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Tracker:
    """Everything that turns hits into tracks.

    Attributes:
      voxels: makes the candidate edges.
      net: gives them probabilities.
      variables: params and, where the net has them, batch_stats.
      transformer: marks the hits of a track; None without the joint phase.
      transformer_params: its weights.
      soft_threshold: trained threshold of threshold_algo=soft.
      algorithm: transformer, cut, jaccard, dbscan, hdbscan or none (edges only).
      settings: of the clustering.
      options: arguments of the simple algorithm, beside its defaults.
      chunk: edges that the net sees at a time at most.
    """

    voxels: VoxelModel
    net: Any
    variables: Mapping[str, Any]
    transformer: SetTransformer | None = None
    transformer_params: Any = None
    soft_threshold: float = 0.5
    algorithm: str = "transformer"
    settings: ClusterSettings = dataclasses.field(default_factory=ClusterSettings)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    chunk: int = CHUNK

    def __post_init__(self):
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"--cluster={self.algorithm}: expected one of {', '.join(ALGORITHMS)}"
            )
        if self.algorithm == "transformer" and self.transformer is None:
            raise ValueError(
                "--cluster=transformer: this run has not trained the transformer (its "
                "joint phase has not begun); choose jaccard, cut, dbscan or hdbscan"
            )

    def edges(self, position: np.ndarray, meter: StageMeter | None = None) -> Edges:
        """Returns the candidate edges of hits with their probabilities.

        Args:
          position: mm, [N, 3].
          meter: adds the stages graph and net.
        """
        meter = StageMeter() if meter is None else meter
        position = np.ascontiguousarray(position, np.float32)
        if position.ndim != 2 or position.shape[1] != 3:
            raise ValueError(f"position: expected [N, 3], got {position.shape}")
        if not np.isfinite(position).all():
            row = int(np.flatnonzero(~np.isfinite(position).all(axis=1))[0])
            raise ValueError(f"position: row {row} is not finite: {position[row]}")
        with meter.stage("graph"):
            edge_index = candidate_graph(self.voxels, position)
        with meter.stage("net"):
            chunk = min(self.chunk, chunk_for(edge_index.shape[1]))
            latents, logits = edge_outputs(
                self.net, self.variables, position, edge_index, chunk=chunk
            )
            prob = _sigmoid(logits)
        return Edges(edge_index, prob, latents)

    def reconstruct(self, position: np.ndarray, seed: int = 0) -> Reconstruction:
        """Returns the tracks of an event.

        Args:
          position: of its hits, mm, [N, 3].
          seed: of the random seeds of the pivots.
        """
        meter = StageMeter()
        edges = self.edges(position, meter)
        labels, clustering = self.cluster(position, edges, seed, meter)
        return Reconstruction(labels, edges, meter, clustering)

    def cluster(
        self,
        position: np.ndarray,
        edges: Edges,
        seed: int = 0,
        meter: StageMeter | None = None,
    ) -> tuple[np.ndarray, Clustering | None]:
        """Returns the labels [N] of an event whose edges are known.

        Args:
          position: of its hits, mm, [N, 3].
          edges: of `edges`.
          seed: of the random seeds of the pivots.
          meter: adds the stages components and cluster.
        """
        meter = StageMeter() if meter is None else meter
        count = len(position)
        if self.algorithm == "none":
            return np.full(count, -1, np.int32), None
        known = edges.edge_index, edges.prob
        if self.algorithm != "transformer":
            with meter.stage("components" if self.algorithm == "cut" else "cluster"):
                find = simple_clustering.ALGORITHMS[self.algorithm]
                return find(*known, count, **self.options), None
        with meter.stage("components"):
            graph = kept_graph(*known, count, self.settings.edge_threshold)
            component = graph.components(self.settings.min_graph)
        with meter.stage("cluster"):
            found = cluster_components(
                graph,
                component,
                position,
                self.settings,
                self.masks(position, edges.latents),
                rng=np.random.default_rng(seed),
                soft_threshold=self.soft_threshold,
            )
        return found.labels, found

    def masks(self, position: np.ndarray, latents: np.ndarray) -> Masks:
        """Returns the decisions of the transformer for an event.

        Args:
          position: of its hits, mm, [N, 3].
          latents: Z of its hits, [N, z_dim].

        Raises:
          ValueError: there is no transformer.
        """
        if self.transformer is None:
            raise ValueError("transformer: expected one, got none")
        features = transformer_rows(
            self.net, jnp.asarray(latents), jnp.asarray(position, jnp.float32)
        )
        return transformer_masks(self.transformer, self.transformer_params, features)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, np.float32)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))
