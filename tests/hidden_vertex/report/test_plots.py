import dataclasses
from typing import Any

import numpy as np
import pytest

from jaxphys.hidden_vertex.analysis.sculpting import mass_sculpting
from jaxphys.hidden_vertex.report import plots
from jaxphys.report import figures
from tests.hidden_vertex.scored_events import make_scored

HISTORY = [
    {"round": r, "epoch": r, "train_loss": 2.47 + 0.5**r, "val_loss": 2.48 + 0.5**r}
    for r in range(1, 9)
]


@pytest.fixture(scope="module")
def scored():
    return make_scored()


@pytest.fixture(scope="module")
def unlabelled(scored):
    return dataclasses.replace(scored, label=None)


def _drawn(picture) -> Any:
    return picture.figure


def _renders(picture):
    return figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def _legend(ax):
    return ax.get_legend_handles_labels()[1]


def test_every_event_is_in_the_spectrum_over_the_whole_range(scored):
    picture = plots.score_histogram(scored, bins=50)
    left, right = _drawn(picture).axes
    counts = {len(p.get_data().values): 0 for p in right.patches}
    assert list(counts) == [50]
    filled = [p for p in right.patches if p.get_fill()]
    assert sorted(p.get_data().values.sum() for p in filled) == [100, 300]
    assert (left.get_yscale(), right.get_yscale()) == ("linear", "log")
    assert _legend(left) == ["background (300)", "signal (100)"]
    for patch in (p for p in left.patches if p.get_fill()):
        assert 0.98 <= patch.get_data().values.sum() <= 1
    assert _renders(picture)


def test_a_spectrum_without_labels_has_one_kind(unlabelled):
    picture = plots.score_histogram(unlabelled)
    assert _legend(_drawn(picture).axes[0]) == ["all events (400)"]
    assert _renders(picture)


def test_equal_scores_are_a_sentence():
    scored = make_scored(scores={"combined": np.ones(400)})
    assert plots.score_histogram(scored).reason.endswith(".")


def test_an_outlier_does_not_squeeze_the_core_of_the_spectrum(scored):
    score = scored.score.copy()
    score[0] = 1e6
    picture = plots.score_histogram(
        dataclasses.replace(scored, scores={"combined": score})
    )
    left, right = _drawn(picture).axes
    assert left.get_xlim()[1] < 10 < 1e5 < right.get_xlim()[1]


def test_roc_shows_every_score_the_leading_one_first(scored):
    picture = plots.roc(scored, {"combined": 0.8512, "latent": 0.71})
    linear, log = _drawn(picture).axes
    assert _legend(linear) == ["combined: AUC 0.851", "latent: AUC 0.710"]
    assert (linear.get_xscale(), log.get_xscale()) == ("linear", "log")
    for ax in (linear, log):
        diagonal, *curves = ax.get_lines()
        np.testing.assert_array_equal(*diagonal.get_data())
        for curve in curves:
            x, y = curve.get_data()
            assert (x[-1], y[-1]) == (1, 1)
            assert np.all(np.diff(y) >= 0)
    assert np.isclose(log.get_xlim()[0], 1 / 300)
    assert _renders(picture)


def test_sic_marks_the_best_cut_of_scores_and_baselines(scored):
    baseline = scored.observables["mean_log_pt"]
    picture = plots.sic(scored, {"mean log pT": baseline})
    (ax,) = _drawn(picture).axes
    texts = _legend(ax)
    assert [t.split(":")[0] for t in texts] == ["combined", "latent", "mean log pT"]
    dots = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    assert len(dots) == len(curves) == 3
    for dot, curve in zip(dots, curves, strict=True):
        assert dot.get_ydata()[0] == curve.get_ydata().max()
    assert _renders(picture)


def test_curves_without_labels_or_enough_background_are_sentences(scored, unlabelled):
    assert "labels" in plots.roc(unlabelled, {}).reason
    assert "labels" in plots.sic(unlabelled).reason
    few = make_scored(background=9, signal=9)
    assert "too few" in plots.sic(few).reason
    assert plots.roc(few, {"combined": 0.8, "latent": 0.5}).figure is not None


def test_mass_spectra_are_normalised_and_their_ratio_drawn(scored):
    found = mass_sculpting(scored.observables["mjj"], scored.score)
    picture = plots.mass_sculpting(found)
    top, bottom = _drawn(picture).axes
    shares = [p.get_data().values.sum() for p in top.patches]
    assert all(0.9 < share <= 1 for share in shares)
    # 1 % of 400 are 4 events: too few to draw, and the caption says so
    assert _legend(top) == ["no cut (400)", "highest 10% (40)", "highest 5% (20)"]
    assert picture.caption.endswith("left, not drawn: 1%.")
    assert len(bottom.containers) == 2
    assert _renders(picture)


def test_ratios_are_left_out_where_no_event_is_expected():
    mjj = np.concatenate([np.linspace(2000, 3000, 4000), np.linspace(3800, 4000, 30)])
    score = np.where(mjj > 3500, 1e4, np.arange(len(mjj)))
    found = mass_sculpting(mjj, score)
    assert found is not None
    (bottom,) = _drawn(plots.mass_sculpting(found)).axes[1:]
    for container, kept in zip(bottom.containers, found.kept.values(), strict=True):
        shown = np.isfinite(container[0].get_ydata())
        np.testing.assert_array_equal(shown, found.before * kept >= found.total)


def test_no_mass_is_a_sentence():
    assert plots.mass_sculpting(None).reason.startswith("No dijet mass")


@pytest.mark.parametrize("floor", [None, 2.4733])
def test_training_curves_show_the_floor_of_models_that_have_one(floor):
    picture = plots.training(HISTORY, floor)
    (ax,) = _drawn(picture).axes
    labels = _legend(ax)
    assert labels[:3] == ["training", "validation", "best: epoch 8"]
    assert ("floor 2.4733" in labels) == (floor is not None)
    assert ("floor" in picture.caption) == (floor is not None)
    assert ax.get_yscale() == "linear"  # within a decade
    assert _renders(picture)


def test_losses_over_decades_keep_the_logarithm_and_negative_ones_do_not():
    steep = [{"epoch": e, "val_loss": 10.0 ** (2 - e)} for e in range(1, 5)]
    assert _drawn(plots.training(steep)).axes[0].get_yscale() == "log"
    negative = [{"epoch": e, "val_loss": 1.0 - e} for e in range(1, 5)]
    assert _drawn(plots.training(negative)).axes[0].get_yscale() == "linear"


def test_gap_is_the_validation_loss_above_the_floor_in_percent():
    picture = plots.floor_gap(HISTORY, 2.0)
    assert picture is not None
    (line,) = _drawn(picture).axes[0].get_lines()
    loss = np.array([row["val_loss"] for row in HISTORY])
    np.testing.assert_allclose(line.get_ydata(), 50 * (loss - 2))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 9))
    assert _renders(picture)


def test_gap_without_a_floor_or_a_loss_is_no_axis():
    assert plots.floor_gap(HISTORY, None) is None
    for history in ([], [{"epoch": 1, "val_loss": np.nan}]):
        picture = plots.floor_gap(history, 2.4)
        assert picture is not None
        assert picture.figure is None
