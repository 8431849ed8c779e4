"""Recorded networks and training steps of the original are reproduced."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay
from jaxphys.gdynet.replay.model import replay_train_step

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/gdynet"
CASES = ("gaussian_expansion", "forward_vanilla", "forward_ferro", "train_step")
FILES = sorted(p for c in CASES for p in FOLDER.glob(f"{c}__*.npz"))


QUICK = (
    "gaussian_expansion__default",
    "forward_ferro__base",
    "forward_vanilla__one_atom_eval",
)


def marked(path):
    return pytest.param(
        path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow
    )


@pytest.mark.parametrize("path", [marked(path) for path in FILES])
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_every_case_has_a_recorded_file():
    assert {read(path).meta["case"] for path in FILES} == set(CASES)


@pytest.mark.slow
def test_recorded_steps_tell_other_settings_apart():
    golden = read(FOLDER / "train_step__vanilla_vamp2_f64.npz")
    config = {**golden.config, "learning_rate": 2e-3}
    other = dataclasses.replace(golden, meta={**golden.meta, "config": config})
    name = "param_after/lobe_t/fc_state.weight"
    assert np.abs(replay_train_step(other)[name] - golden.outputs[name]).max() > 1e-4
