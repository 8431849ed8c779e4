"""The report of the track finder on events whose edges are known."""

import dataclasses
import json

import jax
import pytest

from jaxphys.hypertrack.analysis import evaluation
from jaxphys.hypertrack.analysis.results import Cost, Result
from jaxphys.hypertrack.inference import tracker as inference
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from jaxphys.hypertrack.report import sections, sections_run
from jaxphys.hypertrack.report.page import headline, in_words, write_report
from jaxphys.report import RunPage
from tests.hypertrack.toy_tracks import toy_events
from tests.hypertrack.tracked_events import (
    tracker_of,
    truthful_outputs,
    variables_of,
    voxels_of,
)


@pytest.fixture(scope="module")
def tracker():
    voxels = voxels_of(toy_events(3))
    return tracker_of(voxels, variables_of(jax.random.key(0)), "cut")


@pytest.fixture(scope="module")
def result(tracker):
    patch, found = pytest.MonkeyPatch(), []
    for event in toy_events(2):
        patch.setattr(inference, "edge_outputs", truthful_outputs(event))
        found += evaluation.find_edges(tracker, [event], repeat_seconds=0)
    patch.undo()
    clusterings = {
        "cut": evaluation.cluster(tracker, "cut", found, {"threshold": 0.5}),
        "jaccard": evaluation.cluster(tracker, "jaccard", found, {"threshold": 1.0}),
    }
    summary = evaluation.edge_summary(found, 0.55)
    return Result(found, clusterings, summary, "cut", "cut")


def cost(hits, seconds):
    meter = StageMeter({"net": seconds}, {"net": seconds}, {"net": 2**30})
    return Cost(0.5, hits, hits**2, meter)


@pytest.fixture(scope="module")
def written(result, tracker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    history = [
        {"step": 10 * i, "phase": "edges", "train_loss": 1 / (i + 1)} for i in range(3)
    ]
    page = RunPage(
        folder,
        history,
        flags="--net=fast",
        timings={"reconstruction": 2.0},
    )
    numbers = write_report(
        page,
        result=result,
        further={"real_event": result},
        compared={"other_run": result},
        costs=[cost(100, 0.01), cost(200, 0.04), cost(400, 0.16)],
        voxels=tracker.voxels,
        joint_step=20.0,
        speed={"edges": 3.0},
        source="toy events",
        net="fast",
    )
    return folder, numbers


def test_report_holds_every_section_picture_and_number(written):
    folder, numbers = written
    found = json.loads((folder / "report.json").read_text())
    titles = [section["title"] for section in found["sections"]]
    assert titles == [
        "Tracks", "Efficiency and fake rate", "Edges", "Events", "Voxels",
        "Time and memory", "Training", "Known limits",
    ]  # fmt: skip
    pictures = {path.stem for path in (folder / "figures").iterdir()}
    assert {"event_0", "edge_roc", "edge_scores", "hit_counts", "costs", "training",
            "voxel_cells", "efficiency_definitions"} <= pictures  # fmt: skip
    for variable in ("pt", "eta", "vertex_radius", "num_hits", "pileup"):
        assert f"efficiency_{variable}" in pictures
    assert found["numbers"]["joint_step"] == 20
    assert set(numbers["clusterings"]) == {"cut", "jaccard"}
    assert numbers["clusterings"]["cut"]["options"] == {"threshold": 0.5}


def test_headline_is_that_of_the_runs_own_clustering(written, result):
    numbers = written[1]["headline"]
    assert numbers["clustering"] == "cut"
    assert numbers["efficiency_all"] == numbers["purity"] == 1
    assert numbers["auc"] == numbers["auc_without_self"] == 1
    assert numbers["best_simple_purity"] == 1
    other = headline(dataclasses.replace(result, main="jaccard"))
    assert other["purity"] == 0


def test_every_data_set_and_run_has_its_table(written):
    found = json.loads((written[0] / "report.json").read_text())
    tables = found["sections"][0]["tables"]
    assert len(tables) == 5
    assert tables[1]["caption"].startswith("real_event: whole events")
    assert tables[2]["caption"].endswith("by the run other_run.")
    rows = tables[3]["rows"]
    assert [row[""] for row in rows] == ["this run", "real_event", "other_run"]
    assert all(row["PUR"] == 1 for row in rows)
    assert {"VD TPR", "VD FPR", "GNN TPR", "GNN FPR", "AUC", "DMS", "EFF"} <= set(
        rows[0]
    )


def test_transformer_is_compared_with_the_best_simple_clustering(result):
    worse = evaluation.Clustered(
        **{
            **vars(result.clusterings["cut"]),
            "method": "transformer",
            "scores": {**result.clusterings["cut"].scores, "efficiency": 0.9},
        }
    )
    both = dataclasses.replace(
        result, clusterings={**result.clusterings, "transformer": worse}
    )
    assert "EFF all -10.0 points" in sections._verdict(both)
    assert "not trained" in sections._verdict(result)


def test_growth_is_the_power_of_the_number_of_hits():
    costs = [cost(100, 0.01), cost(200, 0.04), cost(400, 0.16)]
    growth = sections_run.growth_of(costs, ["net", "cluster"])
    assert growth[:3] == pytest.approx([1, 2, 2])
    assert growth[3] is None  # a stage that took no time
    assert growth[-1] == pytest.approx(0, abs=1e-9)
    assert sections_run.growth_of(costs[:2], ["net"]) == []


def test_an_interval_stands_beside_every_efficiency(result):
    row = sections.track_row("components", result.clusterings["cut"])
    assert len(row) == len(sections._TRACK_COLUMNS)
    count = result.clusterings["cut"].scores["num_accepted"]
    assert (row[3] == "no such track") == (count == 0)


def test_without_events_there_is_no_report(result, tmp_path):
    with pytest.raises(ValueError, match="at least one event"):
        write_report(RunPage(tmp_path), result=dataclasses.replace(result, found=[]))


def test_limits_say_what_is_missing(result):
    assert "No transformer" in sections_run.limits(result, None)
    assert "No transformer" not in sections_run.limits(result, 10.0)
    assert "coarse" in sections_run.limits(result, None)


def test_headline_in_words_says_what_is_undefined():
    numbers = {"auc": None, "auc_without_self": 0.5, "clustering": ""}
    assert in_words(numbers) == "edges: AUC n/a, without self edges 0.5000"
    scores = {"efficiency": 0.25, "efficiency_all": None, "purity": 1.0}
    found = in_words({**numbers, **scores, "clustering": "cut", "fake_rate": 0.0})
    assert found.endswith(
        "; tracks by cut: efficiency 0.250 (pT > 0.9 GeV, |eta| < 2.5), all n/a, "
        "purity 1.000, fakes 0.000"
    )
