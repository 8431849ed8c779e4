"""Batches of graphs are pure functions of (seed, epoch, index) in few shapes."""

import numpy as np
import pytest

from jaxphys.data.batches import plan_stacks, read_stacks
from jaxphys.hypertrack.batches.graph_batches import GraphBatches, buckets_for
from jaxphys.hypertrack.batches.graph_draws import DrawSettings, GraphDraws
from jaxphys.hypertrack.batches.graphs import Bucket, pack_graph
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from tests.hypertrack.toy_tracks import toy_events

EVENTS = toy_events(7, num_tracks=40)
MODEL = train_voxels(gather_tracks(toy_events(10, num_noise=3)), 80, niter=2)
SETTINGS = DrawSettings(rfactor_start=0.05, rfactor_end=0.9)
WHOLE = slice(None)


def draws():
    return GraphDraws(EVENTS, MODEL, SETTINGS)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_batch_holds_the_drawn_graphs():
    data = GraphBatches(draws(), 3, iterations=5, reverse=True)
    batch = data.batch(2, 4, WHOLE)
    bucket = data.shape_key(2, 4)
    for slot in range(3):
        expected = pack_graph(draws().graph(2 * 5 + 4, slot), bucket, reverse=True)
        assert_equal(expected, {k: batch[k][slot] for k in expected})
    np.testing.assert_array_equal(batch["slot"], [0, 1, 2])
    np.testing.assert_array_equal(batch["weight"], [1, 1, 1])
    assert batch["weight"].dtype == np.float32


def test_graphs_go_on_whatever_an_epoch_is():
    short, long = (GraphBatches(draws(), 2, iterations=n) for n in (3, 12))
    assert (short.num_batches(0), long.num_batches(0)) == (3, 12)
    assert_equal(short.batch(2, 1, WHOLE), long.batch(0, 7, WHOLE))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_background_work_changes_nothing(workers):
    plain = GraphBatches(draws(), 2, iterations=6, workers=0)
    data = GraphBatches(draws(), 2, iterations=6, workers=workers)
    for epoch, index in [(0, 0), (0, 1), (0, 2), (1, 5), (0, 3), (0, 3), (1, 0)]:
        assert_equal(data.batch(epoch, index, WHOLE), plain.batch(epoch, index, WHOLE))
    assert len(data._ahead) <= workers


def test_parts_of_a_batch_are_its_rows():
    data = GraphBatches(draws(), 4, iterations=2)
    whole = data.batch(0, 1, WHOLE)
    for part in (slice(0, 2), slice(2, 4), slice(3, 4)):
        rows = {name: array[part] for name, array in whole.items()}
        assert_equal(data.batch(0, 1, part), rows)


def test_all_graphs_of_a_batch_share_the_bucket_of_the_largest():
    data = GraphBatches(draws(), 3, iterations=30)
    assert len(data.buckets) == 3
    used = {data.shape_key(0, i) for i in range(30)}
    assert 1 < len(used) <= 3
    for i in range(30):
        bucket, batch = data.shape_key(0, i), data.batch(0, i, WHOLE)
        assert batch["position"].shape == (3, bucket.nodes, 3)
        assert batch["edge_index"].shape == (3, 2, bucket.edges)
        assert batch["track_mask"].shape == (3, bucket.tracks)
        sizes = [data.draws.sizes(i, slot) for slot in range(3)]
        smaller = [b for b in data.buckets if b.edges < bucket.edges]
        assert not any(all(b.holds(s) for s in sizes) for b in smaller)


def test_evaluation_takes_every_event_and_fills_up_with_weight_0():
    data = GraphBatches(draws(), 4, iterations=0, repeats=2)
    assert data.num_graphs == 14
    batches = [data.batch(0, i, WHOLE) for i in range(data.num_batches(0))]
    weight = np.concatenate([b["weight"] for b in batches])
    ids = np.concatenate([b["event_id"] for b in batches])
    np.testing.assert_array_equal(weight, [1] * 14 + [0] * 2)
    np.testing.assert_array_equal(ids[:14], 2 * [e.event_id for e in EVENTS])
    assert not batches[-1]["edge_mask"][2:].any()
    assert_equal(batches[1], data.batch(5, 1, WHOLE))  # the same in every epoch


def test_layout_is_applied_to_every_graph():
    def layout(graph):
        source, destination = graph["edge_index"]
        np.testing.assert_array_equal(source[graph["reverse_edge"]], destination)
        return {"degree": np.bincount(destination), "slot": graph["slot"]}

    data = GraphBatches(draws(), 2, iterations=3, layout=layout)
    batch = data.batch(0, 1, WHOLE)
    assert batch["degree"].shape == (2, data.shape_key(0, 1).nodes)
    assert set(batch) == {"degree", "slot"}


def test_event_larger_than_every_bucket_is_an_error_and_not_left_out():
    data = GraphBatches(draws(), 1, (Bucket(8, 20, 4),), iterations=2)
    with pytest.raises(
        ValueError, match=r"event 10\d: its graph has .* more than ever"
    ):
        data.shape_key(0, 0)
    with pytest.raises(ValueError, match="--node_buckets and --edge_buckets"):
        data.batch(0, 0, WHOLE)


def test_stacks_of_the_loop_hold_the_same_batches():
    data = GraphBatches(draws(), 2, iterations=8)
    plan = plan_stacks(data, 1, 0, 4, lambda index: 4)
    assert sum(count for _, count, _ in plan) == 8
    for first, count, stack in read_stacks(data, 1, plan, lambda index: WHOLE):
        for i in range(count):
            rows = {name: array[i] for name, array in stack.items()}
            assert_equal(rows, data.batch(1, first + i, WHOLE))


def test_buckets_are_chosen_by_the_first_graphs():
    found = buckets_for(draws(), 16, fractions=(1.0,))
    assert len(found) == 2
    assert all(found[1].holds(draws().sizes(i, 0)) for i in range(16))


def test_settings_out_of_range_are_refused():
    for batch_size, iterations, repeats in ((0, 1, 1), (1, -1, 1), (1, 0, 0)):
        with pytest.raises(ValueError, match="batch_size, iterations, repeats"):
            GraphBatches(
                draws(), batch_size, iterations=iterations, repeats=repeats, workers=0
            )
