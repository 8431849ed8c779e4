"""A run from the command line to its report, in every mode."""

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

import jaxphys
from experiments.track_extrapolator.config import Config
from experiments.track_extrapolator.experiment import EXPERIMENT
from jaxphys.command_line import parse_command_line
from jaxphys.track_extrapolator.inference.export import binary
from jaxphys.training import app
from tests.experiments.commands import check_weights, run_mode

SMALL = [
    "--samples=600",
    "--model=tiny",
    "--epochs=2",
    "--batch_size=64",
    "--eval_every=1 rounds",
    "--report_jacobians=0",
    "--report_batches=1",
    "--plain_log",
    "--mesh=data:1",
]


def run(*arguments):
    return run_mode(EXPERIMENT, *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(*SMALL, f"--workdir={folder}")
    return folder


def numbers_of(folder):
    return json.loads((folder / "report.json").read_text())["numbers"]


def numbers(folder):
    return numbers_of(folder)["network"]


def test_the_best_weights_are_loaded_and_named(trained):
    check_weights(trained, "val_loss", "min")


def test_training_leaves_report_model_and_metrics(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.flags", "checkpoints", "metrics.jsonl", "report"} <= names
    lines = [
        json.loads(x) for x in (trained / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["round"] for line in lines] == [1, 2]
    assert lines[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)
    assert numbers(trained / "report")["pos_mean"] > 0
    metadata = json.loads((trained / "report/track_mlp_metadata.json").read_text())
    assert metadata["training"]["train_samples"] == 510
    assert metadata["architecture"] == [32, 32]


def test_evaluation_repeats_the_report_of_the_training(trained, tmp_path):
    run("--mode=evaluate", f"--workdir={trained}", f"--output={tmp_path / 'again'}")
    before, after = numbers(trained / "report"), numbers(tmp_path / "again")
    for name in ("pos_mean", "pos_p95", "slope_mean", "total_params"):
        assert before[name] == after[name]


def test_evaluation_on_given_data_uses_all_of_it(trained, tmp_path, capsys):
    all_of_it = [
        "--mode=evaluate",
        f"--workdir={trained}",
        f"--data={trained / 'data'}",
        f"--output={tmp_path / 'all'}",
    ]
    with pytest.raises(ValueError, match="was trained on these data"):
        run(*all_of_it)
    run(*all_of_it, "--allow_training_data")
    assert "not an unbiased figure" in capsys.readouterr().err
    content = json.loads((tmp_path / "all/track_mlp_metadata.json").read_text())
    assert content["training"]["test_samples"] == 600


def test_run_in_python_reports_and_evaluates_as_the_command_does(trained, tmp_path):
    run_of = jaxphys.load_run(trained)
    assert run_of.config.samples == 600
    assert [entry["round"] for entry in run_of.history] == [1, 2]
    again = run_of.report(tmp_path / "again")["numbers"]["network"]
    assert again["pos_mean"] == numbers(trained / "report")["pos_mean"]
    run(
        "--mode=simulate", "--samples=50", "--data_seed=5", f"--output={tmp_path / 'b'}"
    )
    other = run_of.evaluate(tmp_path / "b")["numbers"]
    assert other["network"]["tracks"] == 50
    assert (trained / "evaluation" / "report.html").is_file()
    with pytest.raises(ValueError, match="was trained on these data"):
        run_of.evaluate(trained / "data")
    with pytest.raises(ValueError, match="--learning_rate: was"):
        run_of.report(tmp_path / "c", learning_rate=0.5)


def test_published_errors_stand_beside_the_own_distribution_only(trained, tmp_path):
    assert numbers_of(trained / "report")["published"]
    own = ["--data=" + str(trained / "data"), f"--workdir={tmp_path}"]
    run(*[flag for flag in SMALL if "samples" not in flag], *own)
    assert numbers_of(tmp_path / "report")["published"] == []


def test_prediction_file_equals_load_run(trained, tmp_path):
    states = np.load(trained / "data/X_train.npy")
    output = tmp_path / "out.parquet"
    run(
        "--mode=predict",
        f"--workdir={trained}",
        f"--data={trained / 'data/X_train.npy'}",
        f"--output={output}",
    )
    table = pyarrow.parquet.read_table(output)
    expected = jaxphys.load_run(trained).predict(states[:, :5].astype(np.float64))
    names = ["x_out", "y_out", "tx_out", "ty_out", "ok", "in_range"]
    assert table.column_names == names
    assert table["in_range"].to_numpy()[:510].all()
    np.testing.assert_array_equal(table["x_out"].to_numpy(), expected[:, 0])
    np.testing.assert_array_equal(table["ty_out"].to_numpy(), expected[:, 3])


def test_exported_file_is_the_trained_network(trained, tmp_path):
    run("--mode=export", f"--workdir={trained}", f"--output={tmp_path}")
    again = binary.read(tmp_path / "track_mlp.bin")
    state = np.array([[10.0, 20.0, 0.1, -0.1, 2e-4]])
    expected = jaxphys.load_run(trained).predict(state)
    np.testing.assert_array_equal(again.predict(state), expected)
    trained_file = binary.read(trained / "track_mlp.bin")
    np.testing.assert_array_equal(trained_file.predict(state), expected)


def test_a_form_that_cannot_hold_the_network_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="absolute"):
        run("--mode=export", f"--workdir={trained}", "--formats=A")


def test_the_same_command_on_a_finished_run_changes_no_weight(trained):
    state = np.array([[10.0, 20.0, 0.1, -0.1, 2e-4]])
    before = jaxphys.load_run(trained).predict(state)
    metrics = (trained / "metrics.jsonl").read_text()
    run(*SMALL, f"--workdir={trained}")
    np.testing.assert_array_equal(jaxphys.load_run(trained).predict(state), before)
    assert (trained / "metrics.jsonl").read_text() == metrics


def test_weights_of_another_run_or_file_start_a_run(trained, tmp_path):
    still = [*SMALL[:2], "--epochs=0", *SMALL[3:]]
    run(*still, f"--workdir={tmp_path / 'a'}", f"--init_from={trained}")
    state = np.array([[10.0, 20.0, 0.1, -0.1, 2e-4]])
    expected = jaxphys.load_run(trained).predict(state)
    np.testing.assert_array_equal(
        jaxphys.load_run(tmp_path / "a").predict(state), expected
    )
    run(
        *still,
        f"--workdir={tmp_path / 'b'}",
        f"--import_bin={trained / 'track_mlp.bin'}",
    )
    np.testing.assert_array_equal(
        jaxphys.load_run(tmp_path / "b").predict(state), expected
    )
    wrong = [*still, "--model=small"]
    with pytest.raises(ValueError, match="--hidden is"):
        run(*wrong, f"--workdir={tmp_path / 'c'}", f"--init_from={trained}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((3, 4)), r"states.npy: expected \[N, 5\] or \[N, 6\]"),
        (np.array([[1, 2, 3, 4, 5.0], [1, np.nan, 3, 4, 5]]), "states.npy: row 1"),
    ],
)
def test_bad_states_are_named(trained, tmp_path, content, message):
    np.save(tmp_path / "states.npy", content)
    with pytest.raises(ValueError, match=message):
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={tmp_path / 'states.npy'}",
        )


def test_truncated_states_are_named(trained, tmp_path):
    path = tmp_path / "states.npy"
    np.save(path, np.ones((100, 5)))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"states.npy: row 87: the file ends here"):
        run("--mode=predict", f"--workdir={trained}", f"--data={path}")


def test_table_without_a_column_is_named(trained, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text("x,y,tx,ty\n1,2,3,4\n")
    with pytest.raises(ValueError, match="columns missing: qop"):
        run("--mode=predict", f"--workdir={trained}", f"--data={path}")
    path.write_text("x,y,tx,ty,qop\n1,2,0.1,0.2,1e-4\n")
    out = tmp_path / "o.parquet"
    run("--mode=predict", f"--workdir={trained}", f"--data={path}", f"--output={out}")
    assert pyarrow.parquet.read_table(out).num_rows == 1


def test_prediction_between_other_planes_is_refused(trained, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text("x,y,tx,ty,qop,z_in,dz\n1,2,0.1,0.2,1e-4,3000,5000\n")
    with pytest.raises(ValueError, match=r"row 0: dz is 5000.0 mm.* trained at 4000"):
        run("--mode=predict", f"--workdir={trained}", f"--data={path}")
    np.save(tmp_path / "six.npy", [[1, 2, 0.1, 0.2, 1e-4, 4000], [1, 2, 0, 0, 1e-4, 5]])
    with pytest.raises(ValueError, match=r"six.npy: row 1: dz is 5.0 mm"):
        run("--mode=predict", f"--workdir={trained}", f"--data={tmp_path / 'six.npy'}")


def test_tracks_unlike_the_training_are_flagged_and_columns_kept(trained, tmp_path):
    path, out = tmp_path / "states.csv", tmp_path / "out.csv"
    path.write_text(
        "event,x,y,tx,ty,qop\n7,1,2,0.1,0.2,1e-4\n8,1,2,0.1,0.2,1e-3\n"
        "9,4000,2,0.1,0.2,-1e-4\n"
    )
    run("--mode=predict", f"--workdir={trained}", f"--data={path}", f"--output={out}")
    table = pyarrow.csv.read_csv(out)
    assert table["event"].to_pylist() == [7, 8, 9]
    assert table["in_range"].to_pylist() == [True, False, False]


def test_output_of_another_kind_is_refused(trained, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text("x,y,tx,ty,qop\n1,2,0.1,0.2,1e-4\n")
    with pytest.raises(ValueError, match=r"expected a .parquet or .csv file"):
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={path}",
            f"--output={tmp_path / 'out.root'}",
        )


def test_a_parquet_file_of_ones_own_can_be_evaluated(trained, tmp_path):
    table = pyarrow.parquet.read_table(
        trained / "data/train-00000-of-00001.parquet"
    ).slice(100, 40)
    path = tmp_path / "own.parquet"
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), path)
    run(
        "--mode=evaluate",
        f"--workdir={trained}",
        f"--data={path}",
        f"--output={tmp_path / 'own'}",
    )
    content = json.loads((tmp_path / "own/track_mlp_metadata.json").read_text())
    assert content["training"]["test_samples"] == 40
    report = json.loads((tmp_path / "own/report.json").read_text())
    assert report["numbers"]["published"] == []


def test_data_that_cannot_hold_the_truth_is_refused(trained):
    with pytest.raises(ValueError, match="expected a folder with the data set"):
        run(
            "--mode=evaluate",
            f"--workdir={trained}",
            f"--data={trained / 'data/X_train.npy'}",
        )


def test_a_mode_that_needs_a_run_says_so(tmp_path):
    with pytest.raises(ValueError, match="no run there"):
        run("--mode=evaluate", f"--workdir={tmp_path}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--jacobian_weight=0.1", "--ema_decay=0.9", "--grad_clip_norm=1"],
        ["--momentum_weight=0.5", "--schedule=linear"],
        ["--online_data", "--optimizer=muon", "--learning_rate=0.05"],
        ["--dz_mode=uniform", "--schedule=plateau", "--patience=1"],
        ["--precision=float64", "--parametrisation=born"],
        ["--precision=bfloat16", "--device_data=false"],
        ["--parametrisation=map", "--approximate_field=gauss_fit"],
        ["--loss=raw", "--parametrisation=absolute", "--use_dz", "--activation=tanh"],
    ],
    ids=lambda flags: flags[0].strip("-"),
)
def test_every_recipe_trains_and_learns(flags, tmp_path):
    longer = [flag for flag in SMALL if "epochs" not in flag]
    try:
        app.start_devices(parse_command_line(Config, flags))
        run(
            *longer,
            "--epochs=12",
            "--learning_rate=0.01",
            *flags,
            f"--workdir={tmp_path}",
        )
    finally:
        app.start_devices(Config())
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["val_loss"] for line in lines]
    assert len(losses) == 12
    assert min(losses) < 0.7 * losses[0]
    states = np.array([[10.0, 20.0, 0.1, -0.1, 2e-4], [0.0, 0.0, 0.0, 0.0, -1e-4]])
    assert np.isfinite(jaxphys.load_run(tmp_path).predict(states)).all()
