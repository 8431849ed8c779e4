"""A graph keeps everything in its bucket; buckets are few and hold what they must."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.hypertrack.batches.graphs import (
    Bucket,
    buckets_up_to,
    choose_buckets,
    empty_graph,
    find_bucket,
    make_graph,
    pack_graph,
)
from jaxphys.hypertrack.model.candidates import candidate_graph
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from jaxphys.hypertrack.physics.truth_graph import edge_labels, true_pairs
from tests.hypertrack.toy_tracks import toy_event, toy_events

MODEL = train_voxels(gather_tracks(toy_events(10)), 80, niter=2, augment=8)
EVENT = toy_event(seed=77)
GRAPH = make_graph(EVENT, MODEL)
SAMPLE = np.array([[100 + e // 50, e, 10 + e // 400] for e in range(1000, 11_000, 50)])


def test_graph_holds_the_candidates_and_the_truth():
    edges = candidate_graph(MODEL, EVENT.position)
    np.testing.assert_array_equal(GRAPH.edge_index, edges)
    np.testing.assert_array_equal(GRAPH.edge_label, edge_labels(edges, EVENT.label))
    np.testing.assert_array_equal(GRAPH.track, EVENT.label)
    assert GRAPH.sizes == (EVENT.num_hits, edges.shape[1], EVENT.num_tracks)
    known = make_graph(EVENT, MODEL, MODEL.cells(EVENT.position))
    np.testing.assert_array_equal(known.edge_index, edges)


def test_truth_is_that_of_the_voxels_unless_another_is_asked_for():
    pairs = true_pairs(EVENT.position, *EVENT.track_hits(), "eom")
    expected = edge_labels(GRAPH.edge_index, EVENT.label, pairs)
    assert 0 < expected.sum() < GRAPH.edge_label.sum()
    asked = make_graph(EVENT, MODEL, node2node="eom")
    np.testing.assert_array_equal(asked.edge_label, expected)
    other = dataclasses.replace(MODEL, node2node="eom")
    np.testing.assert_array_equal(make_graph(EVENT, other).edge_label, expected)


@pytest.mark.parametrize("spare", [(1, 0, 0), (20, 300, 5)])
def test_packed_graph_holds_the_graph_and_harmless_padding(spare):
    nodes, edges, tracks = GRAPH.sizes
    bucket = Bucket(*(n + s for n, s in zip(GRAPH.sizes, spare, strict=True)))
    packed = pack_graph(GRAPH, bucket, reverse=True)
    assert packed["position"].shape == (bucket.nodes, 3)
    np.testing.assert_array_equal(packed["position"][:nodes], GRAPH.position)
    np.testing.assert_array_equal(packed["edge_index"][:, :edges], GRAPH.edge_index)
    np.testing.assert_array_equal(packed["edge_label"][:edges], GRAPH.edge_label)
    np.testing.assert_array_equal(packed["hit_weight"][:nodes], GRAPH.hit_weight)
    np.testing.assert_array_equal(packed["track"][:nodes], GRAPH.track)
    assert (packed["edge_index"][:, edges:] == bucket.nodes - 1).all()
    assert (packed["track"][nodes:] == -1).all()
    for name in ("position", "hit_weight"):
        assert not packed[name][nodes:].any()
    masks = {"node_mask": nodes, "edge_mask": edges, "track_mask": tracks}
    for name, count in masks.items():
        np.testing.assert_array_equal(np.flatnonzero(packed[name]), np.arange(count))
    assert not packed["node_mask"][-1]
    assert (np.diff(packed["edge_index"][1]) >= 0).all()
    back = packed["reverse_edge"]
    source, destination = packed["edge_index"]
    np.testing.assert_array_equal(source[back], destination)
    np.testing.assert_array_equal(back[edges:], np.arange(edges, bucket.edges))


def test_empty_graph_packs_to_padding_only():
    packed = pack_graph(empty_graph(), Bucket(5, 7, 2), reverse=True)
    assert not packed["edge_mask"].any()
    assert not packed["node_mask"].any()
    assert (packed["edge_index"] == 4).all()


def test_last_node_is_never_a_hit():
    nodes, edges, tracks = GRAPH.sizes
    assert not Bucket(nodes, edges, tracks).holds(GRAPH.sizes)
    assert Bucket(nodes + 1, edges, tracks).holds(GRAPH.sizes)
    with pytest.raises(ValueError, match="more than every bucket holds"):
        pack_graph(GRAPH, Bucket(nodes, edges, tracks))


def test_event_larger_than_every_bucket_is_named_with_its_size_and_the_flags():
    small = (Bucket(9, 20, 4), Bucket(17, 40, 8))
    message = (
        rf"event 7: its graph has {EVENT.num_hits} hits, \d+ edges and "
        rf"{EVENT.num_tracks} tracks, more than every bucket holds "
        r"\(8, 20, 4; 16, 40, 8\): set --node_buckets and --edge_buckets"
    )
    with pytest.raises(ValueError, match=message):
        find_bucket(small, GRAPH.sizes, GRAPH.event_id)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 90_000), st.integers(0, 400)),
        min_size=1,
        max_size=30,
    )
)
def test_graphs_of_the_sample_always_fit(sample):
    buckets = choose_buckets(np.array(sample))
    assert len(buckets) <= 3
    for sizes in sample:
        assert find_bucket(buckets, sizes, 0).holds(sizes)


def test_small_graphs_take_small_buckets():
    buckets = choose_buckets(SAMPLE, fractions=(0.25, 0.5, 1.0))
    assert len(buckets) == 4
    assert (np.diff(np.array(buckets)[:, :2], axis=0) > 0).all()
    chosen = [buckets.index(find_bucket(buckets, s, 0)) for s in SAMPLE]
    assert chosen == sorted(chosen)
    assert chosen.count(3) == 0
    assert chosen.count(0) > len(SAMPLE) // 8


def test_buckets_are_the_same_for_nearly_the_same_sample():
    assert choose_buckets(SAMPLE) == choose_buckets(SAMPLE[::-1])


def test_a_graph_above_the_usual_sizes_is_not_padded_to_any_size():
    usual = choose_buckets(SAMPLE, overflow=0)
    largest = Bucket(60_000, 3_000_000, 6_000)
    found = buckets_up_to(usual, largest)
    assert found[: len(usual)] == usual
    assert found[-1] == largest
    edges = np.array([bucket.edges for bucket in found[len(usual) - 1 :]])
    assert np.all(edges[1:] > edges[:-1])
    assert np.all(edges[1:] <= 1.6 * edges[:-1])
    above = find_bucket(found, (150, 2 * usual[-1].edges, 40), 1)
    assert above.edges < 5 * usual[-1].edges
    assert buckets_up_to((largest,), usual[0]) == (usual[0],)
    assert choose_buckets(SAMPLE, overflow=0) == choose_buckets(SAMPLE)[:-1]


def test_arguments_out_of_range_are_refused():
    for fraction, quantile, overflow in ((0.0, 1, 2), (1, 0.0, 2), (1, 1, 0.5)):
        with pytest.raises(ValueError, match="fractions, quantile, overflow"):
            choose_buckets(SAMPLE, (fraction,), quantile, overflow)
    with pytest.raises(ValueError, match=r"sizes: expected \[S, 3\]"):
        choose_buckets(np.zeros((0, 3)))
