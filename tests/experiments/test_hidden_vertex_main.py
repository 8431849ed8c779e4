"""A run of the anomaly detector from the command line to its report, in every mode."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import jaxphys
from experiments.hidden_vertex.experiment import EXPERIMENT
from tests.experiments.commands import check_weights, run_mode
from tests.hidden_vertex.samples import lhco_rows, write_lhco

SMALL = [
    "--model=conditional",
    "--batch_size=16",
    "--epochs=2",
    "--workers=1",
    "--top_k=10",
    "--plain_log",
    "--mesh=data:1",
]


def run(*arguments):
    return run_mode(EXPERIMENT, *arguments)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """120 rows, a fifth of them signal, rows 7 and 50 without particles."""
    sizes = np.random.default_rng(3).integers(5, 40, 120)
    sizes[[7, 50]] = 0
    return write_lhco(tmp_path_factory.mktemp("data") / "events.h5", lhco_rows(sizes))


@pytest.fixture(scope="module")
def trained(events, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(*SMALL, f"--workdir={folder}", f"--data={events}")
    return folder


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_best_weights_are_loaded_and_named(trained):
    check_weights(trained, "val_loss", "min")


def test_training_leaves_report_scores_and_metrics(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"checkpoints", "metrics.jsonl", "report", "network.json"} <= names
    assert "score_statistics.npz" in names
    text = (trained / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in text]
    assert [line["round"] for line in lines] == [1, 2]
    assert {"input_wait", "train_grad_norm", "train_clipped", "code_spread"} <= set(
        lines[0]
    )
    numbers = report_of(trained / "report")["numbers"]
    assert 0 < numbers["auc"] < 1
    assert (trained / "report/report.html").stat().st_size > 10_000
    assert (trained / "report/top_anomalies.csv").is_file()


def test_rows_without_particles_are_counted_in_the_report(trained):
    text = (trained / "report/report.json").read_text()
    assert '"rows without particles (left out)": 2' in text


def test_evaluation_repeats_the_report_of_the_training(trained, tmp_path):
    run("--mode=evaluate", f"--workdir={trained}", f"--output={tmp_path}")
    before, after = report_of(trained / "report"), report_of(tmp_path)
    for name in ("auc", "scores", "validation", "top_events"):
        assert before["numbers"][name] == after["numbers"][name]


def test_prediction_has_a_row_per_event_with_the_number_of_its_row(
    trained, events, tmp_path
):
    output = tmp_path / "scores.parquet"
    run(
        "--mode=predict",
        f"--workdir={trained}",
        f"--data={events}",
        f"--output={output}",
    )
    table = pq.read_table(output)
    ids = table["event_id"].to_numpy()
    assert ids.tolist() == [row for row in range(120) if row not in (7, 50)]
    assert len(table["code"][0].as_py()) == 12
    assert np.isfinite(table["score_combined"].to_numpy()).all()
    np.testing.assert_array_equal(table["score"], table["score_combined"])
    scored = jaxphys.load_run(trained).predict(events)
    np.testing.assert_allclose(scored.score, table["score"].to_numpy(), rtol=1e-6)


def test_prediction_takes_rows_without_labels_and_training_refuses_them(
    trained, tmp_path
):
    rows = lhco_rows([8, 12, 20, 9], seed=5)[:, :-1]
    path = write_lhco(tmp_path / "unlabelled.h5", rows)
    output = tmp_path / "scores.parquet"
    run(
        "--mode=predict", f"--workdir={trained}", f"--data={path}", f"--output={output}"
    )
    assert "label" not in pq.read_table(output).column_names
    with pytest.raises(ValueError, match="label"):
        run(*SMALL, f"--workdir={tmp_path / 'run'}", f"--data={path}")


@pytest.mark.slow
def test_training_goes_on_from_a_checkpoint_to_the_same_weights(events, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    common = [*SMALL[:2], *SMALL[3:], f"--data={events}"]
    run(*common, "--epochs=4", f"--workdir={straight}")
    run(*common, "--epochs=2", f"--workdir={broken}")
    run(*common, "--epochs=4", f"--workdir={broken}")
    one, other = (jaxphys.load_run(folder) for folder in (straight, broken))
    assert one.metadata["step"] == other.metadata["step"]
    for a, b in zip(
        np.concatenate([np.ravel(x) for x in _leaves(one.params)]),
        np.concatenate([np.ravel(x) for x in _leaves(other.params)]),
        strict=True,
    ):
        assert a == b


def _leaves(tree):
    import jax

    return jax.tree.leaves(tree)


def test_store_made_for_other_graphs_is_refused_with_the_flag(events, tmp_path):
    store = tmp_path / "store"
    run(
        "--mode=prepare",
        "--model=seed",
        f"--data={events}",
        f"--output={store}",
        "--workers=1",
    )
    with pytest.raises(ValueError, match="--contents=jets"):
        run(*SMALL, f"--workdir={tmp_path / 'a'}", f"--data={store}")
    with pytest.raises(ValueError, match="--k=4"):
        run(
            *SMALL,
            "--model=seed",
            "--k=4",
            f"--workdir={tmp_path / 'b'}",
            f"--data={store}",
        )


def test_check_only_keeps_nothing(events, tmp_path, capsys):
    run("--mode=prepare", f"--data={events}", "--check_only", "--workers=1")
    assert "118 events" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model=seed",),
        ("--model=seed", "--loss=chamfer"),
        ("--model=node", "--injection_test", "--chamfer_max_nodes=64"),
        ("--model=conditional", "--view=gcn"),
        ("--model=conditional", "--view=event"),
    ],
    ids=lambda a: "_".join(a).replace("--", ""),
)
@pytest.mark.slow
def test_every_model_runs_from_data_to_report(events, tmp_path, arguments):
    run(*SMALL, *arguments, f"--workdir={tmp_path}", f"--data={events}")
    numbers = report_of(tmp_path / "report")["numbers"]
    assert np.isfinite(numbers["auc"])
    if "--model=seed" in arguments and len(arguments) == 1:
        assert numbers["validation"]["val_loss"] > numbers["validation"]["floor"]


@pytest.mark.slow
def test_signal_in_training_is_refused_unless_asked_for(events, tmp_path):
    run(
        *SMALL,
        "--contamination=0.05",
        f"--workdir={tmp_path / 'mixed'}",
        f"--data={events}",
    )
    text = (tmp_path / "mixed/report/report.json").read_text()
    assert "signal events on purpose" in text


def test_run_goes_on_with_its_own_events_only(trained, tmp_path):
    other = write_lhco(tmp_path / "events.h5", lhco_rows([9, 12, 30] * 40, seed=8))
    with pytest.raises(ValueError, match="was begun with other data"):
        run(*SMALL, "--epochs=3", f"--workdir={trained}", f"--data={other}")


def test_files_of_one_name_are_scored_apart(trained, tmp_path):
    scores = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = lhco_rows([20, 30], seed=number)
        path = write_lhco(folder / "same.h5", rows, compression="none")
        output = folder / "p.parquet"
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={path}",
            f"--output={output}",
        )
        scores.append(pq.read_table(output)["score"].to_numpy())
    assert np.all(scores[0] != scores[1])


def test_prediction_never_overwrites_its_input(trained, events):
    with pytest.raises(ValueError, match=r"expected a \.parquet"):
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={events}",
            f"--output={events}",
        )


def test_damaged_store_is_refused(events, tmp_path):
    store = tmp_path / "store"
    run("--mode=prepare", f"--data={events}", f"--output={store}", "--workers=1")
    path = store / "jets.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="checksum"):
        run(*SMALL, f"--workdir={tmp_path / 'run'}", f"--data={store}")


@pytest.mark.slow
def test_best_checkpoint_can_be_resumed(events, tmp_path):
    common = [*SMALL, f"--workdir={tmp_path}", f"--data={events}"]
    run(*common)
    run(*common, "--resume=best", "--epochs=3")
    text = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(text[-1])["round"] == 3
