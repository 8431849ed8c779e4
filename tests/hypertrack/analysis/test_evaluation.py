import dataclasses

import jax
import numpy as np
import pytest

from jaxphys.hypertrack.analysis import edge_scores, evaluation
from jaxphys.hypertrack.inference import simple_clustering
from jaxphys.hypertrack.inference import tracker as inference
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from tests.hypertrack.edge_graphs import partition
from tests.hypertrack.toy_tracks import toy_events
from tests.hypertrack.tracked_events import (
    tracker_of,
    truthful_outputs,
    variables_of,
    voxels_of,
)


@pytest.fixture(scope="module")
def events():
    return toy_events(3)


@pytest.fixture(scope="module")
def tracker(events):
    return tracker_of(voxels_of(events), variables_of(jax.random.key(0)), "cut")


@pytest.fixture(scope="module")
def found(events, tracker):
    """Edges whose probabilities tell the truth."""
    patch = pytest.MonkeyPatch()
    result = []
    for event in events:
        patch.setattr(inference, "edge_outputs", truthful_outputs(event))
        result += evaluation.find_edges(tracker, [event], repeat_seconds=0)
    patch.undo()
    return result


def test_edges_are_labelled_and_counted_by_the_truth(events, found):
    for event, one in zip(events, found, strict=True):
        source, destination = one.edges.edge_index
        own = event.label[source] == event.label[destination]
        np.testing.assert_array_equal(one.label, own & (event.label[source] >= 0))
        assert one.counts.edges == len(one.label)
        assert one.counts.tp == one.label.sum()


def test_true_edges_give_true_tracks_by_every_method_on_edges(events, tracker, found):
    for method in ("cut", "jaccard", "hdbscan"):
        result = evaluation.cluster(tracker, method, found)
        for event, labels in zip(events, result.labels, strict=True):
            wanted = {p for p in partition(event.label) if len(p) >= 4}
            assert partition(labels) == wanted
        assert result.scores["efficiency"] == result.scores["purity"] == 1
        assert result.table.true["passed"].all()


def test_options_reach_the_method_and_the_number_of_hits_its_scores(tracker, found):
    none = evaluation.cluster(tracker, "cut", found, {"threshold": 1.0})
    assert none.scores["num_reco"] == 0
    assert none.options == {"threshold": 1.0}
    many = evaluation.cluster(tracker, "cut", found, {}, hits_min=8)
    few = evaluation.cluster(tracker, "cut", found, {}, hits_min=4)
    assert many.scores["num_true"] < few.scores["num_true"]


def test_methods_on_latents_do_not_look_at_the_edges(tracker, found):
    one = found[0]
    z = np.asarray(one.event.label, np.float32)[:, None] * np.ones(5, np.float32)
    near = dataclasses.replace(one, edges=dataclasses.replace(one.edges, latents=z))
    labels = evaluation.label_hits(tracker, "dbscan_latents", near, {"eps": 0.01})
    np.testing.assert_array_equal(
        labels, simple_clustering.dbscan_latents(z, 0.01)
    )  # fmt: skip
    assert labels.max() > 3


def test_what_cannot_cluster_is_left_out(tracker, found, monkeypatch):
    assert evaluation.methods_for(tracker, found) == evaluation.METHODS
    untrained = dataclasses.replace(tracker, transformer=None)
    assert "transformer" not in evaluation.methods_for(untrained, found)
    monkeypatch.setattr(evaluation, "MOST_LATENT_HITS", 5)
    assert evaluation.methods_for(untrained, found) == evaluation.METHODS[1:5]
    voxels = dataclasses.replace(tracker.voxels, node2node="eom")
    assert evaluation.methods_for(dataclasses.replace(tracker, voxels=voxels), []) == ()


def test_summary_of_the_edges_is_that_of_all_events_together(found):
    noisy = [
        dataclasses.replace(
            one,
            edges=dataclasses.replace(
                one.edges,
                prob=np.random.default_rng(i).random(len(one.label)) + one.label,
            ),
        )
        for i, one in enumerate(found)
    ]
    summary = evaluation.edge_summary(noisy, 1.0)
    label, prob, ends = evaluation.joined_edges(noisy)
    assert summary["auc"] == edge_scores.auc(label, prob)
    other = ends[0] != ends[1]
    assert summary["auc_without_self"] == edge_scores.auc(label[other], prob[other])
    assert summary["gnn_tpr"] == 1
    assert summary["gnn_fpr"] == 0
    each = [edge_scores.auc(one.label, one.edges.prob) for one in noisy]
    assert summary["auc_mean"] == pytest.approx(np.mean(each))
    error = np.std(each, ddof=1) / np.sqrt(len(each))
    assert summary["auc_error"] == pytest.approx(error)
    assert summary["vd_tpr"] == pytest.approx(
        np.mean([one.counts.tp / one.counts.pos for one in found])
    )


def test_the_first_of_several_events_does_not_count_in_times():
    meters = [StageMeter({"net": t}) for t in (100.0, 1.0, 3.0)]
    mean, spread = evaluation.stage_seconds(meters, "net")
    assert (mean, spread) == (2.0, pytest.approx(np.sqrt(2)))
    assert evaluation.stage_seconds(meters[:1], "net")[0] == 100
    assert evaluation.stage_seconds(meters, "graph")[0] == 0


def test_programs_are_not_compiled_in_the_measured_time():
    calls = []
    again = evaluation._Timer(10.0)
    results = [again(lambda meter: calls.append(meter) or len(calls)) for _ in "12"]
    assert [found for found, _ in results] == [1, 3]  # of the first of two passes
    assert len({id(meter) for meter in calls}) == 4
    assert evaluation._Timer(0.0)(lambda meter: meter)[0] is not None
