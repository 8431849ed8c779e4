"""A run of the muon generator from the command line to its report."""

import dataclasses
import json
from typing import cast

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

import jaxphys
from experiments.cr_muons import data
from experiments.cr_muons.config import Config
from experiments.cr_muons.experiment import EXPERIMENT
from jaxphys.cr_muons.data.event_files import read_events
from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.schema import row_showers
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import make_events
from jaxphys.training.checkpoint import Checkpointer
from tests.cr_muons.samples import assert_same
from tests.experiments.commands import check_weights, run_mode

SMALL = [
    "--n_showers=300",
    "--n_depths=4",
    "--batch_size=128",
    "--val_fraction=0.2",
    "--val_events=200",
    "--eval_every=4 steps",
    "--hidden_dim=16",
    "--latent_dim_global=3",
    "--latent_dim_local=2",
    "--feature_norm=log_radius",
    "--multiplicity=negative_binomial",
    "--critic_pooling=meanmaxsum",
    "--score_head=none",
    "--gp_mode=event",
    "--gen_ema_decay=0.9",
    "--shuffle",
    "--report_events=1000",
    "--no_baseline",
    "--plain_log",
    "--mesh=data:1",
]
SMALL = [flag.replace("--no_", "--no") for flag in SMALL]


def run(*arguments):
    return run_mode(EXPERIMENT, *arguments)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("muons") / "events"
    run("--mode=simulate", *SMALL, f"--output={folder}")
    return folder


@pytest.fixture(scope="module")
def trained(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(*SMALL, f"--data={simulated}", f"--workdir={folder}")
    return folder


def history(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in text]


def weights(folder):
    state, _ = Checkpointer(folder / "checkpoints", read_only=True).read_latest()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_the_best_weights_are_loaded_and_named(trained):
    check_weights(trained, "val_w1_sum", "min")


def test_training_leaves_a_report_with_the_closure_table(trained):
    numbers = json.loads((trained / "report/report.json").read_text())["numbers"]
    assert set(numbers["values"]) >= {"w1_n", "w1_logE", "w1_logr", "fano_pooled"}
    assert all(
        0 < numbers["values"][name] < 1 for name in ("w1_n", "w1_logE", "w1_logr")
    )
    entries = history(trained)
    assert [entry["step"] for entry in entries] == [4, 8]
    for name in ("train_c_loss", "train_g_loss", "train_m_loss", "train_w_gap"):
        assert all(np.isfinite(entry[name]) for entry in entries)
    sums = [entry["val_w1_n"] + entry["val_w1_logE"] for entry in entries]
    assert all(e["val_w1_sum"] > s for e, s in zip(entries, sums, strict=True))


def test_every_event_is_trained_on_once_in_an_epoch(trained, simulated):
    kept = len(read_events(str(simulated)))
    facts = json.loads((trained / "report/report.json").read_text())["numbers"]["data"]
    assert facts["events"] == kept == 1200
    assert 0.7 * kept < facts["kept"] < 0.9 * kept  # the rest validates


def test_finished_run_says_so_and_trains_nothing(trained, capsys):
    before = (trained / "metrics.jsonl").read_text()
    run(f"--workdir={trained}")
    assert "the run was finished before" in capsys.readouterr().out
    assert (trained / "metrics.jsonl").read_text() == before


def test_other_events_are_refused_on_resume(trained, tmp_path):
    other = tmp_path / "other"
    run("--mode=simulate", *SMALL, "--data_seed=9", f"--output={other}")
    with pytest.raises(ValueError, match="was begun with other data"):
        run(f"--workdir={trained}", f"--data={other}")


def test_bundles_are_predicted_for_a_table_of_primaries(trained, simulated, tmp_path):
    files = sorted(simulated.glob("*.parquet"))
    flat, nested = tmp_path / "flat.parquet", tmp_path / "nested.parquet"
    common = ["--mode=predict", f"--workdir={trained}", f"--data={files[0]}"]
    constant = ["--counts_mode=constant", "--count_constant=2"]
    run(*common, *constant, f"--output={flat}")
    table = pq.read_table(flat)
    assert table.column_names == ["event_index", "E_GeV", "X_m", "Y_m"]
    number = np.bincount(table["event_index"].to_numpy())
    assert number.tolist() == [2] * 1200
    run(*common, "--output_schema=training", f"--output={nested}")
    events = read_events(str(nested))
    assert len(events) == 1200
    again = jaxphys.load_run(trained).predict(events.primaries)
    np.testing.assert_array_equal(again.num_muons, events.num_muons)


def test_prediction_does_not_overwrite_its_input(trained, simulated):
    path = sorted(simulated.glob("*.parquet"))[0]
    with pytest.raises(ValueError, match="is --data itself"):
        run(
            "--mode=predict",
            f"--workdir={trained}",
            f"--data={path}",
            f"--output={path}",
        )


def test_evaluation_takes_data_of_ones_own(trained, simulated, tmp_path):
    evaluate = ["--mode=evaluate", f"--workdir={trained}", f"--output={tmp_path}"]
    with pytest.raises(ValueError, match="was trained on these data"):
        run(*evaluate, f"--data={simulated}")
    other = tmp_path / "other"
    run("--mode=simulate", *SMALL, "--data_seed=9", f"--output={other}")
    run(*evaluate, f"--data={other}")
    assert (tmp_path / "report.html").is_file()


def test_files_are_validated_and_shown_without_training(simulated, capsys):
    run("--mode=prepare", "--check_only", f"--data={simulated}")
    text = capsys.readouterr().out
    assert "1200 events" in text
    assert "event 4: E " in text
    assert "event 5: E " not in text


def test_blocks_of_a_conversion_hold_whole_groups():
    assert data._steps(np.array([0, 3, 7])) == [0, 7]
    edges = np.array([0, 60_000, 120_000, 500_000, 500_001])
    assert data._steps(edges) == [0, 120_000, 500_000, 500_001]
    assert data._steps(edges[:-1]) == [0, 120_000, 500_000]


def test_truncated_file_among_good_ones_is_named_before_training(simulated, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    good = sorted(simulated.glob("*.parquet"))[0].read_bytes()
    (folder / "a.parquet").write_bytes(good)
    (folder / "b.parquet").write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"b\.parquet"):
        run(*SMALL, f"--data={folder}", f"--workdir={tmp_path / 'run'}")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.fixture
def spoiled(simulated, tmp_path):
    """Returns a file of 1,200 events; the mass of row 17 is not a number."""
    events = read_events(str(simulated))
    primaries = events.primaries.copy()
    primaries[17, 2] = np.nan
    numbers = events.num_muons, events.muons, events.showers
    return write_events(
        tmp_path / "spoiled.parquet", make_events(primaries, *numbers), 500
    )


@pytest.mark.parametrize("further", [["--check_only"], []])
def test_rows_with_impossible_numbers_are_not_valid(spoiled, tmp_path, further):
    flags = [f"--data={spoiled}", f"--output={tmp_path / 'o.parquet'}", *further]
    with pytest.raises(ValueError, match="row 17, column primary, mass"):
        run("--mode=prepare", *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spoiled.parquet"]


def test_rows_with_impossible_numbers_are_written_beside(
    spoiled, simulated, tmp_path, capsys
):
    good = tmp_path / "good.parquet"
    flags = [f"--data={spoiled}", "--skip_bad_rows", f"--output={good}", "--plain_log"]
    run("--mode=prepare", *flags)
    assert "1 rows with impossible numbers" in capsys.readouterr().out
    kept = np.delete(np.arange(1200), 17)
    assert_same(read_events(str(good)), read_events(str(simulated)).select(kept))
    aside = pq.read_table(tmp_path / "good.bad_rows.parquet")
    assert aside["row"].to_pylist() == [17]
    flags[0] = f"--data={tmp_path}"  # which holds both now
    with pytest.raises(ValueError, match=r"good\.parquet is among --data"):
        run("--mode=prepare", *flags)


def test_rows_with_impossible_numbers_are_written_to_the_workdir(
    spoiled, tmp_path, capsys
):
    config = Config(workdir=str(tmp_path / "run"), data=str(spoiled), parts=1)
    with pytest.raises(ValueError, match="row 17, column primary, mass"):
        data.load(config)
    data.load(cast(Config, config.replace(skip_bad_rows=True)))
    written = pq.read_table(tmp_path / "run" / "bad_rows.parquet")
    assert written["row"].to_pylist() == [17]
    assert "1 rows with impossible numbers, written to" in capsys.readouterr().err


def test_folder_that_holds_something_else_is_not_simulated_into(tmp_path):
    (tmp_path / "mine.txt").write_text("text")
    with pytest.raises(ValueError, match="is not empty"):
        run("--mode=simulate", *SMALL, f"--output={tmp_path}")


def test_parts_must_divide_over_devices_and_passes():
    config = Config(workdir="w", parts=3, grad_accum_steps=2, mesh="data:1")
    with pytest.raises(ValueError, match="--parts=3"):
        data.with_parts(config)
    assert data.with_parts(cast(Config, config.replace(parts=0))).parts == 2


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="--rotate_output"):
        Config(rotate_output=True, feature_norm="log_radius")
    with pytest.raises(ValueError, match="given both"):
        Config(data="a", infiles=("b",))
    # a report never compares at the primaries of the training
    assert data.report_seed(Config(data_seed=5)) == 104


@pytest.mark.slow
def test_interrupted_run_ends_in_the_same_weights(simulated, tmp_path):
    common = [*SMALL, f"--data={simulated}", "--adaptive_critic", "--w_ma_low=1e9"]
    common += ["--best_by=classifier_auc"]
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(*common, "--checkpoint_every=3 steps", f"--workdir={straight}")
    run(*common, "--checkpoint_every=3 steps", f"--workdir={broken}")
    run("--resume=6", f"--workdir={broken}")
    for one, other in zip(weights(straight), weights(broken), strict=True):
        np.testing.assert_array_equal(one, other)
    areas = [entry["val_classifier_auc"] for entry in history(straight)]
    assert all(0.5 < area <= 1 for area in areas)  # after eight steps
    _, progress = Checkpointer(straight / "checkpoints", read_only=True).read_latest()
    assert progress.extra["best_value"] == min(areas)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["joint", "split"])
def test_recipes_of_the_original_run_with_gradient_passes(simulated, tmp_path, recipe):
    flags = [
        f"--data={simulated}",
        f"--workdir={tmp_path}",
        "--batch_size=128",
        "--val_fraction=0.2",
        "--val_events=200",
        "--eval_every=4 steps",
        "--report_events=1000",
        "--nobaseline",
        f"--train_recipe={recipe}",
        "--critic_steps=2",
        "--grad_accum_steps=2",
        "--mesh=data:1",
        "--plain_log",
    ]
    if recipe == "split":
        flags += ["--score_head=sqrt_tanh", "--optimizer=sgd", "--learning_rate=1e-5"]
    run(*flags)
    assert (tmp_path / "report/report.html").is_file()


def test_converted_files_without_showers_still_name_none(simulated, tmp_path):
    events = read_events(str(simulated))
    parts = [events.rows(0, 700), events.rows(700, 1200)]
    for number, part in enumerate(parts):
        rows = row_showers(0, len(part))
        write_events(
            tmp_path / f"{number}.parquet", dataclasses.replace(part, showers=rows)
        )
    output = f"--output={tmp_path / 'all.parquet'}"
    run("--mode=prepare", f"--data={tmp_path}", output, "--plain_log")
    (file,) = scan([str(tmp_path / "all.parquet")]).files
    assert not file.has_showers
    named = write_events(tmp_path / "1.parquet", parts[1])
    with pytest.raises(ValueError, match=f"names no showers, but {named} does"):
        run("--mode=prepare", f"--infiles={tmp_path}/0.parquet,{named}", output)
