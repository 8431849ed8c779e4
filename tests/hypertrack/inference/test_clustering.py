import dataclasses

import numpy as np
import pytest

from jaxphys.hypertrack.inference.clustering import ClusterSettings, cluster
from tests.hypertrack.edge_graphs import cliques, partition
from tests.hypertrack.truth_masks import truth_masks


@pytest.fixture(scope="module")
def event():
    return cliques(4, tracks=40, noise=20, wrong=120)


def wanted_tracks(track, least=4):
    return {p for p in partition(track) if len(p) >= least}


@pytest.mark.parametrize("per_round", [1, 4, 32])
@pytest.mark.parametrize("mode", ["pivot-spanned", "full"])
def test_a_perfect_transformer_finds_the_tracks_however_many_sets_a_round(
    event, per_round, mode
):
    track, edges, prob, position = event
    settings = ClusterSettings(
        pivots_per_round=per_round, micrograph_mode=mode, max_failures=4
    )
    found = cluster(edges, prob, position, settings, truth_masks(track))
    wanted = wanted_tracks(track)
    clusters = partition(found.labels)
    assert clusters <= wanted
    assert len(clusters) >= 0.9 * len(wanted)  # pivots of several tracks cost some
    assert found.num_clusters == len(clusters)
    assert found.accepted.sum() == len(clusters)


def test_several_sets_a_round_need_fewer_rounds(event):
    track, edges, prob, position = event
    rounds = [
        cluster(
            edges,
            prob,
            position,
            ClusterSettings(pivots_per_round=n),
            truth_masks(track),
        ).rounds
        for n in (1, 8)
    ]
    assert rounds[1] <= rounds[0] / 3


def test_sets_of_one_round_have_no_pivot_in_each_others_micrograph(event):
    track, edges, prob, position = event
    settings = ClusterSettings(pivots_per_round=16)
    found = cluster(edges, prob, position, settings, truth_masks(track))
    assert np.bincount(found.round_of).max() > 4
    for number in range(found.rounds):
        some = found.sets.take(np.flatnonzero(found.round_of == number))
        for one in range(len(some)):
            nodes = some.node[some.offset[one] : some.offset[one + 1]]
            others = np.delete(some.pivots, one, axis=0)
            assert not np.isin(others, nodes).any()


def test_a_hit_that_two_sets_want_goes_to_the_surer_one():
    # two stars of four hits that share the hit 8
    edges = [(a, b) for a in range(4) for b in range(4) if a != b]
    edges += [(a + 4, b + 4) for a, b in edges]
    edges += [(0, 8), (1, 8), (2, 8), (3, 8), (4, 8), (5, 8), (6, 8), (7, 8)]
    edges = np.array([*edges, *((b, a) for a, b in edges)]).T
    prob = np.where((edges == 8).any(axis=0), 0.6, 0.9).astype(np.float32)

    def masks(rows, mask, pivots):
        sure = np.where((pivots < 4).all(axis=1), 0.7, 0.95)[:, None]
        return np.where(rows == 8, sure, 0.9) * mask

    settings = ClusterSettings(pivots_per_round=4, seed_ktop_max=1)
    priority = np.tile(np.r_[np.arange(8), 99.0], (4, 1))
    priority[:, [0, 4, 1, 5]] = [-4, -3, -2, -1]
    found = cluster(edges, prob, np.zeros((9, 3)), settings, masks, priority=priority)
    assert partition(found.labels) == {frozenset(range(4)), frozenset(range(4, 9))}
    assert found.trials == 1


def test_a_rejected_set_fails_until_its_hits_are_left_alone(event):
    track, edges, prob, position = event
    settings = ClusterSettings(max_failures=3)
    found = cluster(edges, prob, position, settings, lambda r, m, p: 0.0 * m)
    assert found.num_clusters == 0
    assert not found.accepted.any()
    assert found.failures.max() == 3
    assert len(track) == len(found.labels)
    # every component ends with too few hits for a set of pivots
    size = np.bincount(found.components[found.components >= 0])
    left = np.bincount(
        found.components[(found.components >= 0) & (found.failures < 3)],
        minlength=len(size),
    )
    assert left.max() < settings.num_pivots


def test_soft_threshold_lets_pass_what_is_above_the_trained_one(event):
    track, edges, prob, position = event
    perfect = truth_masks(track)

    def unsure(rows, mask, pivots):
        return 0.2 + 0.5 * perfect(rows, mask, pivots)

    soft = ClusterSettings(threshold_algo="soft")
    for threshold, some in ((0.5, True), (0.75, False)):
        found = cluster(
            edges, prob, position, soft, unsure, soft_threshold=threshold
        )  # fmt: skip
        assert bool(partition(found.labels)) == some


@pytest.mark.parametrize("strategy", ["max", "min", "max_T", "min_T"])
def test_seeds_by_distance_begin_at_the_outermost_or_innermost_hit(strategy):
    hits = np.arange(1, 7)
    position = np.zeros((6, 3))
    transverse = strategy.endswith("_T")
    position[:, 0] = hits if transverse else hits[::-1] / 100
    position[:, 2] = 50 - hits if transverse else hits
    edges = np.array([(a, b) for a in range(6) for b in range(6) if a != b]).T
    settings = ClusterSettings(seed_strategy=strategy, seed_ktop_max=1)
    prob = np.full(30, 0.9, np.float32)
    found = cluster(edges, prob, position, settings, lambda r, m, p: 1.0 * m)
    assert found.sets.pivots[0, 0] == (5 if strategy.startswith("max") else 0)


def test_draws_repeat_with_the_generator_and_random_paths_work(event):
    track, edges, prob, position = event
    settings = ClusterSettings(random_paths=4)
    runs = [
        cluster(
            edges,
            prob,
            position,
            settings,
            truth_masks(track),
            rng=np.random.default_rng(seed),
        )
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0].sets.pivots, runs[1].sets.pivots)
    assert runs[0].sets.pivots.tolist() != runs[2].sets.pivots.tolist()
    assert partition(runs[2].labels) <= wanted_tracks(track)


def test_no_edges_no_tracks():
    none = np.zeros((2, 0), int)
    for hits in (0, 5):
        found = cluster(
            none,
            np.zeros(0),
            np.zeros((hits, 3)),
            ClusterSettings(),
            truth_masks(np.zeros(0, int)),
        )
        assert (found.labels == -1).all()
        assert (found.rounds, found.trials, len(found.sets)) == (0, 0, 0)


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="--threshold_algo='fisher': expected one of"):
        ClusterSettings(threshold_algo="fisher")
    with pytest.raises(ValueError, match="--pivots_per_round=0: expected at least 1"):
        dataclasses.replace(ClusterSettings(), pivots_per_round=0)


def test_too_few_rounds_of_recorded_seeds_are_an_error(event):
    track, edges, prob, position = event
    with pytest.raises(ValueError, match="1 rounds given, more are needed"):
        cluster(
            edges,
            prob,
            position,
            ClusterSettings(),
            truth_masks(track),
            priority=np.zeros((1, len(track))),
        )
