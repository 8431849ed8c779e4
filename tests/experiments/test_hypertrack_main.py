"""A run of the track finder from the command line to its tracks."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments.hypertrack import data, experiment
from experiments.hypertrack.config import Config
from experiments.hypertrack.experiment import EXPERIMENT, simple_options
from jaxphys.api import load_run
from jaxphys.data.fingerprint import UNKNOWN
from jaxphys.hypertrack.analysis import results
from jaxphys.hypertrack.data.event_source import open_events, sample_prefix
from jaxphys.hypertrack.inference import tracker
from jaxphys.training import app
from tests.experiments.commands import check_weights, run_mode
from tests.hypertrack.event_sets import write_event

SMALL = [
    "--ncell=300",
    "--augment=1",
    "--niter=2",
    "--rfactor_start=0.03",
    "--rfactor_end=0.03",
    "--buckets=1",
    "--nstack=1",
    "--h_dim=4",
    "--m_dim=4",
    "--z_dim=5",
    "--nstack_dec=1",
    "--joint_sets=4",
    "--joint_nodes=8",
    "--val_graphs=1",
    "--report_events=2",
    "--plain_log",
    "--mesh=data:1",
]


SILENT = dataclasses.replace(EXPERIMENT, report=lambda *arguments: None)


def run(*arguments):
    return run_mode(EXPERIMENT, *arguments)


def history(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in text]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one iteration in each phase, without its report."""
    folder = tmp_path_factory.mktemp("run")
    steps = ["--iterations=2", "--round_iterations=1", "--joint_iteration=1"]
    run_mode(SILENT, *SMALL, *steps, f"--workdir={folder}")
    return folder


def test_the_best_weights_are_loaded_and_named(trained):
    check_weights(trained, "val_auc_without_self", "max")


def test_training_makes_voxels_and_passes_through_both_phases(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"checkpoints", "voxels.npz", "network.json", "config.flags"} <= names
    assert [entry["phase"] for entry in history(trained)] == ["joint", "joint"]
    assert "val_cluster_BCE" in history(trained)[-1]


def test_tracks_of_events_are_written_by_any_clustering(trained, tmp_path):
    sample = open_events()
    first = int(np.sort(sample.event_ids)[6])
    ranges = [f"--predict_start={first}", f"--predict_end={first}"]
    for cluster, per_hit in (("jaccard", "true"), ("cut", "false")):
        output = tmp_path / f"{cluster}.parquet"
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={sample_prefix()}",
            f"--cluster={cluster}",
            f"--per_hit={per_hit}",
            f"--output={output}",
            *ranges,
        )
        table = pq.read_table(output)
        assert set(table["event_id"].to_pylist()) <= {first}
        if per_hit == "true":
            assert table.num_rows == sample.read(first).num_hits


def test_other_events_are_evaluated_with_a_run(trained):
    reported = []
    listening = dataclasses.replace(
        EXPERIMENT,
        report=lambda config, session, found, history: reported.append(found.parts.val),
    )
    other = ["--mode=evaluate", f"--workdir={trained}", f"--val_data={sample_prefix()}"]
    with pytest.raises(ValueError, match="was trained on these data"):
        run_mode(listening, *other)
    run_mode(listening, *other, "--allow_training_data")
    ranges = ["--event_val_start=44", "--event_val_end=45"]  # which trained nothing
    run_mode(listening, *other, *ranges)
    assert len(reported[0]) == len(open_events())
    assert reported[1].event_ids.tolist() == [44, 45]
    with pytest.raises(ValueError, match="event_val_end: 0 and 1 values"):
        run(*other, "--event_val_end=4")
    with pytest.raises(ValueError, match="--val_data: was '', now"):
        run(f"--workdir={trained}", f"--val_data={sample_prefix()}")


@pytest.fixture
def finished(trained, tmp_path, monkeypatch):
    """A copy of the run, a function that evaluates it, and a net with an opinion."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    described = json.loads((folder / "network.json").read_text())
    described["settings"]["fixed_threshold"] = 0.45  # the transformer is not trained
    (folder / "network.json").write_text(json.dumps(described))

    def outputs(net, variables, position, edge_index, **settings):
        del net, variables, settings
        ends = position[edge_index]
        distance = np.linalg.norm(ends[0] - ends[1], axis=1)
        wiggle = np.sin(distance + position[edge_index[0], 0])
        latents = np.stack(
            [np.cos(position @ [1, 2, 3] / (99 + i)) for i in range(5)], 1
        )
        logits = 3 - distance / 40 + 2 * wiggle
        return latents.astype(np.float32), logits.astype(np.float32)

    monkeypatch.setattr(tracker, "edge_outputs", outputs)
    monkeypatch.setattr(experiment, "_TUNING_EVENTS", 1)
    monkeypatch.setattr(experiment, "_TUNING_TRACKS", 1)
    monkeypatch.setattr(results, "costs_of", lambda *arguments: [])
    tunings, reported = [], []
    tune = results.tune
    monkeypatch.setattr(results, "tune", lambda *own: tunings.append(own) or tune(*own))

    def report(directory, *, result, **facts):
        reported.append(result)
        return {"headline": {"auc": 1.0, "auc_without_self": 1.0}}

    monkeypatch.setattr(experiment, "write_report", report)

    def evaluate(*flags):
        before = len(tunings)
        flags = [*flags, "--rfactor=0.2", "--report_events=1"]
        run("--mode=evaluate", f"--workdir={folder}", *flags)
        return reported[-1], len(tunings) > before

    return folder, evaluate


def test_report_command_and_python_find_the_same_tracks(finished, tmp_path):
    folder, evaluate = finished
    result, _ = evaluate()
    assert result.main == "transformer"
    event = result.found[0].event
    write_event(tmp_path / "events", event, particle_type=False)
    for method in tracker.ALGORITHMS:
        if method == "none":
            continue
        want = result.clusterings[method].labels[0]
        (own,) = load_run(folder, cluster=method).predict([event])
        np.testing.assert_array_equal(own.labels, want, err_msg=method)
        output = tmp_path / f"{method}.parquet"
        files = [f"--data={tmp_path / 'events'}", f"--output={output}", "--per_hit"]
        run("--mode=predict", f"--workdir={folder}", f"--cluster={method}", *files)
        np.testing.assert_array_equal(pq.read_table(output)["track_id"], want)
        assert 1 < len(set(want.tolist())) < len(want), method
    # what the run itself says without a method
    (own,) = load_run(folder).predict([event])
    np.testing.assert_array_equal(
        own.labels, result.clusterings["transformer"].labels[0]
    )


def test_options_are_chosen_once_and_a_given_flag_says_that_it_differs(
    finished, capsys
):
    folder, evaluate = finished
    first, tuned = evaluate()
    assert tuned
    chosen = (folder / "tuned.json").read_text()
    options = json.loads(chosen)["methods"]["jaccard"]["options"]
    again, tuned = evaluate()
    assert not tuned
    for method, own in first.clusterings.items():
        assert again.clusterings[method].options == own.options
    capsys.readouterr()
    given, tuned = evaluate("--jaccard_prob=0.123", "--edge_threshold=0.456")
    assert not tuned
    said = capsys.readouterr().err
    assert f"jaccard: threshold is 0.123 as given, not {options['threshold']}" in said
    assert "edge_threshold is 0.456 as given, not 0.55" in said
    wanted = {**options, "threshold": 0.123}
    assert given.clusterings["jaccard"].options == wanted
    assert (folder / "tuned.json").read_text() == chosen  # for this call alone
    assert evaluate("--retune")[1]
    assert evaluate("--hits_min=3")[1]  # other tracks count


def test_flags_of_a_simple_clustering_reach_it():
    config = Config(jaccard_prob=0.1, jaccard_share=0.2, edge_threshold=0.3)
    given = {"jaccard_share", "edge_threshold"}
    found = {m: simple_options(config, m, given) for m in ("jaccard", "cut")}
    assert found == {"jaccard": {"min_overlap": 0.2}, "cut": {"threshold": 0.3}}
    assert simple_options(config, "cut", {"jaccard_prob"}) == {}
    assert simple_options(config, "transformer", given) == {}


def test_prediction_without_data_is_refused(trained):
    with pytest.raises(ValueError, match="--data: needed"):
        run("--mode=predict", f"--workdir={trained}")


def test_voxels_of_another_number_of_cells_are_refused(trained, tmp_path):
    voxels = trained / "voxels.npz"
    small = ["--ncell=200", *SMALL[1:]]
    with pytest.raises(ValueError, match="ncell"):
        run(*small, f"--voxdyn={voxels}", f"--workdir={tmp_path}")


def test_voxels_are_trained_and_described_for_every_number_of_cells(tmp_path, capsys):
    flags = ["--mode=voxels", "--ncell=50,100", "--augment=1", "--niter=2"]
    flags += ["--rfactor_end=1", "--report_events=2"]
    with pytest.raises(ValueError, match="--output: needed"):
        run(*flags)
    run(*flags, f"--output={tmp_path / 'cells'}")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0][-10:] for line in lines] == ["lls-50.npz", "ls-100.npz"]
    tpr, fpr = (
        [float(re.findall(rf"{name} ([\d.]+)", line)[0]) for line in lines]
        for name in ("TPR", "FPR")
    )
    assert 0 < fpr[1] < fpr[0] < tpr[1] < tpr[0] <= 1


def test_flags_that_leave_no_events_say_so(tmp_path):
    with pytest.raises(ValueError, match=r"no event in 900-901; there are 1-45"):
        run(*SMALL, "--event_start=900", "--event_end=901", f"--workdir={tmp_path}")
    with pytest.raises(ValueError, match="leave none for validation"):
        run(*SMALL, "--val_fraction=0", f"--workdir={tmp_path}")


def test_other_graphs_than_hyper_hold_no_tracks(tmp_path):
    with pytest.raises(ValueError, match="--cluster=none"):
        run(*SMALL, "--node2node=eom", f"--workdir={tmp_path}")


@pytest.mark.slow
def test_a_run_stopped_in_either_phase_goes_on_to_the_same_numbers(tmp_path):
    steps = ["--iterations=4", "--round_iterations=1", "--joint_iteration=2"]
    common = [*SMALL, *steps, "--checkpoint_every=1 steps", "--keep_checkpoints=9"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run_mode(SILENT, *common, f"--workdir={straight}")
    run_mode(SILENT, *common, f"--workdir={broken}")
    for step in (1, 3):
        run_mode(SILENT, *common, f"--resume={step}", f"--workdir={broken}")
        for one, other in zip(history(straight), history(broken), strict=True):
            for name in ("step", "phase", "train_loss", "val_auc", "val_loss"):
                assert one[name] == other[name], (step, name)


@pytest.mark.slow
def test_weights_go_to_a_run_at_another_pileup(trained, tmp_path):
    run_mode(
        SILENT,
        *SMALL,
        "--iterations=1",
        "--round_iterations=1",
        f"--voxdyn={trained / 'voxels.npz'}",
        f"--init_from={trained}",
        f"--workdir={tmp_path}",
    )
    assert [entry["phase"] for entry in history(tmp_path)] == ["edges"]


@pytest.mark.slow
def test_the_whole_run_ends_with_a_report_and_without_a_transformer_too(tmp_path):
    steps = ["--iterations=1", "--round_iterations=1", "--cluster=jaccard"]
    run(*SMALL, *steps, "--rfactor=0.2", f"--workdir={tmp_path}")
    found = json.loads((tmp_path / "report/report.json").read_text())["numbers"]
    assert found["headline"]["clustering"] == "jaccard"
    assert "transformer" not in found["clusterings"]
    assert found["joint_step"] is None
    assert (tmp_path / "report/figures/event_0.png").is_file()


def test_a_folder_of_csv_files_is_checked_and_converted(tmp_path, capsys):
    event = open_events().read(1)
    write_event(tmp_path / "csv", event, particle_type=False)
    common = ["--mode=prepare", f"--data={tmp_path / 'csv'}"]
    run(*common, "--check_only")
    assert f"1 events, {event.num_hits} hits" in capsys.readouterr().out
    run(*common, f"--output={tmp_path / 'compact'}")
    again = open_events(tmp_path / "compact").read(1)
    np.testing.assert_allclose(again.position, event.position, atol=1e-2)


def test_unseen_events_are_evaluated_whole_and_all_of_them():
    config = Config(rfactor_end=0.5, report_events=1)
    parts = data.Parts(
        (),
        data.Chosen(open_events(), np.arange(3), "a"),
        data.Chosen(open_events(), np.array([44, 45]), "b"),
    )
    found = data.Data(parts, None, UNKNOWN, unseen=True)
    shown = experiment._as_they_are(config, app.Session(), parts)
    events = data.reported_events(shown, parts.val)
    assert [e.num_hits for e in events] == [
        open_events().read(n).num_hits for n in (44, 45)
    ]
    words = experiment._source(shown, found, 2)
    assert words == "2 unseen events of b, whole events, their own noise"
    asked = app.Session(flags=frozenset({"report_events"}))
    assert experiment._as_they_are(config, asked, parts).report_events == 1
