"""Figures show the numbers of the analysis, and say so where there are none."""

from typing import Any

import numpy as np
import pytest

from jaxphys.gdynet.analysis.analysis import AnalysisSettings, analyse
from jaxphys.gdynet.report import plots
from jaxphys.report import figures
from tests.gdynet.chains import TRANSITION, sample, soft

FAST = AnalysisSettings(n_bootstrap=10, ck_steps=4)
EXACT = (7.5, 1.37)
NAMES = ("0", "1", "2")


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    p = [soft(sample(rng, TRANSITION, 2000, 4)) for _ in range(3)]
    return analyse(p, tau=1, time_unit=0.5, settings=FAST)


def _drawn(plot) -> Any:
    assert plot.picture.figure is not None
    sizes = {len(column) for column in plot.columns.values()}
    assert len(sizes) == 1
    return plot.picture.figure


def _renders(plot):
    return figures.png(_drawn(plot), dpi=40).startswith(b"\x89PNG")


def test_timescales_are_drawn_strong_where_they_are_resolved(found):
    plot = plots.timescales(found, "ps", EXACT)
    (ax,) = _drawn(plot).axes
    strong = [line for line in ax.get_lines() if line.get_label() == "process 2"]
    values = np.asarray(strong[0].get_ydata())
    time = np.asarray(strong[0].get_xdata())
    drawn = np.isfinite(values)
    assert np.all(values[drawn] > time[drawn])
    np.testing.assert_array_equal(drawn, found.resolved[1])
    exact = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in exact] == list(EXACT)
    rows = plot.columns["process"] == 1
    np.testing.assert_array_equal(plot.columns["timescale"][rows], found.timescales[0])
    np.testing.assert_array_equal(plot.columns["lag_time"][rows], 0.5 * found.lags)
    assert _renders(plot)


def test_timescales_of_equal_outputs_are_called_unresolved():
    flat = analyse(np.full((100, 2, 3), 1 / 3), tau=2, settings=FAST)
    plot = plots.timescales(flat, "ps", EXACT)
    assert plot.picture.figure is None
    assert plot.picture.reason.startswith("unresolved")
    assert not plot.columns


def test_single_lag_is_drawn():
    p = soft(sample(np.random.default_rng(1), TRANSITION, 30, 1))
    alone = analyse(p, tau=1, settings=AnalysisSettings(lags=(1,)))
    assert _renders(plots.timescales(alone, "frames"))


def test_markov_test_has_a_panel_for_each_pair_that_is_shown(found):
    ck = found.states.ck
    plot = plots.chapman_kolmogorov(ck, NAMES, (0, 2), 0.5, "ps")
    axes = _drawn(plot).axes
    assert len(axes) == 4
    labels = [ax.texts[0].get_text() for ax in axes]
    assert labels == ["0 → 0", "0 → 2", "2 → 0", "2 → 2"]
    (line,) = [ln for ln in axes[1].get_lines() if ln.get_linestyle() == "-"][:1]
    np.testing.assert_array_equal(line.get_ydata(), ck.predicted[0, 2])
    np.testing.assert_allclose(line.get_xdata(), 0.5 * np.arange(4))
    points = axes[1].containers[0].lines[0]
    np.testing.assert_array_equal(points.get_ydata(), ck.estimated[0, 2])
    assert _renders(plot)
    some = (plot.columns["from"] == "2") & (plot.columns["to"] == "0")
    np.testing.assert_array_equal(plot.columns["predicted"][some], ck.predicted[2, 0])


def test_one_state_has_no_markov_test_and_no_singular_value():
    one = analyse(np.ones((30, 1, 1)), tau=1, settings=FAST)
    assert plots.chapman_kolmogorov(one.states.ck, "0", (0,), 1.0, "ps").columns == {}
    assert plots.singular_values(one).picture.figure is None


def test_singular_values_are_drawn_without_the_constant_function(found):
    plot = plots.singular_values(found)
    (ax,) = _drawn(plot).axes
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_array_equal(heights, found.singular_values[:2])
    assert _renders(plot)


def _history(epochs=6):
    rise = np.linspace(0.1, 0.9, epochs)
    return {
        "epoch": np.arange(1.0, epochs + 1),
        "train_loss": -rise,
        "val_loss_avg": -0.9 * rise,
        "train_vamp1": rise,
        "val_vamp1_full": 0.95 * rise,
        "train_vamp2": rise,
        "val_vamp2_full": 0.9 * rise,
        "val_vamp2_static": 0 * rise,
        "val_vamp2_centred": 0.9 * rise,
    }


def test_training_has_four_panels_with_phases_and_bound():
    columns, phases = _history(), ["vamp2"] * 2 + ["vamp1"] * 2 + ["vamp2"] * 2
    plot = plots.training(columns, phases, 1)
    loss, vamp1, vamp2, gap = _drawn(plot).axes
    assert [t.get_text() for t in loss.texts] == ["vamp2", "vamp1", "vamp2"]
    curves = [line for line in loss.get_lines() if len(line.get_xdata()) == 2]
    assert len(curves) == 6  # two losses, broken at two changes of the phase
    bound = [ln for ln in vamp2.get_lines() if ln.get_linestyle() == "--"]
    assert bound[0].get_ydata() == [1, 1]
    assert len(vamp2.get_legend().get_texts()) == 4
    assert len(vamp1.get_legend().get_texts()) == 2
    expected = columns["train_vamp2"] - columns["val_vamp2_full"]
    drawn = [np.asarray(ln.get_ydata()) for ln in gap.get_lines()]
    assert any(len(d) == 6 and np.allclose(d, expected) for d in drawn)
    assert plot.columns["phase"].tolist() == phases
    assert _renders(plot)


def test_training_of_one_epoch_or_without_scores_is_no_mute_picture():
    one = {key: value[:1] for key, value in _history().items()}
    assert _renders(plots.training(one, ["vamp2"], 1))
    only_loss = {key: one[key] for key in ("epoch", "train_loss")}
    plot = plots.training(only_loss, [], 1)
    assert "not recorded" in [
        t.get_text() for ax in _drawn(plot).axes for t in ax.texts
    ]
    assert plots.training({}, [], 1).picture.figure is None
    nothing = {"epoch": np.arange(3.0), "train_loss": np.full(3, np.nan)}
    assert plots.training(nothing, [], 1).picture.figure is None


def test_columns_of_a_grid_hold_the_place_of_each_value():
    value = np.arange(6).reshape(2, 3)
    columns = plots.grid_columns({"value": value}, "row", "column")
    for row, column, entry in zip(*columns.values(), strict=True):
        assert value[row, column] == entry


def test_frames_are_counted_in_words():
    assert plots.frames_of(1) == "1 frame"
    assert plots.frames_of(5) == "5 frames"
