"""Figures of states show populations, transitions and times of the analysis."""

from typing import Any

import numpy as np
import pytest

from jaxphys.gdynet.analysis.kinetics import kinetics
from jaxphys.gdynet.report import plots_states
from jaxphys.report import figures
from tests.gdynet.chains import TRANSITION, one_hot, sample, soft

NAMES = ("0", "1", "2")


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    return [soft(sample(rng, TRANSITION, n, 3)) for n in (1200, 800)]


@pytest.fixture(scope="module")
def found(predictions):
    return kinetics(predictions, 1, time_unit=0.5, n_bootstrap=5)


def _drawn(plot) -> Any:
    assert plot.picture.figure is not None
    assert len({len(column) for column in plot.columns.values()}) == 1
    return plot.picture.figure


def _renders(plot):
    return figures.png(_drawn(plot), dpi=40).startswith(b"\x89PNG")


def test_populations_in_time_are_means_over_all_targets_of_that_time(predictions):
    plot = plots_states.populations_in_time(predictions, NAMES, 0.5, "ps")
    time, share = plot.columns["time"], plot.columns["state_2"]
    assert len(time) == 200
    # bins of six frames; the second trajectory ends at frame 800
    both = np.concatenate([p[:6, :, 2].ravel() for p in predictions])
    assert np.isclose(share[0], both.mean())
    assert np.isclose(share[-1], predictions[0][-6:, :, 2].mean())
    assert np.isclose(time[0], 0.5 * 2.5)
    total = sum(plot.columns[f"state_{n}"] for n in NAMES)
    np.testing.assert_allclose(total, 1)
    assert _renders(plot)


def test_one_frame_is_drawn():
    one = [np.full((1, 2, 3), 1 / 3)]
    assert _renders(plots_states.populations_in_time(one, NAMES, 1.0, "ps"))
    assert _renders(plots_states.along_target(one, NAMES, 1.0, "ps"))


def test_target_with_most_changes_is_shown_as_far_as_it_can_be_read(predictions):
    quiet = one_hot(np.zeros((500, 2), int))
    busy = quiet.copy()
    busy[:, 1] = one_hot(np.arange(500) // 10 % 3)
    plot = plots_states.along_target([quiet, busy], NAMES, 0.5, "ps")
    assert "target 1 of trajectory 1" in plot.picture.caption
    np.testing.assert_array_equal(plot.columns["state_0"], busy[:, 1, 0])
    assert _renders(plot)
    fast = one_hot(np.arange(500)[:, None] % 3)
    plot = plots_states.along_target([fast], NAMES, 0.5, "ps")
    assert len(plot.columns["time"]) == 61  # sixty changes
    assert "in a piece of the trajectory" in plot.picture.caption


def test_transition_matrices_are_written_into_their_cells(found):
    plot = plots_states.transition_matrix(found, NAMES, "of 0.5 ps")
    left, right = _drawn(plot).axes
    assert [t.get_text() for t in left.texts] == [
        f"{value:.3f}" for value in found.transition.ravel()
    ]
    assert len(right.texts) == 9
    row = (plot.columns["from"] == "2") & (plot.columns["to"] == "1")
    assert plot.columns["transition"][row] == found.transition[2, 1]
    assert "negative entries" not in plot.picture.caption
    assert _renders(plot)


@pytest.mark.parametrize("shown", [(0, 1, 2), (0, 2)])
def test_arrows_carry_the_rates(found, shown):
    plot = plots_states.transition_graph(found, NAMES, shown, "ps")
    (ax,) = _drawn(plot).axes
    texts = {t.get_text() for t in ax.texts}
    pairs = [(i, j) for i in shown for j in shown if i != j]
    assert {f"{found.rates[i, j]:.3g}" for i, j in pairs} <= texts
    assert {t.split("\n")[0] for t in texts if "%" in t} == {NAMES[s] for s in shown}
    assert _renders(plot)


def test_no_rates_are_a_sentence():
    still = kinetics(one_hot(np.zeros((30, 1), int), 2), 1)
    plot = plots_states.transition_graph(still, ("0", "1"), (0, 1), "ps")
    assert plot.picture.figure is None
    assert plot.picture.reason
    flip = kinetics(one_hot(np.arange(30)[:, None] % 2, 2), 1)
    plot = plots_states.transition_graph(flip, ("0", "1"), (0, 1), "ps")
    assert "no real logarithm" in plot.picture.reason
    plot = plots_states.transition_graph(flip, ("0", "1"), (0,), "ps")
    assert "one state" in plot.picture.reason
    plot = plots_states.autocorrelation(still, ("0", "1"), 1.0, "ps")
    assert plot.picture.figure is None


def test_autocorrelation_and_populations_are_those_of_the_analysis(found):
    plot = plots_states.autocorrelation(found, NAMES, 0.5, "ps")
    np.testing.assert_array_equal(plot.columns["state_1"], found.autocorrelation[1])
    assert _renders(plot)
    plot = plots_states.populations(found, NAMES, (0.3, 0.3, 0.4))
    heights = [bar.get_height() for bar in _drawn(plot).axes[0].patches]
    expected = np.concatenate([found.mean, found.stationary, found.hard])
    np.testing.assert_allclose(heights, expected)
    assert plot.columns["exact"].tolist() == [0.3, 0.3, 0.4]
    assert "exact" not in plots_states.populations(found, NAMES).columns
    assert _renders(plot)
