"""Batches of graphs: every event once, static shapes, parts, gathers on the device."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxphys.data.batches import plan_stacks, read_stacks, sequential, shuffled
from jaxphys.hidden_vertex.batches import GraphBatches, make_budget
from jaxphys.hidden_vertex.data.prepare import Recipe, prepare
from jaxphys.hidden_vertex.physics.graphs import features, knn_neighbours, radius_edges
from jaxphys.nn.graph_convolution import Edges, Neighbours
from jaxphys.nn.graph_convolution import aggregate as aggregate_on_device
from tests.hidden_vertex.samples import lhco_rows, write_lhco

ALL = slice(None)
EVENTS = 45
MEAN = np.array([1.2, 0.1, -0.1], np.float32)
STD = np.array([1.5, 1.4, 1.8], np.float32)
SCALED: dict[str, Any] = {"mean": MEAN, "std": STD}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    sizes = np.random.default_rng(0).integers(1, 60, EVENTS)
    sizes[:4] = [1, 2, 5, 250]
    path = write_lhco(folder / "a.h5", lhco_rows(sizes))
    return prepare(path, folder / "store", Recipe(radius=0.5, with_ax=True))


def batches(store, positions=None, batch_size=8, parts=2, seed=0, **settings: Any):
    positions = np.arange(len(store)) if positions is None else positions
    order = (
        sequential(len(positions)) if seed is None else shuffled(len(positions), seed)
    )
    return GraphBatches(store, positions, batch_size, order, parts, **settings)


def events_of(batch):
    """Yields (position, slot, places of its particles, part) of the real events."""
    for part in range(len(batch["x"])):
        start = np.cumsum(batch["n_node"][part]) - batch["n_node"][part]
        for g in np.flatnonzero(batch["weight"][part]):
            places = start[g] + np.arange(batch["n_node"][part, g])
            slot = batch["slot"][part, g]
            yield int(batch["position"][part, g]), int(slot), places, part


def test_every_event_of_an_epoch_comes_once_and_whole(store):
    positions = np.arange(3, EVENTS)[::-1]
    data = batches(store, positions)
    for epoch in (0, 1):
        seen = []
        assert data.num_batches(epoch) == 6
        for i in range(6):
            batch = data.batch(epoch, i, ALL)
            for position, slot, places, part in events_of(batch):
                seen.append(position)
                assert position == positions[data.order(epoch)[8 * i + slot]]
                event = features(store[position])
                np.testing.assert_array_equal(batch["x"][part, places], event)
                index = np.unique(batch["graph_index"][part, places])
                assert index.tolist() == [slot % 4]
        np.testing.assert_array_equal(np.sort(seen), np.sort(positions))


def test_neighbours_are_places_of_the_same_event(store):
    data = batches(store)
    for i in range(data.num_batches(0)):
        batch = data.batch(0, i, ALL)
        own = np.arange(batch["x"].shape[1])
        for position, _, places, part in events_of(batch):
            near = knn_neighbours(store[position][:, 1:], 6)
            found = batch["neighbours"][part, places]
            np.testing.assert_array_equal(found[:, : near.shape[1]], places[0] + near)
            missing = found[:, near.shape[1] :]
            assert np.all(missing == places[:, None])
        empty = batch["graph_index"] == 4
        assert np.all(
            batch["neighbours"][empty]
            == np.broadcast_to(own, empty.shape)[empty][:, None]
        )


def test_edges_of_the_radius_graph_are_places_of_the_same_event(store):
    data = batches(store, graph="radius", batch_size=6)
    for i in range(data.num_batches(0)):
        batch = data.batch(0, i, ALL)
        assert "neighbours" not in batch
        last = batch["x"].shape[1] - 1
        for part in range(2):
            senders, receivers = batch["senders"][part], batch["receivers"][part]
            real = senders != last
            np.testing.assert_array_equal(real, receivers != last)
            found = set(
                zip(senders[real].tolist(), receivers[real].tolist(), strict=True)
            )
            expected = set()
            for position, _, places, of_part in events_of(batch):
                if of_part == part:
                    edges = places[0] + radius_edges(store[position][:, 1:], 0.5)
                    expected |= set(zip(*edges.tolist(), strict=True))
            assert found == expected
            assert real.sum() == len(expected)


def test_empty_places_make_up_the_last_graph(store):
    batch = batches(store).batch(0, 5, ALL)  # 45 = 5 * 8 + 5: the last one is padded
    assert batch["weight"].sum() == 5
    assert np.all(batch["weight"][:, -1] == 0)
    places = batch["x"].shape[1]
    np.testing.assert_array_equal(batch["n_node"].sum(axis=1), [places, places])
    assert np.all(batch["n_node"][:, -1] >= 1)
    assert np.all(batch["x"][batch["graph_index"] == 4] == 0)
    for part in range(2):
        counts = np.bincount(batch["graph_index"][part], minlength=5)
        np.testing.assert_array_equal(counts, batch["n_node"][part])
        assert np.all(np.diff(batch["graph_index"][part]) >= 0)


def test_batch_does_not_depend_on_what_was_read_before(store):
    one, other = batches(store), batches(store)
    for epoch, i in [(1, 4), (0, 2), (1, 0)]:
        other.batch(epoch, i, ALL)
    a, b = one.batch(0, 3, ALL), other.batch(0, 3, ALL)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    c = one.batch(1, 3, ALL)
    assert not np.array_equal(a["position"], c["position"])


def test_parts_of_a_batch_are_read_alone(store):
    data = batches(store, parts=4)
    whole = data.batch(0, 1, ALL)
    for part in (slice(0, 1), slice(1, 3), slice(3, 4)):
        found = data.batch(0, 1, part)
        for name, array in whole.items():
            np.testing.assert_array_equal(found[name], array[part], err_msg=name)


def test_number_of_parts_does_not_change_which_events_are_together(store):
    for i in range(6):
        found = [
            {
                slot: p
                for p, slot, *_ in events_of(batches(store, parts=d).batch(0, i, ALL))
            }
            for d in (1, 2, 4, 8)
        ]
        assert all(events == found[0] for events in found)


def test_batch_beyond_the_budget_takes_the_large_shape(store):
    data = batches(store, node_budget=128)
    assert data.budget.small == 128
    keys: list[Any] = [data.shape_key(0, i) for i in range(6)]
    assert set(keys) == {(128, 0), (data.budget.large, 0)}
    for i, key in enumerate(keys):
        places = key[0]
        batch = data.batch(0, i, ALL)
        assert batch["x"].shape[1] == places
        most = batch["n_node"][:, :-1].sum(axis=1).max()
        assert (most < 128) == (places == 128)
    assert data.num_overflows(0) == sum(key != (128, 0) for key in keys)


def test_large_budget_holds_the_largest_events_together():
    sizes = np.array([5, 300, 2, 280, 290])
    budget = make_budget(sizes, 3)
    assert budget.large == 896  # 870 particles and an empty place
    np.testing.assert_array_equal(budget.of(np.array([10, 870])), [budget.small, 896])
    assert make_budget(sizes, 100).large == 896 + 0  # 877 and one
    assert make_budget(np.array([127]), 1).large == 128
    assert make_budget(np.array([128]), 1).large == 256


def test_budget_of_events_like_the_real_ones_is_rarely_exceeded():
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.normal(173.5, 63.2, 100_000), 47, 482).astype(np.int64)
    budget = make_budget(sizes, 32)
    assert budget.small == 6656
    needed = rng.choice(sizes, (20_000, 32)).sum(axis=1)
    assert np.mean(budget.of(needed) == budget.large) < 0.005


@pytest.mark.parametrize("standardise", [False, True])
def test_batch_gathered_on_the_device_equals_that_of_the_host(store, standardise):
    settings = SCALED if standardise else {}
    positions = np.arange(EVENTS)[::2]
    host = batches(store, positions, **settings)
    device = batches(store, positions, on_device=True, **settings)
    resident = jax.device_put(device.resident(0))
    assert resident["x"].shape == (store.sizes[::2].sum(), 3)
    assert device.resident(0) is device.resident(1)
    expand = jax.jit(device.expand)
    assert host.resident(0) is None
    for i in range(host.num_batches(0)):
        expected = host.batch(0, i, ALL)
        small = device.batch(0, i, ALL)
        assert "x" not in small
        found = expand(resident, small)
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
            assert found[name].dtype == array.dtype
        assert host.expand(None, expected).keys() == expected.keys()


def test_stored_aggregate_is_that_of_the_first_layer(store):
    for settings in ({}, SCALED):
        batch = batches(store, **settings).batch(0, 1, ALL)
        for part in range(2):
            graph = Neighbours(batch["neighbours"][part])
            expected = np.asarray(aggregate_on_device(batch["x"][part], graph))
            real = batch["graph_index"][part] < 4
            found = batch["aggregate"][part]
            np.testing.assert_allclose(found[real], expected[real], atol=2e-6)


def test_padding_edges_touch_no_particle(store):
    batch = batches(store, graph="radius", parts=1).batch(0, 0, ALL)
    edges = Edges(batch["senders"][0], batch["receivers"][0])
    with_padding = np.asarray(aggregate_on_device(batch["x"][0], edges))
    real = batch["senders"][0] != batch["x"].shape[1] - 1
    edges = Edges(batch["senders"][0][real], batch["receivers"][0][real])
    without = np.asarray(aggregate_on_device(batch["x"][0], edges))
    np.testing.assert_allclose(with_padding, without, atol=1e-6)


def test_features_are_standardised(store):
    plain, scaled = batches(store), batches(store, mean=MEAN, std=STD)
    a, b = plain.batch(0, 0, ALL), scaled.batch(0, 0, ALL)
    real = a["graph_index"] < 4
    expected = (a["x"][real] - MEAN) / STD
    np.testing.assert_allclose(b["x"][real], expected, atol=1e-6)
    assert np.all(b["x"][~real] == 0)


def test_stacks_hold_batches_of_one_shape(store):
    data = batches(store, node_budget=128)
    plan = plan_stacks(data, 0, 0, 4, lambda index: 4)
    seen = 0
    for first, count, stack in read_stacks(data, 0, plan, lambda index: ALL):
        assert first == seen
        for j in range(count):
            expected = data.batch(0, first + j, ALL)
            for name, array in expected.items():
                np.testing.assert_array_equal(stack[name][j], array)
        seen += count
    assert seen == data.num_batches(0)


def test_bad_settings_are_refused(store, tmp_path):
    for size in (0, 9):
        with pytest.raises(ValueError, match="multiple of the 2 parts"):
            batches(store, batch_size=size)
    with pytest.raises(ValueError, match="a data set without events"):
        batches(store, np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="expected knn or radius, got 'delaunay'"):
        batches(store, graph="delaunay")
    with pytest.raises(ValueError, match="on_device: radius"):
        batches(store, graph="radius", on_device=True)
    with pytest.raises(ValueError, match="give both or none"):
        batches(store, mean=MEAN)
    with pytest.raises(ValueError, match="order: 3 events, expected 45"):
        GraphBatches(store, np.arange(EVENTS), 8, sequential(3)).batch(0, 0, ALL)
    path = write_lhco(tmp_path / "a.h5", lhco_rows([3, 4]))
    bare = prepare(path, tmp_path / "bare", Recipe(k=0))
    for graph, option in (("knn", "k"), ("radius", "radius")):
        with pytest.raises(ValueError, match=f"prepare it with {option}$"):
            batches(bare, graph=graph)
