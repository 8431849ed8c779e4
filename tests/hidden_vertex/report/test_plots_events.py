import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle

from jaxphys.hidden_vertex.report.plots import BACKGROUND, SIGNAL, UNKNOWN
from jaxphys.hidden_vertex.report.plots_events import (
    Display,
    displays_of,
    event_displays,
)
from jaxphys.report import figures
from tests.hidden_vertex.scored_events import make_scored, particles_of


@pytest.fixture(scope="module")
def scored():
    return make_scored()


def _drawn(picture) -> Any:
    return picture.figure


def _panels(picture):
    return [ax for ax in _drawn(picture).axes if ax.axison]


def _lines(ax):
    found = [c for c in ax.collections if isinstance(c, LineCollection)]
    return np.asarray(found[0].get_segments())


def test_titles_name_rank_row_label_score_and_mass(scored):
    positions = np.array([7, 3])
    shown = displays_of(scored, positions, particles_of, ranks=[1, 2])
    assert len(shown) == 2
    for rank, (at, display) in enumerate(zip(positions, shown, strict=True), 1):
        kind = ("background", "signal")[scored.label[at]]
        assert display.title.startswith(f"#{rank}  event {10_000 + 3 * at}")
        assert kind in display.title
        assert f"{scored.observables['mjj'][at] / 1000:.2f} TeV" in display.title
        assert display.color == (BACKGROUND, SIGNAL)[scored.label[at]]
        np.testing.assert_array_equal(display.particles, particles_of(at))


def test_a_jet_without_momentum_is_not_circled(scored):
    known = {**scored.observables, "pt2": np.zeros(400)}
    alone = dataclasses.replace(scored, observables=known, label=None)
    (shown,) = displays_of(alone, np.array([0]), particles_of)
    assert shown.jets == [(known["eta1"][0], known["phi1"][0])]
    assert shown.color == UNKNOWN
    (shown,) = displays_of(
        dataclasses.replace(scored, observables={}), np.array([0]), particles_of
    )
    assert shown.jets == []
    assert "TeV" not in shown.title


def test_a_score_of_any_size_has_a_title_that_the_font_can_write(scored):
    score = scored.score.copy()
    score[:2] = -1.5e-7, 2e9
    other = dataclasses.replace(scored, scores={"combined": score})
    shown = displays_of(other, np.arange(2), particles_of)
    assert "−1.5e−07" in shown[0].title
    picture = event_displays(shown, "events", "Two.")
    assert figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def test_area_of_a_disc_is_proportional_to_pt():
    particles = particles_of(3)
    picture = event_displays([Display(particles, "one")], "events", "One.", k=0)
    (ax,) = _panels(picture)
    dots, discs = ax.collections
    assert set(dots.get_sizes()) == {2.0}
    ratio = discs.get_sizes() / np.sort(particles[:, 0])[::-1]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
    assert ax.get_ylim() == (-np.pi, np.pi)
    assert figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def test_jets_are_circles_that_come_back_on_the_other_side_of_phi():
    display = Display(particles_of(0), "one", jets=[(0.5, 3.0), (-1.0, 0.0)])
    (ax,) = _panels(event_displays([display], "events", "One."))
    circles = [p for p in ax.patches if isinstance(p, Circle)]
    centres = sorted(c.get_center() for c in circles)
    turn = 2 * np.pi
    expected = [(-1, -turn), (-1, 0), (-1, turn)]
    expected += [(0.5, 3 - turn), (0.5, 3), (0.5, 3 + turn)]
    np.testing.assert_allclose(centres, sorted(expected))
    assert {c.get_radius() for c in circles} == {1.0}
    assert ax.get_aspect() == 1


def test_edges_are_those_of_the_graph():
    particles = np.array([[1, 0, 3.0], [1, 0, -3.0], [1, 0, 2.0]], np.float32)
    (ax,) = _panels(event_displays([Display(particles, "")], "e", "E.", k=1))
    lines = _lines(ax)
    # without a period the nearest of phi = -3 is 2, all the way across
    np.testing.assert_allclose(lines[:, :, 1], [[3, 2], [-3, 2], [2, 3]], rtol=1e-6)


def test_an_edge_over_the_border_is_drawn_as_its_two_halves():
    particles = np.array([[1, 0, 3.0], [1, 0, -3.0], [1, 0, 2.0]], np.float32)
    picture = event_displays([Display(particles, "")], "e", "E.", 1, periodic_phi=True)
    (ax,) = _panels(picture)
    found = sorted(_lines(ax)[:, :, 1].tolist())
    far = 2 * np.pi - 3
    expected = [[3, far], [-far, -3], [-3, -far], [far, 3], [2, 3]]
    np.testing.assert_allclose(found, sorted(expected), rtol=1e-6)


def test_nine_events_fill_three_rows_and_five_leave_no_mute_axis(scored):
    for count, panels in ((9, 9), (5, 5), (1, 1)):
        shown = displays_of(scored, np.arange(count), particles_of)
        picture = event_displays(shown, "events", "Some.")
        assert len(_panels(picture)) == panels
        limits = {ax.get_xlim() for ax in _panels(picture)}
        assert len(limits) == 1  # one scale for all


def test_events_of_one_particle_or_none_still_render():
    events = [
        Display(np.zeros((0, 3), np.float32), "none"),
        Display(np.array([[5.0, 0.1, 0.2]], np.float32), "one"),
    ]
    picture = event_displays(events, "events", "Some.")
    assert figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def test_no_event_is_a_sentence():
    assert event_displays([], "events", "None.").reason.endswith(".")
