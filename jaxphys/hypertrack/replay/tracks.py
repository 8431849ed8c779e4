"""Replays the golden files of track metrics and of the clustering."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.hypertrack.analysis import edge_scores, metrics
from jaxphys.hypertrack.inference.clustering import ClusterSettings, cluster
from jaxphys.hypertrack.inference.transformer_masks import transformer_masks
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.torch_weights import transformer_from_torch

Outputs = Mapping[str, Any]


def track_of(x_ind: np.ndarray, num_hits: int) -> np.ndarray:
    """Returns the row of each hit in a padded table of tracks, or -1, [N].

    Args:
      x_ind: hits of each track, -1 for padding, [P, K].
      num_hits: N.
    """
    track = np.full(num_hits, -1)
    row, column = np.nonzero(x_ind >= 0)
    track[x_ind[row, column]] = row
    return track


def replay_metrics(golden: Golden) -> Outputs:
    """Scores of labels and of edges."""
    config, inputs = golden.config, golden.inputs
    labels, weight = inputs["labels_hat"], inputs["hit_weights"]
    num_tracks = len(inputs["x_ind"])
    track = track_of(inputs["x_ind"], len(labels))
    hits_min = config["hits_min"]
    found = metrics.match(labels, track, weight, num_tracks, hits_min)
    scores = metrics.score(found)
    # a cluster without hits has a row all the same
    match_index = np.full(max(config["K"], len(found.match_index)), -1)
    match_index[: len(found.match_index)] = found.match_index
    # the original never looks at the cluster with the largest number
    shorter = np.where(labels == labels.max(), -1, labels)
    dropped = metrics.score(metrics.match(shorter, track, weight, num_tracks, hits_min))
    edges = inputs["roc_y"], inputs["roc_score"]
    return {
        **{name: scores[name] for name in ("dms", "efficiency", "purity")},
        "match_index": match_index,
        "passed": found.passed,
        "hit_mixing": found.hit_mixing(config["hits_max"]),
        "hit_efficiency": found.hit_efficiency,
        "hit_purity": found.hit_purity,
        "trackml_score": scores["trackml_score"],
        "dropped_last/dms_eff_pur": np.array(
            [dropped[name] for name in ("dms", "efficiency", "purity")]
        ),
        "roc_auc_compat": edge_scores.auc_compat(*edges, config["roc_points"]),
        "roc_auc_exact": edge_scores.auc(*edges),
    }


def replay_cluster_inference(golden: Golden) -> Outputs:
    """Tracks by pivots and the set transformer, with recorded seeds."""
    config, inputs = golden.config, golden.inputs
    transformer = SetTransformer(
        in_features=config["in_dim"],
        h_dim=config["h_dim"],
        nstack_dec=config["nstack_dec"],
        num_heads=config["num_heads"],
        ln=config["ln"],
        ln_eps=config["ln_eps"],
    )
    params = transformer_from_torch(golden.params, transformer)
    masks = transformer_masks(
        transformer, params, np.concatenate([inputs["Z"], inputs["X"]], axis=1)
    )
    names = {field.name for field in dataclasses.fields(ClusterSettings)}
    names -= {"num_pivots", "soft_width", "pivots_per_round"}  # of another name, or not
    settings = ClusterSettings(  # recorded
        num_pivots=config["N_pivots"],
        soft_width=config["tau"],
        **{name: config[name] for name in names},
    )
    found = cluster(
        inputs["edge_index"],
        inputs["edge_prob"],
        inputs["X"],
        settings,
        masks,
        priority=inputs["priority"],
    )
    num_hits, num_tracks = len(inputs["X"]), len(inputs["x_ind"])
    track = track_of(inputs["x_ind"], num_hits)
    scores = metrics.score(
        metrics.match(found.labels, track, inputs["hit_weights"], num_tracks)
    )
    return {
        "labels": numbered_like(found.labels, golden.outputs["labels"]),
        "components": numbered_like(found.components, golden.outputs["components"]),
        "K": found.num_clusters,
        "pivots": np.column_stack([found.round_of, found.sets.pivots]),
        "micrograph_size": found.sets.size,
        "trials": found.trials,
        "rounds": found.rounds,
        "dms_eff_pur": np.array(
            [scores[name] for name in ("dms", "efficiency", "purity")]
        ),
    }


def numbered_like(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns labels with the numbers of a reference where the partitions are equal.

    The numbers of parts are free; labels that are no renumbering of the reference come
    back as they are.
    """
    if labels.shape != reference.shape:
        return labels
    pairs = np.unique(np.stack([labels, reference]), axis=1)
    one_to_one = all(len(np.unique(row)) == pairs.shape[1] for row in pairs)
    if not one_to_one or np.any((pairs[0] == -1) != (pairs[1] == -1)):
        return labels
    return pairs[1][np.searchsorted(pairs[0], labels)]


def _metrics_outputs(golden: Golden) -> Names:
    names = ("dms", "efficiency", "purity", "match_index", "passed", "hit_mixing")
    names += ("hit_efficiency", "hit_purity", "trackml_score")
    names += ("roc_auc_compat", "roc_auc_exact")
    # the fault leaves nothing of a single cluster
    return (*names, "dropped_last/dms_eff_pur") if golden.config["K"] > 1 else names


CASES = {
    "metrics": Case(replay_metrics, _metrics_outputs),
    "cluster_inference": Case(
        replay_cluster_inference,
        (
            *("labels", "components", "K", "pivots", "micrograph_size"),
            *("trials", "rounds", "dms_eff_pur"),
        ),
    ),
}
