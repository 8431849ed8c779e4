import csv
import dataclasses
import functools
import json
import re

import numpy as np
import pytest

from jaxphys.hidden_vertex.analysis import scores
from jaxphys.hidden_vertex.report import sections, sections_training
from jaxphys.hidden_vertex.report.page import write_report
from jaxphys.report import RunPage, figures
from tests.hidden_vertex.scored_events import make_scored, particles_of

HISTORY = [
    {"round": r, "train_loss": 2.46 + 0.5**r, "val_loss": 2.48 + 0.5**r}
    for r in range(1, 5)
]
FLOOR = 2.47
RENDER = figures.png
NAMES = {
    "score_histogram", "roc", "sic", "mass_sculpting", "latent_pca", "latent_pairs",
    "events_top", "events_typical", "training",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _unrendered():
    """Saves time: that every kind of picture renders is tested with the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", lambda figure: b"\x89PNG")
        yield


@pytest.fixture(scope="module")
def scored():
    return make_scored()


def _write(folder, scored, **changes):
    known = scored.observables
    settings = {
        "displays": particles_of,
        "validation": {"val_loss": -1.25, "floor": None, "gap": None},
        "filters": {"rows read": 1234, "empty events dropped": 5},
        "splits": {"train": "900 events, clean", "val": "200 events, clean"},
        "feature_statistics": {
            "mean": np.array([1.3, 0.0, 0.0]),
            "std": np.array([1.6, 1.5, 1.8]),
            "max": np.array([7.0, 5.0, 3.1]),
            "mean_square": np.asarray(2.87),
        },
        "history": HISTORY,
        "flags": "--model=conditional\n--top_k=20\n",
        "command": "python -m experiments.hidden_vertex",
        "timings": {"data": 1.0, "training": 2.0},
        "model": "conditional (jets)",
        "baselines": known
        and {
            "mean log pT": (known["mean_log_pt"], False),
            "-|mjj - 3500|": (-np.abs(known["mjj"] - 3500), True),
        },
        "top_k": 20,
        "source": "LHCO-like (simulated)",
        "resamples": 20,
    }
    given = settings | changes
    names = ("history", "flags", "command", "timings", "weights")
    about = {n: given.pop(n) for n in names if n in given}
    return write_report(RunPage(folder, **about), scored=scored, **given)


@pytest.fixture(scope="module")
def written(tmp_path_factory, scored):
    folder = tmp_path_factory.mktemp("report")
    clean = scored.score[scored.background]
    injection = {"clean": clean, "injected": clean + 100, "strength": 3.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", functools.partial(RENDER, dpi=30))
        numbers = _write(
            folder,
            scored,
            injection=injection,
            throughput={"train_events": 18_900, "train_events_per_s": 9450.0},
            extra_samples={"other signal": make_scored(60, 30, seed=5)},
        )
    return folder, numbers


def _page(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r'src="[^"]*"', "", text)


def test_all_figures_are_drawn_embedded_and_saved(written):
    folder, _ = written
    found = {p.stem for p in (folder / "figures").iterdir()}
    assert found == NAMES
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(NAMES)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert not re.search(r"\bnan\b", _page(folder).lower())


def test_report_json_holds_the_numbers_that_are_returned(written, scored):
    folder, numbers = written
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert saved["numbers"] == numbers
    assert saved["not_finite"] == {}
    assert numbers["auc"] == scores.auc(scored.label, scored.score)
    assert numbers["auc"] == numbers["scores"]["combined"]["auc"]
    assert numbers["events"] == {"events": 400, "background": 300, "signal": 100}
    assert numbers["scores"]["latent"]["separation"] > 1
    assert numbers["history"]["epoch"] == [1, 2, 3, 4]
    assert numbers["sculpting"]["cuts"]["10%"]["kept"] == 30  # of the background
    assert numbers["injection"]["scores"]["combined"]["auc"] == 1.0
    other = numbers["extra_samples"]["other signal"]
    assert other["events"] == {"events": 90, "background": 60, "signal": 30}
    assert set(other["scores"]) == {"combined", "latent"}


def test_csv_lists_the_highest_scores_by_their_row_in_the_file(written, scored):
    folder, numbers = written
    with (folder / "top_anomalies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = np.argsort(-scored.score)[:20]
    assert [int(row["event_id"]) for row in rows] == scored.event_id[best].tolist()
    assert numbers["top_events"] == scored.event_id[best].tolist()
    assert [int(row["rank"]) for row in rows] == list(range(1, 21))
    assert [float(r["score_combined"]) for r in rows] == scored.score[best].tolist()
    assert [int(row["label"]) for row in rows] == scored.label[best].tolist()
    assert [int(row["n"]) for row in rows] == scored.size[best].tolist()
    mjj = [float(row["mjj"]) for row in rows]
    np.testing.assert_allclose(mjj, scored.observables["mjj"][best], rtol=1e-6)
    page = _page(folder)
    assert all(f">{row['event_id']}<" in page for row in rows)


def test_baselines_are_called_a_bar_and_set_against_the_score(written, scored):
    folder, numbers = written
    page = _page(folder)
    assert "every cut here is signed" in page
    row = numbers["baselines"]["mean log pT"]
    # mean log pT is the score without its noise
    assert row["lead"] < 0
    assert re.search(r"is below|does not differ by two standard errors from", page)
    assert numbers["baselines"]["-|mjj - 3500|"]["oracle"] is True
    assert "needs anti-kT jets of fastjet" in page
    known = {**scored.observables, "tau21_1": np.ones(400), "tau21_2": np.ones(400)}
    with_tau = dataclasses.replace(scored, observables=known)
    assert "cones" not in sections_training.limits(with_tau, "conditional", "")


def test_published_times_stand_beside_the_own_throughput(written):
    page = _page(written[0])
    assert "Tesla T4" in page
    assert "RTX 3080" in page
    assert "55.6" in page  # 100,000 events in 30 minutes
    assert "9,450" in page
    assert "0.0333" in page  # minutes for 18,900 events


def test_limits_name_what_the_data_and_the_choice_of_the_score_are(written):
    page = _page(written[0])
    assert "LHCO-like: our generator" in page
    assert "Three signal points" in page
    assert "the sum was fixed before looking" in page
    text = sections_training.limits(make_scored(), "seed", "events.h5")
    assert "LHCO-like" not in text
    assert "Four scores" not in text
    assert "LHCO-like" in sections_training.limits(
        make_scored(), "seed", "lhco_like_30k.parquet"
    )


@pytest.fixture(scope="module")
def seed_report(tmp_path_factory):
    scored = make_scored(codes=(1, 4))
    mse = 2.4 + np.random.default_rng(1).gamma(4.0, 0.05, 400)
    scored = dataclasses.replace(
        scored,
        scores={"mse": mse, "latent": scored.scores["latent"]},
        headline="mse",
    )
    folder = tmp_path_factory.mktemp("seed")
    validation = {"val_loss": 2.4755, "floor": 2.4733, "gap": 2.4755 / 2.4733 - 1}
    numbers = _write(folder, scored, model="seed", validation=validation)
    return folder, numbers


def test_the_seed_model_is_reported_with_its_floor(seed_report):
    folder, numbers = seed_report
    page = _page(folder)
    assert "emits one vector per event" in page
    assert "(here 2.4733, and the loss of the same events 2.4755, +0.09% from it)" in (
        " ".join(page.split())
    )
    for expected in ("0.0765", "0.08 ± 0.02", "0.45 ± 0.15", "5 to 6"):
        assert expected in page
    assert (folder / "figures" / "floor_gap.png").exists()
    assert numbers["validation"]["gap"] == 2.4755 / 2.4733 - 1
    assert "latent" in numbers["scores"]  # the extra line
    assert "below the floor" not in page


def test_curves_are_set_against_the_floor_of_their_own_events():
    """An evaluation of other events has another floor than the training had."""
    columns = {k: np.array([row[k] for row in HISTORY]) for k in HISTORY[0]}
    columns["floor_gap"] = columns["val_loss"] / FLOOR - 1
    found = sections_training._floor_in_training(columns, 99.0)
    assert found == pytest.approx(FLOOR)
    del columns["floor_gap"]
    assert sections_training._floor_in_training(columns, 99.0) == 99.0
    assert sections_training._floor_in_training({}, None) is None


def test_the_floor_is_explained_without_numbers_where_there_are_none():
    text = sections_training.floor_sentence({})
    assert "here" not in text.split(";")[0]
    assert "0.0765" in text
    assert text.count(".") == text.count("0.") + 1  # one sentence


def test_events_without_labels_have_a_reduced_report(tmp_path, scored):
    alone = dataclasses.replace(scored, label=None)
    numbers = _write(
        tmp_path, alone, validation={}, history=[], splits={}, feature_statistics={}
    )
    assert numbers["auc"] is None
    assert numbers["baselines"] == {}
    found = {p.stem for p in (tmp_path / "figures").iterdir()}
    assert found == NAMES - {"roc", "sic", "training"}
    page = _page(tmp_path)
    assert "can be looked at, not judged" in page
    assert "Cuts on one variable" not in page
    assert not re.search(r"\bnan\b", page.lower())
    with (tmp_path / "top_anomalies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert "label" not in rows[0]


def test_events_without_observables_and_codes_leave_sentences(tmp_path, scored):
    bare = dataclasses.replace(scored, observables={}, code=None)
    numbers = _write(tmp_path, bare)
    assert numbers["sculpting"] == {}
    assert numbers["baselines"] == {}
    page = _page(tmp_path)
    assert "No dijet mass to look at" in page
    assert "There are no codes to show" in page
    assert "No observables of these events are at hand" in page


def test_a_report_needs_an_event_and_the_same_scores_before_and_after(tmp_path):
    with pytest.raises(ValueError, match="at least one event"):
        _write(tmp_path, make_scored(0, 0))
    injection = {"clean": {"nll": np.ones(3)}, "injected": {"mse": np.ones(3)}}
    with pytest.raises(ValueError, match=r"got \['nll'\] and \['mse'\]"):
        _write(tmp_path, make_scored(), injection=injection)


@pytest.mark.parametrize(
    ("value", "error", "digits", "text"),
    [
        (0.85072, 0.00726, 2, "0.8507 ± 0.0073"),
        (0.85072, 0.00726, 1, "0.851 ± 0.007"),
        (-3.0, 1.5, 2, "−3.0 ± 1.5"),
        (12345.0, 240.0, 2, "12,345 ± 240"),
        (0.5, None, 2, "0.500"),
        (0.5, 0.0, 2, "0.500"),
    ],
)
def test_errors_set_the_digits_that_are_shown(value, error, digits, text):
    assert sections.with_error(value, error, digits) == text
