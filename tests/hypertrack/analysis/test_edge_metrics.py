"""Counts of pairs agree with those of dense matrices."""

import math

import numpy as np
import pytest

from jaxphys.hypertrack.analysis.edge_metrics import (
    EdgeCounts,
    candidate_counts,
    edge_counts,
    mean_rates,
)
from jaxphys.hypertrack.model.candidates import candidate_graph
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from jaxphys.hypertrack.physics.truth_graph import num_hyper_pairs, true_pairs
from tests.hypertrack.toy_tracks import dense, toy_event, toy_events


def dense_counts(truth, joined):
    return EdgeCounts(
        pos=truth.sum(),
        neg=(~truth).sum(),
        tp=(truth & joined).sum(),
        tn=(~truth & ~joined).sum(),
        fp=(~truth & joined).sum(),
        fn=(truth & ~joined).sum(),
    )


@pytest.mark.parametrize(
    ("mode", "compat"),
    [("hyper", False), ("eom", False), ("cricket", False), ("cricket", True)],
)
def test_counts_are_those_of_the_dense_matrices(mode, compat):
    model = train_voxels(gather_tracks(toy_events(10)), 80, mode, niter=2)
    event = toy_event(seed=500)
    pairs = true_pairs(event.position, *event.track_hits(), mode, compat)
    truth = dense(pairs, event.num_hits) > 0
    joined = dense(candidate_graph(model, event.position), event.num_hits) > 0
    assert candidate_counts(model, event, compat) == dense_counts(truth, joined)


def test_counts_from_labels():
    found = edge_counts(np.array([1, 0, 1, 0, 0]), num_true_pairs=4, num_hits=10)
    assert found == EdgeCounts(pos=4, neg=96, tp=2, tn=93, fp=3, fn=2)
    assert (found.edges, found.tpr, found.purity) == (5, 0.5, 0.4)
    assert (found.fpr, found.accuracy) == (3 / 96, 0.95)


def test_pairs_of_a_full_event_do_not_overflow():
    found = edge_counts(np.ones(3), 3, 130_000)
    assert found.neg == 130_000**2 - 3
    track = np.zeros(100_000, np.int32)
    assert num_hyper_pairs(track) == 10**10
    assert num_hyper_pairs(np.array([-1, 0, 0, 1, -1])) == 5


def test_rates_without_pairs_are_missing():
    none = edge_counts(np.zeros(0), 0, 0)
    assert math.isnan(none.tpr)
    assert math.isnan(none.purity)


def test_means_carry_the_error_of_the_mean():
    counts = [edge_counts(np.arange(10) < n, 10, 20) for n in (4, 6, 8)]
    found = mean_rates([*counts, edge_counts(np.zeros(0), 0, 5)])
    assert found.events == 3
    np.testing.assert_allclose(found.tpr, [0.6, 0.2 / math.sqrt(3)])
    np.testing.assert_allclose(found.edges, [10, 0])
    one = mean_rates(counts[:1])
    assert one.tpr[0] == 0.4
    assert math.isnan(one.tpr[1])
    assert math.isnan(mean_rates([]).tpr[0])
