"""What is minimised: losses of graphs in both training phases.

A batch holds D graphs, see `edge_layout.topology`, stacked on the leading axis of every
array: position [D, N, 3] in mm, edge_index [D, 2, E], edge_mask, edge_label [D, E],
node_mask, track, hit_weight [D, N], weight [D] (0 for a graph of padding) and, from
`edge_layout.with_pairs`, pair_index and edge_pair. The phase "joint" also needs
micrographs: rows, row_mask [D, S, n], pivots [D, S, 3] and set_mask [D, S]; they lie in
the batch or are proposed from the probabilities of the same pass.

Losses and statistics belong to one graph each and are summed over graphs before they
are divided, so a batch that is split over devices gives the same numbers.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxphys.hypertrack.model.batch_norm import COLLECTION
from jaxphys.hypertrack.model.edge_layout import take
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.track_net import TrackNet, network_input
from jaxphys.hypertrack.training.cluster_losses import (
    MaskLoss,
    Micrographs,
    cluster_losses,
)
from jaxphys.hypertrack.training.edge_auc import auc_of_edges
from jaxphys.hypertrack.training.edge_losses import (
    EdgeBCE,
    EdgeContrastive,
    edge_bce,
    edge_contrastive,
)
from jaxphys.training.task import Metrics

PyTree = Any
Batch = Mapping[str, jax.Array]
PHASES = ("edges", "joint")
MICROGRAPHS = ("rows", "row_mask", "pivots", "set_mask")
# (graph, probabilities of its edges [E], key) -> the arrays of `MICROGRAPHS`
Propose = Callable[[Batch, jax.Array, jax.Array], Batch]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Nets and losses of a run.

    Attributes:
        net: `TrackNet` or `FastNet`.
        transformer: for the phase "joint".
        edge_bce, edge_contrastive, cluster: settings of the losses.
        beta_edge_bce, beta_edge_contrastive, beta_cluster_bce,
        beta_cluster_contrastive: their weights in the sum.
        bn_momentum: weight of a graph in the running statistics.
        batchnorm_mode: of an evaluation; "eval": running statistics; "train": those of
            the graph.
        threshold: first value of the threshold that is learned.
        propose: makes the micrographs of a graph on the device; None reads those of
            the batch.
    """

    net: TrackNet | FastNet = dataclasses.field(default_factory=TrackNet)
    transformer: SetTransformer = dataclasses.field(default_factory=SetTransformer)
    edge_bce: EdgeBCE = dataclasses.field(default_factory=EdgeBCE)
    edge_contrastive: EdgeContrastive = dataclasses.field(
        default_factory=EdgeContrastive
    )
    cluster: MaskLoss = dataclasses.field(default_factory=MaskLoss)
    beta_edge_bce: float = 0.2
    beta_edge_contrastive: float = 1.0
    beta_cluster_bce: float = 0.2
    beta_cluster_contrastive: float = 0.2
    bn_momentum: float = 0.1
    batchnorm_mode: str = "eval"
    threshold: float = 0.5
    propose: Propose | None = None

    def trained(self, phase: str) -> tuple[str, ...]:
        """Returns the keys of the weights that a phase trains.

        Raises:
            ValueError: the phase is unknown.
        """
        if phase not in PHASES:
            raise ValueError(
                f"phase: expected one of {', '.join(PHASES)}, got {phase!r}"
            )
        if phase == "edges":
            return ("net",)
        soft = self.cluster.threshold_algo == "soft"
        return ("net", "transformer", "thr") if soft else ("net", "transformer")


def transformer_rows(
    net: TrackNet | FastNet, latents: jax.Array, position: jax.Array
) -> jax.Array:
    """Returns what the set transformer reads of the hits, [N, z_dim + 3]."""
    return jnp.concatenate([latents, network_input(position, net.normalize_input)], 1)


def micrograph_logits(
    settings: Settings, params: PyTree, latents: jax.Array, graph: Batch
) -> jax.Array:
    """Returns the logits of the rows of the micrographs of one graph, [S, n]."""
    hits = transformer_rows(settings.net, latents, graph["position"])
    rows, pivots = take(hits, graph["rows"]), take(hits, graph["pivots"])
    variables = {"params": params["transformer"]}
    found: Any = settings.transformer.apply(variables, rows, pivots, graph["row_mask"])
    return found


def _cluster_losses(
    settings: Settings, params: PyTree, latents: jax.Array, graph: Batch
) -> dict[str, jax.Array]:
    logits = micrograph_logits(settings, params, latents, graph)
    share = graph["hit_weight"] / jnp.maximum(jnp.sum(graph["hit_weight"]), 1e-30)
    sets = Micrographs(
        graph["row_mask"] > 0,
        take(graph["track"], graph["rows"]),
        take(graph["track"], graph["pivots"]),
        take(share, graph["rows"]),
        graph["set_mask"] > 0,
        jnp.sum(graph["node_mask"]),
    )
    threshold = params["thr"]["value"]
    found = cluster_losses(logits, sets, settings.cluster, threshold)
    return {
        "cluster_BCE": found.bce,
        "cluster_contrastive": found.set_loss,
        "clusters": jnp.sum(found.accepted),
    }


def evaluate_graph(
    settings: Settings,
    params: PyTree,
    batch_stats: PyTree,
    graph: Batch,
    phase: str,
    train: bool,
    key: jax.Array | None = None,
) -> tuple[dict[str, jax.Array], jax.Array, PyTree]:
    """Returns losses and AUC of one graph, the logits [E], and the moments.

    Args:
        settings: nets and losses.
        params: all weights.
        batch_stats: running statistics of the net.
        graph: one graph of a batch, without the axis D.
        phase: see `PHASES`.
        train: normalise with the moments of the graph; else with running ones.
        key: for what is drawn with the micrographs; only read where they are proposed.
    """
    variables = {"params": params["net"], "batch_stats": batch_stats}
    mutable = [COLLECTION] if train else []
    found: Any = settings.net.apply(variables, graph, train, mutable=mutable)
    output, changed = found
    edge_weight = graph["edge_mask"].astype(jnp.float32)
    ends, label = graph["edge_index"], graph["edge_label"]
    values = {
        "edge_BCE": edge_bce(
            output.logits, label, ends, edge_weight, settings.edge_bce
        ),
        "edge_contrastive": edge_contrastive(
            output.logits,
            ends,
            edge_weight,
            graph["track"],
            graph["hit_weight"],
            settings.edge_contrastive,
        ),
    }
    loss = settings.beta_edge_bce * values["edge_BCE"]
    loss += settings.beta_edge_contrastive * values["edge_contrastive"]
    if phase == "joint":
        if settings.propose is not None:
            key = jax.random.key(0) if key is None else key
            prob = jax.lax.stop_gradient(jax.nn.sigmoid(output.logits))
            graph = {**graph, **settings.propose(graph, prob, key)}
        values |= _cluster_losses(settings, params, output.latents, graph)
        loss += settings.beta_cluster_bce * values["cluster_BCE"]
        loss += settings.beta_cluster_contrastive * values["cluster_contrastive"]
    areas = auc_of_edges(jax.lax.stop_gradient(output.logits), label, ends, edge_weight)
    values |= {"loss": loss, **areas}
    return values, output.logits, changed.get(COLLECTION, {})


def evaluate(
    settings: Settings,
    params: PyTree,
    batch_stats: PyTree,
    batch: Batch,
    phase: str,
    train: bool,
    key: jax.Array | None = None,
) -> tuple[dict[str, jax.Array], jax.Array, PyTree]:
    """Returns what `evaluate_graph` does for D graphs, with D on the leading axis."""
    count = len(batch["position"])
    slot = batch.get("slot", jnp.arange(count))
    drawn = phase == "joint" and settings.propose is not None
    left_out = MICROGRAPHS if drawn or phase != "joint" else ()
    graphs = {name: array for name, array in batch.items() if name not in left_out}

    def one(graph: Batch, slot: jax.Array) -> Any:
        own = None if key is None or not drawn else jax.random.fold_in(key, slot)
        return evaluate_graph(settings, params, batch_stats, graph, phase, train, own)

    if count == 1:
        # as with vmap, but what is gathered along a batch axis costs more on CPU
        found = one({name: array[0] for name, array in graphs.items()}, slot[0])
        return jax.tree.map(lambda value: value[None], found)
    return jax.vmap(one)(graphs, slot)


def graph_weight(batch: Batch) -> jax.Array:
    """Returns 1 for graphs and 0 for padding, [D]."""
    if "weight" in batch:
        return batch["weight"].astype(jnp.float32)
    return jnp.any(batch["edge_mask"] > 0, 1).astype(jnp.float32)


def weighted_sums(values: Mapping[str, jax.Array], weight: jax.Array) -> Metrics:
    """Returns name -> (weighted sum, weight); graphs without a value do not count."""
    found = {}
    for name, each in values.items():
        known = jnp.where(jnp.isnan(each), 0, weight) if "auc" in name else weight
        found[name] = (jnp.sum(jnp.where(known > 0, each, 0) * known), jnp.sum(known))
    return found


def latents_and_logits(
    settings: Settings, params: PyTree, batch_stats: PyTree, graph: Batch
) -> tuple[jax.Array, jax.Array]:
    """Returns the latents [N, z_dim] and the logits [E] of one graph, in evaluation."""
    variables = {"params": params["net"], "batch_stats": batch_stats}
    found: Any = settings.net.apply(variables, graph, False)
    return found.latents, found.logits
