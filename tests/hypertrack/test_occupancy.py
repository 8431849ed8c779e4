"""Figures of events: counts by loops, errors that cover, and comparisons."""

import dataclasses
import math

import numpy as np
import pytest

from tests.hypertrack.event_sets import random_event
from tests.hypertrack.occupancy import (
    Figure,
    compare,
    figures_of_event,
    summarise,
    track_length_histogram,
)


def test_figures_are_counts_and_ratios():
    event = random_event(0, num_tracks=60)
    own, found = event.particles, figures_of_event(event)
    assert found["hits per event"] == (event.num_hits, 1)
    assert found["noise fraction"] == (9, event.num_hits)
    assert found["particles per event"] == (60, 1)
    long = [p for p in range(60) if own.num_hits[p] >= 4]
    assert found["particles with >= 4 hits"] == (len(long), 1)
    hard = [p for p in long if own.pt[p] > 0.9 and abs(own.eta[p]) < 2.5]
    assert found["of these pT > 0.9 GeV, |eta| < 2.5"] == (len(hard), 1)
    assert 0 < len(hard) < len(long)
    total = event.num_hits - 9
    assert found["hits per particle"] == (total, 60)
    inside = sum(
        event.label[i] >= 0 and event.volume_id[i] == 8 and event.layer_id[i] == 4
        for i in range(event.num_hits)
    )
    assert found["hits in volume 8, layer 4"] == (inside, total)
    layers = [v for k, v in found.items() if k.startswith("hits in volume 13, layer")]
    assert sum(v[0] for v in layers) == found["hits in volume 13"][0]
    rows = (event.label >= 0) & (event.volume_id == 8) & (event.layer_id == 4)
    radius = np.hypot(*event.position[rows, :2].T)
    top, bottom = found["mean r of volume 8, layer 4"]
    assert top / bottom == pytest.approx(radius.mean(), rel=1e-5)


def test_every_layer_of_the_detector_is_counted_once():
    found = figures_of_event(random_event(0))
    assert sum("hits in volume" in k and "layer" in k for k in found) == 48


def test_error_is_that_of_repeated_sets():
    """The spread of the means of many sets is what the error says."""
    sets = [
        summarise(
            random_event(100 * s + i, num_tracks=5 + (7 * i + s) % 20)
            for i in range(12)
        )
        for s in range(40)
    ]
    for name in ("hits per particle", "tracks of > 8 hits"):
        values = np.array([found[name].value for found in sets])
        errors = np.array([found[name].error for found in sets])
        assert 0.75 < values.std() / errors.mean() < 1.35


def test_figure_is_the_ratio_of_the_sums():
    events = [random_event(i, num_tracks=3 + 5 * i) for i in range(4)]
    found = summarise(events)["hits per particle"]
    hits = sum(int((event.label >= 0).sum()) for event in events)
    assert found.value == pytest.approx(hits / sum(e.num_tracks for e in events))
    assert found.error > 0
    assert summarise(events[:1])["hits per particle"].error == 0
    with pytest.raises(ValueError, match="expected events to summarise, got none"):
        summarise([])


def test_comparison_shows_what_differs():
    events = [random_event(i, num_tracks=40) for i in range(8)]
    same = compare(summarise(events), summarise(events))
    assert {row["pull"] for row in same} == {0}
    noisy = [
        dataclasses.replace(e, label=np.where(e.label == 0, -1, e.label))
        for e in events
    ]
    rows = {r["figure"]: r for r in compare(summarise(noisy), summarise(events))}
    assert rows["noise fraction"]["pull"] > 1
    assert rows["noise fraction"]["ratio"] > 1
    assert rows["hits per event"]["ratio"] == 1
    assert math.isnan(rows["hits in volume 18"]["ratio"])


def test_pull_without_errors_is_zero_or_infinite():
    assert Figure(1, 0).pull(Figure(1, 0)) == 0
    assert Figure(1, 0).pull(Figure(2, 0)) == -math.inf
    assert Figure(4, 0.3).pull(Figure(2, 0.4)) == pytest.approx(4)


def test_lengths_of_tracks_are_counted():
    events = [random_event(0), random_event(1)]
    events[0].particles.num_hits[0] = 33
    found = track_length_histogram(events)
    lengths = np.concatenate([e.particles.num_hits for e in events])
    for n in range(20):
        assert found[n] == np.count_nonzero(lengths == n)
    assert found[20] == 1
