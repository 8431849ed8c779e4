"""Scalars of an evaluation during training: generated against held-out events."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.inference.predict import muons_of_features
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.physics.normalise import FeatureNorm


def pairs_of_events(
    norm: FeatureNorm, batches: Sequence[Mapping[str, np.ndarray]]
) -> tuple[Events, Events]:
    """Returns the events of an evaluation, true and generated, without padding."""
    true, made = [], []
    for batch in batches:
        real = np.asarray(batch["event_mask"]) > 0  # [D, B]
        events = real.shape[1]
        shared = {
            "primaries": batch["primaries"][real],
            "showers": np.zeros((int(real.sum()), 2), np.uint64),
        }
        kept = batch["muon_event"] < events
        true.append(
            Events(
                num_muons=batch["num_muons"][real].astype(np.int32),
                muons=batch["muons"][kept],
                **shared,
            )
        )
        kept = batch["fake_event"] < events
        made.append(
            Events(
                num_muons=batch["fake_count"][real].astype(np.int32),
                muons=muons_of_features(norm, batch["fake_features"][kept], 0),
                **shared,
            )
        )
    return Events.concatenate(true), Events.concatenate(made)


def summarize(
    norm: FeatureNorm,
    batches: Sequence[Mapping[str, np.ndarray]],
    *,
    best_by: str = "w1_sum",
) -> dict[str, float]:
    """Returns how far generated events are from true ones.

    Args:
        norm: of the features.
        batches: from `training.step.eval_step`, with the events that they are for.
        best_by: "classifier_auc" trains a classifier too.

    Returns:
        val_w1_n, val_w1_logE, val_w1_logr: Wasserstein distances of log10(1 + N),
        log10 E and log10 r; val_w1_sum: their sum; val_p0_diff: difference of the
        fraction of empty events; val_fano_ratio: of the spread of N around its mean in
        bins of the primary's energy, generated over true; with
        best_by "classifier_auc", val_classifier_auc: how well trees tell them apart.
    """
    truth, model = pairs_of_events(norm, batches)
    found = metrics.summed_wasserstein(truth, model)
    if best_by == "classifier_auc":
        found = {**found, "classifier_auc": metrics.classifier_auc(truth, model)}
    return {
        **{f"val_{name}": float(value) for name, value in found.items()},
        "val_p0_diff": metrics.empty_fraction(model) - metrics.empty_fraction(truth),
        "val_fano_ratio": _spread(model) / max(_spread(truth), 1e-9),
        "val_lost": float(sum(float(batch["lost"]) for batch in batches)),
        "val_mean_muons": float(model.num_muons.mean()),
        "val_true_mean_muons": float(truth.num_muons.mean()),
    }


def _spread(events: Events) -> float:
    """Returns sum (N - mean)^2 / sum mean about the means of bins of the condition."""
    number = events.num_muons.astype(np.float64)
    place = metrics.condition_bins(events.primaries)
    bins = 25 * place[:, 0] + 5 * place[:, 1] + place[:, 2]
    size = np.maximum(np.bincount(bins), 1)
    mean = np.bincount(bins, number) / size
    return float(np.sum((number - mean[bins]) ** 2) / max(number.sum(), 1.0))
