import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm

from jaxphys.report import figures
from jaxphys.report.binning import bin_profile


@pytest.fixture
def ax():
    with figures.style():
        figure, axes = figures.canvas()
        yield axes[0, 0]
        figures.png(figure, dpi=30)  # everything drawn must also render


def _drawn(picture) -> Any:
    return picture.figure


def _legend(ax):
    return ax.get_legend_handles_labels()[1]


def test_importing_the_room_does_not_import_matplotlib():
    import subprocess

    code = "import sys, jaxphys.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_style_leaves_the_users_settings_as_they_were():
    before = dict(matplotlib.rcParams)
    with figures.style():
        assert matplotlib.rcParams["font.size"] == 11
    assert dict(matplotlib.rcParams) == before


def test_histogram_notes_what_lies_outside_of_the_axis(ax):
    values = [-1.0, 0.5, 0.6, 1.5, 2.0, 7.0, 8.0, np.nan]
    assert figures.histogram(ax, values, [0, 1, 2], label="net")
    assert _legend(ax) == ["net (1 below, 2 above, 1 not finite)"]
    np.testing.assert_array_equal(ax.patches[0].get_data().values, [2, 2])


def test_histogram_inside_of_the_axis_has_no_note(ax):
    assert figures.histogram(ax, [0.5], [0, 1], label="net")
    assert _legend(ax) == ["net"]


@pytest.mark.parametrize("values", [[], [np.nan], [5.0]])
def test_histogram_without_visible_entries_draws_nothing_and_says_so(ax, values):
    assert not figures.histogram(ax, values, [0, 1])
    assert not ax.patches


def test_band_lies_between_low_and_high(ax):
    x = np.arange(3.0)
    assert figures.curve_with_band(ax, x, x, x - 1, x + 2, label="m")
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == -1
    assert corners[:, 1].max() == 4
    assert not figures.curve_with_band(ax, x, x * np.nan, x, x)


def test_profile_points_sit_in_the_middle_of_the_bin_as_seen(ax):
    profile = bin_profile([2.0, 3.0], [1.0, 2.0], [1, 4])
    ax.set_xscale("log")
    assert figures.draw_profile(ax, profile)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [2.0])


def test_profile_on_a_log_axis_leaves_out_what_has_no_logarithm(ax):
    profile = bin_profile([0.5, 0.5, 1.5, 1.5], [0, 0, 1, 2], [0, 1, 2])
    ax.set_yscale("log")
    assert figures.draw_profile(ax, profile)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.5])


def test_map_shows_the_statistic_of_each_cell_and_leaves_empty_cells_blank(ax):
    x, y = [0.5, 0.5, 0.5, 1.5], [0.5, 0.5, 0.5, 1.5]
    values = [1.0, 2.0, 6.0, np.nan]
    edges = [0, 1, 2]
    kwargs: Any = {"label": "e [mm]", "statistic": "median"}
    assert figures.map2d(ax, x, y, values, edges, edges, **kwargs)
    shown = np.ma.filled(ax.collections[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[2.0, np.nan], [np.nan, np.nan]])


def test_log_map_over_less_than_two_decades_has_numbers_on_its_bar(ax):
    x = np.linspace(0, 1, 50)
    edges = np.linspace(0, 1, 6)
    values = 0.03 + 0.05 * x
    assert figures.map2d(ax, x, x, values, edges, edges, label="e", log=True)
    assert isinstance(ax.collections[0].norm, LogNorm)
    bar = ax.figure.axes[-1]
    low, high = ax.collections[0].get_clim()
    ticks = [t for t in bar.yaxis.get_majorticklocs() if low <= t <= high]
    assert ticks
    assert all(text.get_text() for text in bar.yaxis.get_majorticklabels())


def test_map_without_entries_draws_nothing(ax):
    assert not figures.map2d(ax, [], [], [], [0, 1], [0, 1], label="e")
    assert not ax.collections


def test_a_sentence_replaces_an_empty_axis(ax):
    figures.say(ax, "No tracks.")
    assert not ax.axison
    assert ax.texts[0].get_text() == "No tracks."


def test_history_as_rows_and_as_columns_is_the_same():
    rows = [{"loss": 2.0}, {"loss": 1.0, "val": 3.0}]
    columns = figures.history_columns(rows)
    np.testing.assert_array_equal(columns["val"], [np.nan, 3.0])
    again = figures.history_columns({"loss": [2, 1], "val": [np.nan, 3]})
    for name in columns:
        np.testing.assert_array_equal(columns[name], again[name])


def test_training_curves_mark_the_best_epoch_and_show_the_rate():
    history = {"train": [3.0, 2.0, 1.0], "val": [4.0, 1.5, 2.0], "lr": [0.1, 0.1, 0.0]}
    losses = {"train": "training", "val": "validation"}
    picture = figures.training_curves(history, losses, rate="lr", best="val")
    top, bottom = _drawn(picture).axes
    assert _legend(top) == ["training", "validation", "best: epoch 2"]
    assert top.get_yscale() == "log"
    assert bottom.get_ylabel() == "learning rate"


def test_training_curves_of_negative_scores_are_linear():
    picture = figures.training_curves({"vamp": [-1.0, -2.0]}, {"vamp": "score"})
    (top,) = _drawn(picture).axes
    assert top.get_yscale() == "linear"


def test_rounds_without_evaluation_leave_no_hole_and_one_round_is_a_point():
    history = {"val": [2.0, np.nan, 1.0], "train": [1.0, np.nan, np.nan]}
    picture = figures.training_curves(history, {"val": "v", "train": "t"})
    val, train = _drawn(picture).axes[0].lines
    np.testing.assert_array_equal(val.get_xdata(), [1, 3])
    assert train.get_marker() == "o"


@pytest.mark.parametrize("history", [{}, [], {"val": [np.nan]}])
def test_an_empty_history_is_a_sentence(history):
    picture = figures.training_curves(history, {"val": "v"})
    assert picture.figure is None
    assert "no loss" in picture.reason


def test_a_picture_needs_a_figure_or_a_reason():
    with pytest.raises(ValueError, match="a figure or a reason"):
        figures.Picture("a", "b")
