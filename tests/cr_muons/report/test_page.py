"""The report of the muon generator says what was found, in words and figures."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest

from jaxphys.cr_muons.analysis import evaluation
from jaxphys.cr_muons.analysis.evaluation import CRITERIA, Closure, Row
from jaxphys.cr_muons.analysis.fano import Replicas
from jaxphys.cr_muons.analysis.metrics import yield_ratios
from jaxphys.cr_muons.report import sections, sections_training
from jaxphys.cr_muons.report.page import write_report
from jaxphys.report import RunPage, figures
from tests.cr_muons.bundles import draw_bundles, no_muons

RENDER = figures.png
PICTURES = {
    "distributions", "energy_radius", "mean_number", "fano", "bins_num_muons",
    "bins_energy", "bins_radius", "lateral_profile", "correlations", "reference",
    "training",
}  # fmt: skip
HISTORY = [
    {"step": 10 * i, "train_c_loss": -1.0 / i, "train_g_loss": 0.1, "val_w1_n": 0.1 / i,
     "val_w1_logE": 0.1, "val_w1_logr": 0.1, "val_w1_sum": 0.2 + 0.1 / i}
    for i in range(1, 6)
]  # fmt: skip
REFERENCE = [
    {"cos_zenith": c, "depth_km": d, "reference": 3.0 + c, "truth": 3.1, "model": 3.2}
    for c in (0.6, 1.0) for d in (1.5, 2.0)
]  # fmt: skip
VALUES = {
    "w1_n": 0.003, "w1_logE": 0.02, "w1_logr": 0.01, "p0_difference": 0.03,
    "yield_median": 0.03, "yield_max": 0.3, "fano_pooled": 0.05, "fano_median": 0.04,
    "correlation_difference": 0.001, "classifier_auc": 0.6, "isotropy_p": np.nan,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _unrendered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", lambda figure: b"\x89PNG")
        yield


@pytest.fixture(scope="module")
def truth():
    return draw_bundles(1500)


@pytest.fixture(scope="module")
def model():
    return draw_bundles(1500, seed=1)


def replicas(primaries, seed):
    counts = np.random.default_rng(seed).poisson(10.0, (60, 30))
    return Replicas(primaries[:60], counts)


def make_closure(truth, model, seed=1, floor=(0.001, 0.002), **values):
    found = {**VALUES, **values}
    rows = tuple(Row(c, found[c.name], floor) for c in CRITERIA)
    pair = (replicas(truth.primaries, seed), replicas(truth.primaries, 0))
    return Closure(rows, yield_ratios(truth, model), pair)


def write_whole(folder, truth, model):
    other = draw_bundles(1500, seed=2)
    return write_report(
        RunPage(
            folder,
            HISTORY,
            "python -m experiments.cr_muons",
            "--batch_size=10\n",
            {"data": 1.0},
        ),
        truth=truth,
        model=model,
        closure=make_closure(truth, model),
        others={"regression": other},
        columns={
            "regression": make_closure(truth, other, 2, w1_n=0.1, fano_pooled=1.0),
            "seed": {"w1_n": 0.5, "w1_sum": 0.7},
        },
        further={"corsika": make_closure(truth, model, floor=None)},
        reference=REFERENCE,
        speed={"train_events_per_s": 20_000.0, "own_number": 3.0},
        data={"events": 1000, "outliers": 2},
        source="simulated",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory, truth, model):
    folder = tmp_path_factory.mktemp("report")
    return folder, write_whole(folder, truth, model)


def page(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r'src="[^"]*"', "", text)


@pytest.mark.slow
@pytest.mark.parametrize("empty", [False, True], ids=["muons", "no_muons"])
def test_every_figure_renders(tmp_path, monkeypatch, truth, model, empty):
    monkeypatch.setattr(figures, "png", functools.partial(RENDER, dpi=30))
    write_whole(tmp_path, truth, no_muons(truth) if empty else model)
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_all_figures_are_drawn_embedded_and_saved(written):
    folder, _ = written
    assert {p.stem for p in (folder / "figures").iterdir()} == PICTURES
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(PICTURES)
    assert not re.search(r"\bnan\b", page(folder).lower())


def test_report_json_holds_the_numbers_that_are_returned(written, truth):
    folder, numbers = written
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert saved["numbers"] == numbers
    assert numbers["values"]["w1_sum"] == pytest.approx(0.033)
    assert numbers["events"]["truth"]["muons"] == len(truth.muons)
    assert numbers["met"]["missed"] == ["p0_difference", "fano_pooled", "fano_median"]
    assert numbers["met"]["of"] == 10  # isotropy does not apply
    assert numbers["columns"]["seed"] == {"w1_n": 0.5, "w1_sum": 0.7}
    assert numbers["columns"]["regression"]["w1_n"] == 0.1
    assert numbers["closure"]["isotropy_p"]["value"] is None
    assert set(saved["not_finite"]) >= {"numbers/values/isotropy_p"}


def test_page_says_what_is_missed_and_against_whom(written):
    text = page(written[0])
    assert "7 of 10" in text
    assert text.count("MISSED") == 3
    assert "showers of one primary do not fluctuate" in text
    against = "Against regression: sum of the three W1 better, Fano factor not better"
    assert against in text
    assert "0.75–1.3" in text
    assert "≥ 0.001" in text
    assert "390,000" in text


def test_ranges_are_told_in_words():
    of = {c.name: c for c in CRITERIA}
    auc, isotropy = of["classifier_auc"], of["isotropy_p"]
    assert sections.range_text(auc.must, auc) == "≤ 0.65"
    assert sections.range_text(isotropy.must, isotropy) == "≥ 0.001"
    assert sections.range_text(isotropy.good, isotropy) == ""
    fano = of["fano_pooled"]
    assert sections.range_text(fano.good, fano) == "0.9–1.1"


def test_model_that_fluctuates_is_not_called_rigid(tmp_path, truth, model):
    closure = make_closure(truth, model, fano_pooled=1.0)
    write_report(RunPage(tmp_path), truth=truth, model=model, closure=closure)
    text = page(tmp_path)
    assert "do not fluctuate" not in text
    assert "Speed" not in text
    assert "Other data" not in text


def test_data_without_replicas_and_history_is_reported(tmp_path, truth, model):
    closure = evaluation.compare_events(truth, model)
    numbers = write_report(RunPage(tmp_path), truth=truth, model=model, closure=closure)
    assert "w1_sum" in numbers["values"]
    assert "about the mean that boosted trees learn" in page(tmp_path)
    assert "The history of this run holds no loss" in page(tmp_path)


def test_depths_of_one_shower_are_not_taken_for_showers(tmp_path, truth, model):
    shared = np.repeat(truth.showers[::3], 3, axis=0)
    several = dataclasses.replace(truth, showers=shared)
    closure = make_closure(truth, model)
    write_report(RunPage(tmp_path), truth=several, model=model, closure=closure)
    assert "1,500 events are 500 showers at several depths" in page(tmp_path)
    assert "up to a factor of 1.7." in page(tmp_path)


def test_generator_without_muons_is_reported(tmp_path, truth):
    model = no_muons(truth)
    closure = evaluation.compare_events(truth, model)
    write_report(RunPage(tmp_path), truth=truth, model=model, closure=closure)
    assert "no muons" in page(tmp_path)


def test_other_primaries_and_no_events_are_refused(tmp_path, truth, model):
    closure = make_closure(truth, model)
    given = {"closure": closure, "model": model}
    with pytest.raises(ValueError, match="at least one event"):
        write_report(RunPage(tmp_path), truth=truth.rows(0, 0), **given)
    with pytest.raises(ValueError, match=r"model: expected the 1499 primaries"):
        write_report(RunPage(tmp_path), truth=truth.rows(1, 1500), **given)
    shifted = truth.select(np.roll(np.arange(1500), 1))
    with pytest.raises(ValueError, match=r"other: expected the 1500 primaries"):
        write_report(RunPage(tmp_path), truth=truth, others={"other": shifted}, **given)


def test_limits_name_the_simulation_where_it_was_used(truth, model):
    closure = make_closure(truth, model)
    assert "1.75" in sections_training.limits(closure, "100 events simulated")
    assert "1.75" not in sections_training.limits(closure, "my.parquet")
