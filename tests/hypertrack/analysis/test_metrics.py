import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.hypertrack.analysis.metrics import match, score


def sets_of(labels):
    return {k: set(np.flatnonzero(labels == k)) for k in sorted(set(labels) - {-1})}


def slow_scores(labels, track, weight, num_tracks, hits_min):
    """The definitions, one pair of sets after the other."""
    reco = sets_of(labels)
    true = {t: set(np.flatnonzero(track == t)) for t in range(num_tracks)}
    wanted = {t for t in true if len(true[t]) >= hits_min}
    shown = {k for k in reco if len(reco[k]) >= hits_min}
    pairs = {
        k: t
        for k in reco
        for t in true
        if 2 * len(reco[k] & true[t]) > max(len(reco[k]), len(true[t]))
    }
    large = {k: t for k, t in pairs.items() if k in shown and t in wanted}
    total = sum(weight[h] for t in wanted for h in true[t])
    shared = sum(weight[h] for k, t in large.items() for h in reco[k] & true[t])
    trackml = sum(weight[h] for k, t in pairs.items() for h in reco[k] & true[t])
    again = {
        k
        for k in shown - set(large)
        for t in large.values()
        if 2 * len(reco[k] & true[t]) > len(reco[k])
    }
    lhc = {
        t
        for t in wanted
        for k in shown
        if 4 * len(reco[k] & true[t]) > 3 * len(reco[k])
    }
    perfect = {t for k, t in large.items() if reco[k] == true[t]}

    def ratio(a, b):
        return a / b if b else 0.0

    return {
        "dms": ratio(shared, total),
        "efficiency": ratio(len(large), len(wanted)),
        "purity": ratio(len(large), len(reco)),
        "perfect_efficiency": ratio(len(perfect), len(wanted)),
        "lhc_efficiency": ratio(len(lhc), len(wanted)),
        "fake_rate": ratio(len(shown) - len(large), len(shown)),
        "duplicate_rate": ratio(len(again), len(shown)),
        "trackml_score": ratio(trackml, weight.sum()),
    }


@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 6), st.integers(1, 4))
def test_scores_are_those_of_sets_compared_one_by_one(seed, tracks, recos, hits_min):
    rng = np.random.default_rng(seed)
    hits = int(rng.integers(0, 40))
    track = rng.integers(-1, tracks, hits) if tracks else np.full(hits, -1)
    labels = np.where(rng.random(hits) < 0.7, track, rng.integers(-1, recos + 1, hits))
    weight = rng.random(hits)
    found = match(labels, track, weight, tracks, hits_min)
    scores = score(found)
    expected = slow_scores(labels, track, weight, tracks, hits_min)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name


def test_a_majority_is_more_than_half_of_both():
    track = np.repeat([0, 1], [8, 8])
    half = np.where(np.arange(16) < 4, 0, -1)  # 4 of 8 hits
    more = np.where(np.arange(16) < 5, 0, -1)
    assert match(half, track, np.ones(16), 2).passed.tolist() == [False, False]
    found = match(more, track, np.ones(16), 2)
    assert found.passed.tolist() == [True, False]
    assert found.hit_efficiency.tolist() == [5 / 8, -1]
    assert found.hit_purity.tolist() == [1, -1]
    assert found.lhc[0]
    assert not found.perfect[0]


def test_a_second_track_from_a_matched_particle_is_a_duplicate_and_not_a_fake():
    track = np.zeros(14, int)
    labels = np.repeat([5, 9], [9, 5])  # numbers need not be consecutive
    found = match(labels, track, np.ones(14), 1)
    assert found.match_index.tolist() == [0, -1]
    assert found.duplicate.tolist() == [False, True]
    assert not found.fake.any()
    # without its match the same cluster is a fake
    alone = match(np.where(labels == 9, 9, -1), track, np.ones(14), 1)
    assert alone.fake.tolist() == [True]
    assert score(found)["duplicate_rate"] == 0.5
    assert score(found)["fake_rate"] == 0.5


def test_scores_do_not_depend_on_numbers_of_clusters_or_order_of_hits():
    rng = np.random.default_rng(0)
    track = np.repeat(np.arange(12), rng.integers(1, 12, 12))
    labels = np.where(rng.random(len(track)) < 0.8, track, rng.integers(-1, 12))
    weight = rng.random(len(track))
    before = score(match(labels, track, weight, 12))
    order = rng.permutation(len(track))
    other = np.append(rng.permutation(12) + 100, -1)[labels]
    after = score(match(other[order], track[order], weight[order], 12))
    assert before == pytest.approx(after)


def test_several_events_are_ratios_of_sums():
    track = np.repeat([0, 1, 2], [6, 6, 6])
    good = match(track, track, np.ones(18), 3)
    none = match(np.full(18, -1), track, np.ones(18), 3)
    both = score([good, none], [np.array([True, True, False])] * 2)
    assert both["efficiency"] == 0.5
    assert both["purity"] == 1
    assert both["efficiency_accepted"] == 0.5
    assert both["num_accepted"] == 4
    assert score(none)["purity"] == 0


def test_the_count_of_clusters_of_the_purity_has_no_least_size():
    track = np.repeat([0, 1], [6, 6])
    labels = np.r_[np.zeros(6), np.full(5, -1), 3].astype(int)
    scores = score(match(labels, track, np.ones(12), 2))
    assert (scores["purity"], scores["fake_rate"]) == (0.5, 0)


def test_hit_counts_beyond_the_table_are_left_out():
    track = np.repeat([0, 1], [8, 40])
    found = match(track, track, np.ones(48), 2)
    table = found.hit_mixing(30)
    assert table.sum() == 1
    assert table[8, 8] == 1


def test_arrays_of_other_hits_are_refused():
    with pytest.raises(ValueError, match="one each per hit, got 3, 2, 3"):
        match(np.zeros(3), np.zeros(2), np.zeros(3), 1)
    with pytest.raises(ValueError, match="expected below 1, got 4"):
        match(np.zeros(3, int), np.array([0, 4, 0]), np.zeros(3), 1)
    one = match(np.zeros(3, int), np.zeros(3, int), np.zeros(3), 1)
    with pytest.raises(ValueError, match="each of 1 events, got 2"):
        score(one, [np.ones(1, bool)] * 2)


def test_an_event_without_anything_scores_nothing():
    none = np.zeros(0, int)
    found = match(none, none, none, 0)
    assert set(score(found).values()) == {0.0}
    assert dataclasses.asdict(found)["matched_weight"] == 0
