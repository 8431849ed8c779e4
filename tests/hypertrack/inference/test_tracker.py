import dataclasses

import jax
import numpy as np
import pytest

from jaxphys.hypertrack.inference import tracker as inference
from tests.hypertrack.edge_graphs import partition
from tests.hypertrack.toy_tracks import toy_events
from tests.hypertrack.tracked_events import (
    tracker_of,
    truthful_outputs,
    variables_of,
    voxels_of,
)
from tests.hypertrack.truth_masks import truth_masks


@pytest.fixture(scope="module")
def events():
    return toy_events(3)


@pytest.fixture(scope="module")
def voxels(events):
    return voxels_of(events)


@pytest.fixture(scope="module")
def variables():
    return variables_of(jax.random.key(0))


@pytest.mark.parametrize("algorithm", ["cut", "jaccard", "hdbscan", "transformer"])
def test_with_true_edges_every_algorithm_finds_the_tracks(
    events, voxels, variables, algorithm, monkeypatch
):
    event = events[0]
    monkeypatch.setattr(inference, "edge_outputs", truthful_outputs(event))
    tracker = tracker_of(voxels, variables, algorithm)
    perfect = truth_masks(event.label)
    monkeypatch.setattr(inference.Tracker, "masks", lambda *rest: perfect)
    found = tracker.reconstruct(event.position)
    wanted = {p for p in partition(event.label) if len(p) >= 4}
    assert partition(found.labels) == wanted
    assert (found.clustering is not None) == (algorithm == "transformer")
    assert set(found.meter.seconds) <= set(inference.STAGES)
    assert found.meter.peak > 0


def test_the_nets_give_probabilities_and_the_same_tracks_again(
    events, voxels, variables
):
    tracker = tracker_of(voxels, variables)
    one, again = (tracker.reconstruct(events[1].position, seed=3) for _ in range(2))
    prob = one.edges.prob
    assert prob.shape == one.edges.edge_index.shape[1:]
    assert ((prob > 0) & (prob < 1)).all()
    assert one.edges.latents.shape == (events[1].num_hits, 5)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert set(one.meter.seconds) == set(inference.STAGES)
    # hits come in any order
    order = np.random.default_rng(0).permutation(events[1].num_hits)
    cut = dataclasses.replace(tracker, algorithm="cut", options={"threshold": 0.4})
    whole = cut.reconstruct(events[1].position).labels
    other = cut.reconstruct(events[1].position[order]).labels
    assert {frozenset(order[list(p)]) for p in partition(other)} == partition(whole)


def test_without_clustering_there_are_edges_and_no_tracks(events, voxels, variables):
    found = tracker_of(voxels, variables, "none").reconstruct(events[2].position)
    assert (found.labels == -1).all()
    assert len(found.edges.prob)


def test_what_cannot_be_reconstructed_is_refused(events, voxels, variables):
    tracker = tracker_of(voxels, variables)
    position = events[0].position.copy()
    position[4, 1] = np.nan
    with pytest.raises(ValueError, match="row 4 is not finite"):
        tracker.reconstruct(position)
    with pytest.raises(ValueError, match=r"expected \[N, 3\], got \(7,\)"):
        tracker.edges(np.zeros(7))
    with pytest.raises(ValueError, match="--cluster=kmeans: expected one of"):
        tracker_of(voxels, variables, "kmeans")
    with pytest.raises(ValueError, match="has not trained the transformer"):
        dataclasses.replace(tracker, transformer=None)
    cut = dataclasses.replace(tracker, transformer=None, algorithm="cut")
    with pytest.raises(ValueError, match="expected one, got none"):
        cut.masks(events[0].position, np.zeros((events[0].num_hits, 5)))
