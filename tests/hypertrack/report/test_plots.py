import dataclasses
from typing import Any

import numpy as np
import pytest

from jaxphys.hypertrack.analysis import efficiency
from jaxphys.hypertrack.analysis.metrics import match
from jaxphys.hypertrack.report import plots
from jaxphys.report import figures
from tests.hypertrack.analysis.test_efficiency import make_particles


def make_table(seed=0, lost=0.2, tracks=300):
    rng = np.random.default_rng(seed)
    particles = make_particles(
        np.exp(rng.uniform(np.log(0.11), np.log(9), tracks)), rng.uniform(-3, 3, tracks)
    )
    vertex = rng.choice([0.0, 5.0, 50.0], (tracks, 1)) * [1, 0, 0]
    particles = dataclasses.replace(particles, vertex=vertex.astype(np.float32))
    track = np.repeat(np.arange(tracks), rng.integers(4, 12, tracks))
    gone = rng.random(tracks) < lost
    labels = np.where(gone[track], -1, track)
    labels[rng.random(len(labels)) < 0.05] = -1
    position = rng.normal(0, 300, (len(track), 3))
    found = match(labels, track, np.ones(len(track)), tracks)
    return efficiency.track_rows(1, found, particles, position, labels)


@pytest.fixture(scope="module")
def tables():
    return {"one": make_table(0), "other": make_table(1, lost=0.6)}


def drawn(picture) -> Any:
    assert picture.figure is not None, picture.reason
    assert figures.png(picture.figure, dpi=40).startswith(b"\x89PNG")
    return picture.figure


def points(ax):
    return [np.asarray(c.lines[0].get_ydata()) for c in ax.containers]


@pytest.mark.parametrize("variable", ["pt", "eta", "num_hits", "pileup"])
def test_efficiency_stands_above_the_fake_rate(tables, variable):
    top, bottom = drawn(plots.efficiency(tables, variable)).axes
    texts = top.get_legend_handles_labels()[1]
    assert [t.split(":")[0] for t in texts] == ["one", "other"]
    one, other = points(top)
    assert np.mean(one) > np.mean(other)
    for y in (*points(top), *points(bottom)):
        assert ((y >= 0) & (y <= 1)).all()


def test_points_are_the_binomial_profile_of_the_accepted_tracks(tables):
    top, _ = drawn(plots.efficiency({"one": tables["one"]}, "pt")).axes
    true = tables["one"].true
    central = np.abs(true["eta"]) < 2.5
    want = efficiency.binomial_profile(
        true["pt"][central], true["passed"][central], efficiency.EDGES["pt"]
    )
    np.testing.assert_allclose(points(top)[0], want.value[want.count > 0])
    share = f"one: {100 * true['passed'][central].mean():.1f} %"
    assert top.get_legend_handles_labels()[1][0].startswith(share)


def test_fakes_have_no_vertex(tables):
    assert len(drawn(plots.efficiency(tables, "vertex_radius")).axes) == 1


def test_definitions_are_in_their_order(tables):
    (ax,) = drawn(plots.definitions(tables["one"])).axes
    double, _, perfect = points(ax)
    assert (double >= perfect).all()


def test_hit_counts_and_parts_of_matches(tables):
    axes = drawn(plots.hit_counts(tables["one"])).axes
    cells = axes[0].collections[0].get_array()
    assert np.nansum(np.ma.filled(cells, np.nan)) == tables["one"].true["passed"].sum()


def test_costs_show_the_power_of_growth():
    hits = [1000, 4000, 2000]
    seconds = {"graph": [1e-6 * n for n in hits], "net": [1e-9 * n**2 for n in hits]}
    peaks = [n * 2**20 for n in hits]
    left, right = drawn(plots.stage_costs(hits, seconds, peaks)).axes
    texts = left.get_legend_handles_labels()[1]
    assert texts == ["graph: slope 1.0", "net: slope 2.0"]
    np.testing.assert_allclose(
        right.lines[0].get_ydata(), np.array([1000, 2000, 4000]) / 1024
    )  # fmt: skip


def test_nothing_to_draw_is_a_sentence():
    none = make_table(tracks=3)
    none = efficiency.TrackTable(
        {name: column[:0] for name, column in none.true.items()},
        {name: column[:0] for name, column in none.reco.items()},
    )
    for picture in (
        plots.efficiency({"none": none}, "pt"),
        plots.definitions(none),
        plots.hit_counts(none),
        plots.stage_costs([], {}, []),
    ):
        assert picture.figure is None
        assert picture.reason.endswith(".")
