"""Figures of structure show each state where it lies, and say what is missing."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from jaxphys.gdynet.analysis.environment import Environment
from jaxphys.gdynet.analysis.structure import Radial
from jaxphys.gdynet.report import plots_structure
from jaxphys.report import figures

NAMES = ("A", "B")


@pytest.fixture
def found():
    edges = np.linspace(1, 5, 41)
    r = (edges[1:] + edges[:-1]) / 2
    shells = np.exp(-((r[None] - np.array([[2.0], [4.0]])) ** 2))
    shells = np.stack([shells, 2 * shells, 0 * shells], axis=1)  # three species
    radial = Radial(r, np.full((2, 3, 40), np.nan), shells, shells.sum(axis=2), 4.5)
    bins = np.linspace(-1, 1, 21)
    parts = np.zeros((2, 3, 20))
    parts[:, :2, 10] = 1
    parts[0, 2, :10], parts[1, 2, 10:] = 0.1, 0.1
    return Environment(
        100, np.array([3, 8, 16]), radial, 3.0, np.array([[2.0, 2.5], [3.0, 3.5]]),
        bins, parts, np.zeros((2, 3)),
    )  # fmt: skip


def _drawn(plot) -> Any:
    assert plot.picture.figure is not None
    assert len({len(column) for column in plot.columns.values()}) == 1
    return plot.picture.figure


def _renders(plot):
    return figures.png(_drawn(plot), dpi=40).startswith(b"\x89PNG")


def test_each_species_that_occurs_has_a_panel(found):
    plot = plots_structure.radial(found, NAMES, (0, 1))
    axes = _drawn(plot).axes
    assert [ax.get_title() for ax in axes] == ["Li neighbours", "O neighbours"]
    width = found.radial.r[1] - found.radial.r[0]
    line = axes[1].get_lines()[1]
    np.testing.assert_allclose(line.get_ydata(), found.radial.shells[1, 1] / width)
    assert "would need the volume" in plot.picture.caption
    assert "beyond the dotted line at 4.5 Å" in plot.picture.caption
    some = (plot.columns["state"] == "B") & (plot.columns["species"] == 8)
    np.testing.assert_allclose(plot.columns["r"][some], found.radial.r)
    assert _renders(plot)


def test_known_volume_gives_the_radial_distribution_function(found):
    g = found.radial._replace(g=found.radial.shells, complete_to=0.5)
    plot = plots_structure.radial(dataclasses.replace(found, radial=g), NAMES, (1,))
    ax = _drawn(plot).axes[0]
    assert ax.get_ylabel() == "g(r)"
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), g.shells[1, 0])
    assert "dotted" not in plot.picture.caption  # no line below the axis
    assert len(ax.get_lines()) == 1


def test_distances_by_rank_are_drawn_or_told(found):
    plot = plots_structure.distances(found, NAMES, (0, 1))
    lines = _drawn(plot).axes[0].get_lines()
    np.testing.assert_array_equal(lines[1].get_ydata(), [3.0, 3.5])
    assert plot.columns["rank"].tolist() == [1, 2, 1, 2]
    assert _renders(plot)
    one = dataclasses.replace(found, distances=found.distances[:, :1])
    reason = plots_structure.distances(one, NAMES, (0, 1)).picture.reason
    assert "A: 2 Å, B: 3 Å" in reason


def test_static_distances_and_missing_directions_are_sentences(found):
    still = dataclasses.replace(
        found, radial=None, directions=np.zeros((0, 3, 0)), direction_edges=np.zeros(0)
    )
    for draw in (
        plots_structure.radial, plots_structure.distances, plots_structure.directions
    ):  # fmt: skip
        plot = draw(still, NAMES, (0, 1))
        assert plot.picture.figure is None
        assert not plot.columns


def test_components_that_never_change_are_left_out(found):
    plot = plots_structure.directions(found, NAMES, (0, 1))
    (ax,) = _drawn(plot).axes
    assert ax.get_xlabel() == "z component"
    assert "Constant, not drawn: x, y." in plot.picture.caption
    some = (plot.columns["state"] == "A") & (plot.columns["component"] == "z")
    np.testing.assert_array_equal(plot.columns["part"][some], found.directions[0, 2])
    assert _renders(plot)
    nowhere = found.directions.copy()
    nowhere[:, 2] = nowhere[:, 1]
    flat = dataclasses.replace(found, directions=nowhere)
    assert "same direction" in (
        plots_structure.directions(flat, NAMES, (0,)).picture.reason
    )


def test_state_that_never_occurs_does_not_break_the_figures(found):
    shells = found.radial.shells.copy()
    parts, far = found.directions.copy(), found.distances.copy()
    for array in (shells, parts, far):
        array[1] = np.nan
    lost = dataclasses.replace(
        found,
        radial=found.radial._replace(shells=shells),
        directions=parts,
        distances=far,
    )
    for draw in (
        plots_structure.radial, plots_structure.distances, plots_structure.directions
    ):  # fmt: skip
        assert _renders(draw(lost, NAMES, (0, 1)))
