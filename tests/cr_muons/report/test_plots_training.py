"""Training curves show what is known; the reference shows what was measured."""

from typing import Any

import numpy as np

from jaxphys.cr_muons.report import plots_training

HISTORY = [
    {
        "step": 100 * i,
        "train_c_loss": 1000.0 if i == 1 else -1.0 - 0.01 * i,
        "train_g_loss": 0.5,
        "val_w1_n": 0.1 + (i - 6) ** 2,
        "val_w1_logE": 0.2,
        "val_w1_logr": 0.3,
    }
    for i in range(1, 21)
]


def drawn(picture) -> Any:
    """Returns the figure; that all of them render is tested with the report."""
    assert picture.figure is not None
    return picture.figure


def test_panels_are_those_that_the_history_knows():
    figure = drawn(plots_training.training(HISTORY))
    shown = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert shown == ["critic", "generator", "validation"]


def test_star_marks_the_smallest_sum_of_the_distances():
    figure = drawn(plots_training.training(HISTORY))
    ax = figure.axes[2]
    (star,) = [line for line in ax.get_lines() if line.get_marker() == "*"]
    assert star.get_xdata()[0] == 600
    np.testing.assert_allclose(star.get_ydata()[0], 0.6)


def test_wild_first_step_does_not_flatten_the_rest():
    ax = drawn(plots_training.training(HISTORY)).axes[0]
    assert ax.get_ylim()[1] < 1000


def test_history_without_losses_is_a_sentence_and_one_round_is_a_point():
    assert plots_training.training([]).reason
    assert plots_training.training({"step": [1.0]}).reason
    drawn(plots_training.training(HISTORY[:1]))


def test_reference_draws_what_is_there():
    row = {"cos_zenith": 1.0, "depth_km": 1.5, "reference": 3.0, "truth": 3.1}
    with_model = row | {"depth_km": 2.0, "model": 3.2, "model_error": 0.1}
    ax = drawn(plots_training.reference([row, with_model], "slope")).axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["cos θ = 1", "truth", "model"]
    ax = drawn(plots_training.reference([row], "slope")).axes[0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["cos θ = 1", "truth"]
    bare = {k: v for k, v in row.items() if k != "truth"}
    assert "not compared" in plots_training.reference([bare], "slope").reason
