import dataclasses
import json
import re

import numpy as np
import pytest

from jaxphys.report import RunPage
from jaxphys.track_extrapolator.analysis.comparison import (
    PUBLISHED,
    standard_comparisons,
)
from jaxphys.track_extrapolator.model import parametrisation
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics.field import GaussSeed, field_hash
from jaxphys.track_extrapolator.report.page import write_report
from jaxphys.track_extrapolator.simulation import generate

FIELD = GaussSeed()
HISTORY = [
    {
        "round": epoch,
        "train_loss": 1.0 / epoch,
        "val_loss": 1.2 / epoch + (epoch == 4),
        "learning_rate": 1e-3,
    }
    for epoch in range(1, 5)
]
FLAGS = "--samples=400\n--batch_size=64\n--learning_rate=0.001\n--seed=3\n"


@pytest.fixture(scope="module")
def tracks():
    return generate(FIELD, 400, seed=11)


@pytest.fixture(scope="module")
def surrogate(tracks):
    """A linear least-squares network with the kick parametrisation."""
    state = tracks.state
    target = parametrisation.targets(
        "kick", state, tracks.target, tracks.z_in, tracks.z_out
    )
    mean, std = state.mean(axis=0), state.std(axis=0)
    design = np.column_stack([(state - mean) / std, np.ones(len(state))])
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    return Surrogate(
        "tanh",
        ((solution[:5], solution[5]),),
        mean,
        std,
        np.zeros(4),
        np.ones(4),
        parametrisation="kick",
        field_hash=field_hash(FIELD),
    )


def _write(folder, surrogate, tracks, **changes):
    settings = {
        "history": HISTORY,
        "flags": FLAGS,
        "command": "python -m experiments.track_extrapolator --samples=400",
        "timings": {"data": 1.0, "training": 2.0},
        "field": FIELD,
        "name": "mlp_test",
        "jacobian_tracks": 20,
        "batches": (64, 1),
        "timing_seconds": 0.0,
    }
    given = settings | changes
    names = ("history", "flags", "command", "timings")
    page = RunPage(folder, **{n: given.pop(n) for n in names})
    page = dataclasses.replace(page, weights=surrogate.metadata)
    return write_report(page, surrogate=surrogate, test=tracks, **given)


@pytest.fixture(scope="module")
def written(tmp_path_factory, surrogate, tracks):
    folder = tmp_path_factory.mktemp("report")
    return folder, _write(folder, surrogate, tracks)


def test_all_figures_are_drawn_embedded_and_saved(written):
    folder, _ = written
    names = {
        "error_histogram",
        "error_momentum",
        "bias_momentum",
        "error_maps",
        "speed_accuracy",
        "field_profile",
        "training",
    }
    assert {p.stem for p in (folder / "figures").iterdir()} == names
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(names)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "nan" not in re.sub(r'src="[^"]*"', "", page).lower()


def test_numbers_hold_network_comparisons_and_field(written, surrogate, tracks):
    _, numbers = written
    error = np.hypot(*(surrogate.predict(tracks.state) - tracks.target)[:, :2].T)
    np.testing.assert_allclose(numbers["network"]["pos_mean"], error.mean())
    assert numbers["network"]["total_params"] == 5 * 4 + 4
    assert set(numbers["comparisons"]) >= {
        "straight line",
        "Born",
        "RK4 8 steps",
        "RK4 40 steps",
    }
    for row in (numbers["network"], *numbers["comparisons"].values()):
        assert {"pos_mean", "pos_p95", "time_per_track_us_1"} <= set(row)
    assert abs(numbers["field_integral_tm"] - 3.597) < 1e-3
    assert {"jacobian_median", "jacobian_p95", "mirror_mean"} <= set(numbers["network"])
    assert numbers["history"]["learning_rate"] == [1e-3] * 4


def test_report_json_holds_the_same_numbers(written):
    folder, numbers = written
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert saved["numbers"] == numbers
    assert saved["not_finite"] == {}


def test_metadata_keeps_the_originals_keys(written, surrogate):
    folder, numbers = written
    saved = json.loads((folder / "mlp_test_metadata.json").read_text(encoding="utf-8"))
    assert saved["name"] == "mlp_test"
    assert saved["architecture"] == []
    assert saved["training"] == {
        "epochs": 4,
        "batch_size": 64,
        "learning_rate": 0.001,
        "best_val_loss": 1.2 / 3,
        "train_samples": None,
        "val_samples": None,
        "test_samples": 400,
    }
    assert set(saved["performance"]) == {
        "mean_error",
        "std_error",
        "max_error",
        "p50_error",
        "p95_error",
        "p99_error",
        "time_per_track_us",
        "total_params",
    }
    network = numbers["network"]
    assert saved["performance"]["mean_error"] == network["pos_mean"]
    assert saved["performance"]["time_per_track_us"] == network["time_per_track_us_64"]
    assert saved["history"]["train_losses"] == [1.0, 0.5, 1 / 3, 0.25]
    assert saved["field_hash"] == surrogate.field_hash
    assert saved["seed"] == 3
    assert saved["config"]["samples"] == 400
    assert saved["metrics"]["slope_p95_5_10GeV"] == network["slope_p95_5_10GeV"]


def test_the_page_says_how_rk4_compares_and_what_was_published(written):
    folder, _ = written
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "RK4 with 8 steps takes" in page
    assert "0.327 mm" in page
    assert "108,996" in page
    # the size-matched one for 24 parameters is the smallest
    assert "2.064 mm and 5.99 mm with 1,412" in page
    assert "no solution of Maxwell" in page


def test_pairs_without_a_field_leave_sentences_in_place(tmp_path, surrogate, tracks):
    numbers = _write(
        tmp_path, surrogate, tracks.rows(slice(0, 50)), field=None, published=(),
        history=[],
    )  # fmt: skip
    assert list(numbers["comparisons"]) == ["straight line"]
    assert "jacobian_median" not in numbers["network"]
    assert "field_integral_tm" not in numbers
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "their field is not at hand" in page
    assert "holds no loss" in page
    assert "RK4 with 8 steps could not be measured" in page
    assert "Beside the original" not in page
    assert not (tmp_path / "figures" / "training.png").exists()


def test_a_test_set_without_any_valid_truth_is_still_a_report(
    tmp_path, surrogate, tracks
):
    none = dataclasses.replace(tracks, ok=np.zeros(len(tracks), bool))
    numbers = _write(
        tmp_path, surrogate, none, comparisons=standard_comparisons(None)
    )  # fmt: skip
    assert "pos_mean" not in numbers["network"]
    assert numbers["network"]["failed_truth_fraction"] == 1.0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No test track has a valid truth" in page
    assert "nan" not in re.sub(r'src="[^"]*"', "", page).lower()


def test_facts_of_the_training_replace_what_the_flags_say(tmp_path, surrogate, tracks):
    facts = {"train_samples": 340, "batch_size": 32, "seed": 9, "best_val_loss": np.inf}
    _write(tmp_path, surrogate, tracks, training=facts, comparisons=())
    saved = json.loads((tmp_path / "mlp_test_metadata.json").read_text())
    assert saved["training"]["train_samples"] == 340
    assert saved["training"]["batch_size"] == 32
    assert saved["training"]["best_val_loss"] is None  # JSON knows no infinity
    assert saved["seed"] == 9


def test_rounds_of_the_training_loop_are_the_epochs(tmp_path, surrogate, tracks):
    history = [{"round": 4 * i, "val_loss": 1.0} for i in range(1, 3)]
    numbers = _write(tmp_path, surrogate, tracks, history=history, comparisons=())
    assert numbers["history"]["epoch"] == [4, 8]


def test_no_test_track_at_all_is_refused(tmp_path, surrogate, tracks):
    with pytest.raises(ValueError, match="at least one track"):
        _write(tmp_path, surrogate, tracks.rows(slice(0, 0)))


def test_published_numbers_hold_the_best_of_the_original():
    best = min(PUBLISHED, key=lambda p: p.mean)
    assert (best.mean, best.p95, best.parameters) == (0.327, 0.751, 108_996)
