"""Sub-events: which tracks stay, how much noise, and whose hits they are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.hypertrack.data.reduction import reduce
from tests.hypertrack.event_sets import random_event, require_same
from tests.hypertrack.plain_events import event_from_arrays


@given(
    st.integers(0, 50),
    st.floats(0.01, 1),
    st.floats(-1, 0.9),
    st.sampled_from(["track", "vertex", "sector"]),
)
def test_a_sub_event_holds_whole_tracks_and_noise_of_the_event(seed, rfactor, nu, mode):
    event = random_event(seed % 5)
    part = reduce(event, rfactor, nu, np.random.default_rng(seed), mode)
    source = {int(h): i for i, h in enumerate(event.hit_id)}
    rows = np.array([source[int(h)] for h in part.hit_id])
    assert len(set(rows.tolist())) == part.num_hits
    np.testing.assert_array_equal(part.position, event.position[rows])
    np.testing.assert_array_equal(part.module_id, event.module_id[rows])
    identity, before = part.particles.particle_id, event.particles.particle_id
    signal = part.label >= 0
    np.testing.assert_array_equal(
        identity[part.label[signal]], before[event.label[rows[signal]]]
    )
    assert np.all(event.label[rows[~signal]] == -1)
    count = np.bincount(part.label[signal], minlength=part.num_tracks)
    np.testing.assert_array_equal(count, part.particles.num_hits)
    # sorted by track, noise last, and the order of the truth file within a track
    assert np.all(np.diff(part.label[signal]) >= 0)
    assert np.all(signal[: signal.sum()])
    order = event.truth_order[rows[signal]]
    assert np.all((np.diff(order) > 0) | (np.diff(part.label[signal]) > 0))
    kept = event.weight[rows].astype(np.float64)
    np.testing.assert_allclose(part.weight, kept / kept.sum(), rtol=1e-5)


def test_draws_are_those_of_the_rule():
    """Reference: the steps in words, from a generator of the same state."""
    event = random_event(0, num_tracks=40, num_noise=60)
    part = reduce(event, 0.3, 0.2, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    number = int(np.clip(rng.poisson(int(0.3 * 40)), 1, 40))
    chosen = rng.permutation(40)[:number]
    np.testing.assert_array_equal(
        part.particles.particle_id, event.particles.particle_id[chosen]
    )
    signal = event.particles.num_hits[chosen].sum()
    wanted = rng.poisson(signal * 0.2 / 0.8)
    noise = rng.choice(np.flatnonzero(event.label < 0), wanted, replace=False)
    np.testing.assert_array_equal(part.hit_id[signal:], event.hit_id[noise])


def test_numbers_of_tracks_and_of_noise_have_their_means():
    event = random_event(0, num_tracks=200, num_noise=3000)
    parts = [
        reduce(event, 0.1, 0.25, np.random.default_rng([1, i])) for i in range(400)
    ]
    tracks = np.array([p.num_tracks for p in parts])
    assert abs(tracks.mean() - 20) < 4 * np.sqrt(20 / 400)
    assert 0.75 < tracks.var() / 20 < 1.3
    signal = np.array([(p.label >= 0).sum() for p in parts])
    noise = np.array([(p.label < 0).sum() for p in parts])
    error = np.sqrt(noise.sum()) / signal.sum()
    assert abs(noise.sum() / signal.sum() - 1 / 3) < 4 * error


def test_all_tracks_stay_at_factor_one_in_random_order():
    event = random_event(4)
    part = reduce(event, 1.0, 0.0, np.random.default_rng(0))
    assert part.num_tracks == event.num_tracks
    assert part.num_hits == (event.label >= 0).sum()
    assert sorted(part.particles.particle_id) == sorted(event.particles.particle_id)
    first, other = (
        reduce(event, 1.0, 0.0, np.random.default_rng(i)).particles.particle_id
        for i in (0, 1)
    )
    assert first.tolist() != other.tolist()


def test_negative_noise_ratio_is_that_of_the_event():
    event = random_event(0, num_tracks=300, num_noise=900)
    parts = [reduce(event, 0.5, -1, np.random.default_rng([2, i])) for i in range(60)]
    noise = sum((p.label < 0).sum() for p in parts)
    total = sum(p.num_hits for p in parts)
    assert noise / total == pytest.approx(event.noise_fraction, abs=0.01)


def test_vertices_stay_whole():
    event = random_event(0, num_tracks=60)
    vertex = event.particles.particle_id >> 52
    part = reduce(event, 0.5, 0.1, np.random.default_rng(3), "vertex")
    kept = part.particles.particle_id >> 52
    assert 0 < len(np.unique(kept)) < 4
    assert len(kept) == np.isin(vertex, kept).sum()
    assert reduce(event, 1, 0, np.random.default_rng(3), "vertex").num_tracks == 60


def test_equal_generators_draw_equal_events():
    event = random_event(0)
    first, again = (
        reduce(event, 0.4, 0.3, np.random.default_rng([1, 2, 3])) for _ in range(2)
    )
    require_same(first, again)


def test_event_without_tracks_or_without_weights_is_no_fault():
    noise = event_from_arrays(1, np.ones((6, 3)), np.full(6, -1))
    assert reduce(noise, 0.5, -1, np.random.default_rng(0)).num_hits == 6
    assert reduce(noise, 0.5, 0.1, np.random.default_rng(0)).num_hits == 0
    event = random_event(0)
    event = dataclasses.replace(event, weight=np.zeros_like(event.weight))
    assert not reduce(event, 0.5, 0.1, np.random.default_rng(0)).weight.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.1), r"rfactor: expected a number in \(0, 1\], got 0.0"),
        ((1.5, 0.1), "rfactor: expected"),
        ((0.5, 1.0), "noise_ratio: expected a number below 1, got 1.0"),
        ((0.5, 0.1, None, "hits"), "reduce: expected one of .* got 'hits'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    rfactor, ratio, *rest = arguments
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        reduce(random_event(0), rfactor, ratio, rng, *rest[1:])


def test_a_sector_has_the_density_of_the_event():
    event = random_event(0, num_tracks=400, num_noise=4000)
    share, spans, noise = [], [], []
    for seed in range(40):
        part = reduce(event, 0.25, -1, np.random.default_rng(seed), "sector")
        mean = np.zeros((part.num_tracks, 2))
        xy = part.position[:, :2] / np.hypot(*part.position[:, :2].T)[:, None]
        signal = part.label >= 0
        np.add.at(mean, part.label[signal], xy[signal])
        azimuth = np.sort(np.arctan2(mean[:, 1], mean[:, 0]))
        gaps = np.diff(azimuth, append=azimuth[0] + 2 * np.pi)
        spans.append(1 - gaps.max() / (2 * np.pi))
        share.append(part.num_tracks / event.num_tracks)
        noise.append((~signal).sum() / (event.label < 0).sum())
    # as much of the circle, and of its noise, as of the tracks
    assert np.mean(share) == pytest.approx(0.25, abs=0.02)
    assert np.mean(spans) == pytest.approx(0.25, abs=0.03)
    assert np.mean(noise) == pytest.approx(0.25, abs=0.05)
