"""Runs that an earlier state of the library made are read as it read them.

The folder `runs_724976f` holds what loading needs of a small run of each system, made
at that commit, and what it predicted then for the inputs of `old_runs`.
"""

import importlib
import pathlib
import tarfile

import numpy as np
import pytest

import jaxphys
from jaxphys.command_line import read_flagfile
from tests.experiments.old_runs import PREDICT

# what loading took then where nothing was asked for; elsewhere the best
WEIGHTS = {"gdynet": "last", "hypertrack": "last"}
FOLDER = pathlib.Path(__file__).parent / "runs_724976f"


@pytest.fixture(params=sorted(PREDICT))
def old(request, tmp_path):
    """Returns the name of a system and the folder of a run of it."""
    with tarfile.open(FOLDER / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path / "run", filter="data")
    return request.param, tmp_path / "run"


def test_old_run_is_loaded_and_predicts_what_it_did(old):
    system, folder = old
    weights = WEIGHTS.get(system, "best")
    run = jaxphys.load_run(folder, weights=weights)
    assert run.weights == weights
    found = PREDICT[system](run)
    with np.load(folder / "expected.npz") as expected:
        assert set(found) == set(expected.files)
        for name, values in found.items():
            # another processor rounds otherwise
            np.testing.assert_allclose(values, expected[name], rtol=2e-3, atol=1e-4)


def test_best_weights_of_an_old_run_are_found_where_it_kept_them(old):
    system, folder = old
    run = jaxphys.load_run(folder)
    assert run.weights == ("last" if system == "hypertrack" else "best")
    assert run.weights_step > 0


# flag of today -> value, of flags that had another name or meaning then
TRANSLATED = {
    "cr_muons": {"read_threads": 1},
    "gdynet": {"split_seed": 0},
    "hidden_vertex": {"grad_clip_norm": 1.0, "train_fraction": 0.7},
    "hypertrack": {"grad_clip_norm": 1.0},
    "track_extrapolator": {"data_seed": 0},
}


def test_flags_of_an_old_run_are_understood(old):
    system, folder = old
    config = importlib.import_module(f"experiments.{system}.config")
    flags = read_flagfile(config.Config, folder / "config.flags")
    assert flags.workdir
    for name, value in TRANSLATED[system].items():
        assert getattr(flags, name) == value, name


def test_draws_of_a_saved_run_that_are_others_now_are_told(capsys):
    kind = importlib.import_module("experiments.cr_muons.config").Config
    assert kind.translate({"seed": "0", "shuffle_seed": "42"}) == {"seed": "0"}
    assert capsys.readouterr().err == ""
    kind.translate({"seed": "1", "shuffle_seed": "42", "report_seed": "200"})
    said = capsys.readouterr().err
    assert "--shuffle_seed=42" in said
    assert "--report_seed=200" in said
