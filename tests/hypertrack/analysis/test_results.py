"""Every clustering of a run on the same edges, and its time and memory."""

import jax
import pytest

from jaxphys.hypertrack.analysis import results
from jaxphys.hypertrack.inference import tracker as inference
from tests.hypertrack.toy_tracks import toy_events
from tests.hypertrack.tracked_events import (
    tracker_of,
    truthful_outputs,
    variables_of,
    voxels_of,
)


@pytest.fixture(scope="module")
def tracker():
    voxels = voxels_of(toy_events(3))
    return tracker_of(voxels, variables_of(jax.random.key(0)), "cut")


@pytest.fixture
def event(monkeypatch):
    (found,) = toy_events(1)
    monkeypatch.setattr(inference, "edge_outputs", truthful_outputs(found))
    return found


def test_methods_are_tuned_and_the_best_simple_one_is_named(tracker, event):
    tuned = results.tune(tracker, [event], 3)
    assert {"cut", "jaccard"} <= set(tuned)
    found = results.score(
        tracker, [event], tuned, main="cut", hits_min=3, threshold=0.5, seed=0
    )
    assert found.main == "cut"
    assert found.best in found.clusterings
    simple = [tuned[m][1] for m in found.clusterings if m != "transformer"]
    assert tuned[found.best][1] == max(simple)
    assert found.edges["auc"] == 1  # the net in its place knows the truth
    assert found.shown[0] == "cut"


def test_a_method_that_does_not_apply_gives_way_to_the_best_simple_one(tracker, event):
    tuned = {"cut": ({"threshold": 0.5}, 0.9), "jaccard": ({"threshold": 1.0}, 0.8)}
    found = results.score(
        tracker, [event], tuned, main="hdbscan", hits_min=3, threshold=0.5, seed=0
    )
    assert (found.main, found.best) == ("cut", "cut")
    # clustering by latents is no way to predict, so `load` never takes it
    tuned["dbscan_latents"] = ({"eps": 1.0}, 0.95)
    found = results.score(
        tracker, [event], tuned, main="hdbscan", hits_min=3, threshold=0.5, seed=0
    )
    assert (found.main, found.best) == ("cut", "dbscan_latents")


def test_costs_grow_with_the_part_of_the_event(tracker, event):
    tuned = {"cut": ({"threshold": 0.5}, 0.9)}
    result = results.score(
        tracker, [event], tuned, main="cut", hits_min=3, threshold=0.5, seed=0
    )
    costs = results.costs_of(tracker, result, event)
    assert [cost.fraction for cost in costs][-1] == 1
    hits = [cost.hits for cost in costs]
    assert hits == sorted(hits)
    assert hits[-1] == event.num_hits
    assert all(sum(cost.meter.seconds.values()) > 0 for cost in costs)
