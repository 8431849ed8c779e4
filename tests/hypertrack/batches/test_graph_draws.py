"""A drawn graph depends on (seed, iteration, slot) and on nothing else."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxphys.hypertrack.batches.graph_draws import DrawSettings, GraphDraws
from jaxphys.hypertrack.batches.graphs import make_graph
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from tests.hypertrack.toy_tracks import toy_event, toy_events

EVENTS = toy_events(12)
MODEL = train_voxels(gather_tracks(toy_events(10, num_noise=3)), 80, niter=2)
SETTINGS = DrawSettings(rfactor_start=0.3, rfactor_end=0.8, noise_ratio=0.1)


def draws(events=EVENTS, **changes):
    return GraphDraws(events, MODEL, dataclasses.replace(SETTINGS, **changes))


def same(a, b):
    return a.event_id == b.event_id and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("position", "edge_index", "edge_label", "track", "hit_weight")
    )


def test_graph_is_a_function_of_its_number():
    keys = [(i, s) for i in range(6) for s in range(3)]
    forward, backward = draws(), draws()
    first = {key: forward.graph(*key) for key in keys}
    assert all(same(first[key], backward.graph(*key)) for key in reversed(keys))
    distinct = {g.position.tobytes() for g in first.values()}
    assert len(distinct) == len(keys)
    other = draws(seed=1)
    assert not any(same(first[key], other.graph(*key)) for key in keys)


def test_what_is_kept_in_memory_does_not_matter():
    few = GraphDraws(EVENTS, MODEL, SETTINGS, keep_events=1)
    for i in range(10):
        assert same(few.graph(i, 0), draws().graph(i, 0))


def test_graph_is_that_of_its_own_hits():
    for number in range(5):
        graph = draws().graph(number, 0)
        assert draws().sizes(number, 0) == graph.sizes
        event = toy_event(1)
        event = dataclasses.replace(
            event,
            position=graph.position,
            label=graph.track,
            weight=graph.hit_weight,
            event_id=graph.event_id,
        )
        alone = make_graph(event, MODEL)
        np.testing.assert_array_equal(alone.edge_index, graph.edge_index)
        np.testing.assert_array_equal(alone.edge_label, graph.edge_label)


def test_every_event_is_drawn_and_parts_differ_in_size():
    found = draws()
    chosen = [found.event_id(i, 0) for i in range(200)]
    assert set(chosen) == {e.event_id for e in EVENTS}
    tracks = {found.sizes(i, 0)[2] for i in range(50)}
    assert len(tracks) > 4


def test_period_keeps_the_event_of_the_iteration_before():
    found = draws(period=0.25)
    chosen = np.array([found.event_id(i, 1) for i in range(400)])
    # 1 of 4 draws anew, and 1 of 12 of these takes the same event again
    changed = np.mean(chosen[1:] != chosen[:-1])
    assert abs(changed - 0.25 * 11 / 12) < 0.07
    parts = {found.graph(i, 1).position.tobytes() for i in range(50)}
    assert len(parts) == 50


def test_graphs_of_an_evaluation_go_through_the_events():
    found = draws()
    numbers = range(2 * len(EVENTS))
    ids = [found.fixed_graph(n).event_id for n in numbers]
    assert ids == 2 * [e.event_id for e in EVENTS]
    assert same(found.fixed_graph(3), draws().fixed_graph(3))
    assert not same(found.fixed_graph(3), found.fixed_graph(3 + len(EVENTS)))
    assert found.fixed_sizes(3) == found.fixed_graph(3).sizes


def test_whole_events_keep_all_tracks_and_noise():
    found = draws(rfactor_start=1.0, rfactor_end=1.0, noise_ratio=-1)
    graph = found.fixed_graph(2)
    assert graph.num_tracks == EVENTS[2].num_tracks
    signal = (EVENTS[2].label >= 0).sum()
    assert (graph.track >= 0).sum() == signal


def test_threads_agree_with_one_another():
    shared = draws()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: shared.graph(i // 4, 0), range(40)))
    alone = draws()
    assert all(same(graph, alone.graph(i // 4, 0)) for i, graph in enumerate(found))


def test_settings_and_events_that_cannot_be_drawn_from_are_refused():
    for changes in ({"rfactor_start": 0.0}, {"rfactor_end": 1.5}, {"rfactor_end": 0.1}):
        with pytest.raises(ValueError, match="rfactor_start, rfactor_end"):
            dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(ValueError, match="period"):
        dataclasses.replace(SETTINGS, period=0.0)
    with pytest.raises(ValueError, match="expected at least one"):
        draws(events=[])
    unknown = [dataclasses.replace(EVENTS[0], has_truth=False)]
    with pytest.raises(ValueError, match="event 100: training needs the truth"):
        draws(events=unknown).graph(0, 0)
