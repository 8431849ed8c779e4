import dataclasses

import numpy as np
import pytest

from jaxphys.hypertrack.analysis.metrics import match
from jaxphys.hypertrack.report import plots_events
from tests.hypertrack.event_sets import random_event
from tests.hypertrack.report.test_plots import drawn


@pytest.fixture(scope="module")
def event():
    return random_event(num_tracks=30)


def display(event, labels, **options):
    found = match(labels, event.label, event.weight, event.num_tracks)
    return found, plots_events.event_display(event, labels, found, **options)


def lines_of(ax):
    return sum(len(c.get_paths()) for c in ax.collections if hasattr(c, "get_segments"))


def test_truth_found_and_missed_tracks_have_their_panels(event):
    labels = event.label.copy()
    size = np.bincount(event.label[event.label >= 0], minlength=event.num_tracks)
    lost = int(np.argmax(size))
    labels[labels == lost] = -1
    found, picture = display(event, labels, min_pt=0.0)
    axes = drawn(picture).axes
    assert [lines_of(ax) for ax in axes[:3]] == [
        found.wanted.sum(), found.passed.sum(), 1,
    ]  # fmt: skip
    assert axes[0].get_title() == f"truth: {found.wanted.sum()} tracks"
    assert axes[2].get_title() == "missed: 1"
    for ax in axes:
        assert len(ax.lines[0].get_xdata()) == event.num_hits


def test_fakes_and_wrong_edges_are_red(event):
    labels = np.arange(event.num_hits) % 9  # nothing right
    hits = np.array([[0, 1, 2, 3], [1, 0, 3, 2]])
    same = event.label[hits[0]] == event.label[hits[1]]
    wrong = np.unique(np.sort(hits[:, ~same], axis=0), axis=1).shape[1]
    prob = np.full(4, 0.9, np.float32)
    _, picture = display(event, labels, edge_index=hits, prob=prob)
    axes = drawn(picture).axes
    assert f"{wrong} wrong edges" in axes[2].get_title()
    assert "found: 0" in axes[1].get_title()
    assert lines_of(axes[1]) == 9


def test_of_many_tracks_those_of_largest_momentum_are_drawn(event):
    found, picture = display(event, event.label, min_pt=0.0, most=5)
    pt = np.sort(event.particles.pt[found.wanted])
    assert lines_of(drawn(picture).axes[0]) == 5
    assert f"above {pt[-6]:.2g} GeV" in picture.caption


def test_an_event_without_hits_is_a_sentence(event):
    none = event.take(np.zeros(0, int))
    none = dataclasses.replace(none, particles=event.particles.take(np.zeros(0, int)))
    assert display(none, none.label)[1].reason == "This event has no hits."
