"""A run of the dynamical network from the command line to its report."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import jaxphys
from experiments.gdynet.experiment import EXPERIMENT
from tests.experiments.commands import check_weights, run_mode

SMALL = [
    "--case=B",
    "--model_type=gdynet_ferro",
    "--trajectories=12",
    "--frames=60",
    "--tau=2",
    "--train_fraction=0.7",
    "--val_fraction=0.3",
    "--state_len=2",
    "--atom_fea_len=4",
    "--num_gaussians=4",
    "--n_conv=1",
    "--batch_size=64",
    "--ck_steps=3",
    "--n_bootstrap=5",
    "--plain_log",
    "--mesh=data:1",
]


def run(*arguments):
    return run_mode(EXPERIMENT, *arguments)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    run("--mode=simulate", *SMALL, f"--output={folder}")
    return folder


@pytest.fixture(scope="module")
def trained(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(*SMALL, "--epochs=1", f"--data={frames}", f"--workdir={folder}")
    return folder


def history(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in text]


def test_the_best_weights_are_loaded_and_named(trained):
    check_weights(trained, "val_vamp2_full", "max")


def test_training_leaves_report_metrics_and_predictions(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"checkpoints", "metrics.json", "report", "network.json"} <= names
    assert (trained / "report/report.html").stat().st_size > 10_000
    assert [e["phase"] for e in history(trained)] == ["vamp2", "vamp1", "vamp2"]
    found = json.loads((trained / "metrics.json").read_text())
    assert found["epochs"] == [1, 2, 3]
    assert found["loss_types"] == ["vamp2", "vamp1", "vamp2"]
    assert all(len(column) == 3 for column in found.values())
    assert found["train_losses_last"][0] == history(trained)[0]["train_loss_last"]
    p = np.load(trained / "predictions/gdynet_ferro_predictions.npy")
    assert p.shape == (720, 8, 2)


def test_loss_of_the_original_phase_is_small_and_metrics_are_the_scores(trained):
    entries = history(trained)
    assert abs(entries[1]["train_loss"]) < 0.01 * abs(entries[0]["train_loss"])
    for entry in entries:
        assert -1e-6 <= entry["val_vamp2_full"] <= 1 + 1e-3


@pytest.mark.slow
def test_run_resumes_in_the_middle_of_every_phase_to_the_same_numbers(frames, tmp_path):
    common = [*SMALL, "--epochs=2", f"--data={frames}"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(*common, f"--workdir={straight}")
    run(*common, f"--workdir={broken}")
    for epoch in (1, 3, 5):  # one of the two epochs of every phase
        run(*common, f"--resume={epoch}", f"--workdir={broken}")
        for one, other in zip(history(straight), history(broken), strict=True):
            for name in ("step", "round", "phase", "train_loss", "val_vamp2_full"):
                assert one[name] == other[name], (epoch, name)
        a, b = (jaxphys.load_run(folder) for folder in (straight, broken))
        for x, y in zip(leaves(a.variables), leaves(b.variables), strict=True):
            np.testing.assert_array_equal(x, y)


def leaves(tree):
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.slow
def test_longer_schedule_extends_a_finished_run_as_one_long_run(frames, tmp_path):
    common = [*SMALL, "--epochs=1", f"--data={frames}"]
    long, grown = tmp_path / "long", tmp_path / "grown"
    run(*common, "--loss_schedule=vamp2,vamp1", f"--workdir={long}")
    run(*common, "--loss_schedule=vamp2", f"--workdir={grown}")
    run(*common, "--loss_schedule=vamp2,vamp1", f"--workdir={grown}")
    assert [e["phase"] for e in history(grown)] == ["vamp2", "vamp1"]
    assert history(grown)[1]["train_loss"] == history(long)[1]["train_loss"]


def test_schedule_that_differs_where_it_was_trained_is_refused(trained):
    with pytest.raises(ValueError, match="Loss schedule mismatch"):
        run("--loss_schedule=vamp1,vamp1,vamp2", f"--workdir={trained}")


def test_finished_run_says_so_and_trains_nothing(trained, capsys):
    before = (trained / "metrics.jsonl").read_text()
    run(f"--workdir={trained}")
    assert "the run was finished before" in capsys.readouterr().out
    assert (trained / "metrics.jsonl").read_text() == before


def test_evaluation_repeats_the_analysis_with_other_settings(trained, tmp_path):
    run(
        "--mode=evaluate",
        f"--workdir={trained}",
        f"--output={tmp_path}",
        "--lags=1,2,3",
        "--analysis_data=test",
    )
    assert (tmp_path / "report.html").is_file()


def test_prediction_has_a_row_per_frame_and_target(trained, frames, tmp_path):
    output = tmp_path / "p.parquet"
    run(
        "--mode=predict",
        f"--workdir={trained}",
        f"--data={frames}",
        f"--output={output}",
    )
    table = pq.read_table(output)
    assert table.num_rows == 12 * 60 * 8
    whole = np.load(trained / "predictions/gdynet_ferro_predictions.npy")
    np.testing.assert_allclose(
        table["p_0"].to_numpy(), whole[:, :, 0].reshape(-1), rtol=1e-6
    )


@pytest.mark.slow
def test_weights_go_to_another_run_and_other_states_are_drawn_anew(
    trained, frames, tmp_path, capsys
):
    run(
        *SMALL,
        "--epochs=1",
        "--loss_schedule=vamp2",
        "--state_len=3",
        f"--data={frames}",
        f"--init_from={trained}",
        f"--workdir={tmp_path}",
    )
    assert "fc_state is drawn anew" in capsys.readouterr().err
    assert history(tmp_path)[0]["round"] == 1


def test_export_writes_program_and_state_dicts(trained, tmp_path):
    run("--mode=export", f"--workdir={trained}", f"--output={tmp_path}")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "lobe_0.stablehlo",
        "lobe_0_state_dict.npz",
        "lobe_t_state_dict.npz",
    }


def test_data_is_validated_without_training(frames, capsys):
    run(
        "--mode=prepare",
        "--check_only",
        "--model_type=gdynet_ferro",
        f"--data={frames}",
        "--tau=2",
    )
    assert "12 trajectories" in capsys.readouterr().out


def test_a_folder_that_is_no_case_of_ours_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.npy").write_text("frames")
    with pytest.raises(ValueError, match="is not empty, and no case of ours"):
        run(*SMALL, f"--workdir={tmp_path}")
    assert (tmp_path / "data" / "mine.npy").read_text() == "frames"
