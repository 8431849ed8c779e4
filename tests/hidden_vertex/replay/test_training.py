"""Recorded training steps and whole runs are reproduced, other settings too."""

import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import Golden, read
from jaxphys.equivalence.replay import replay
from jaxphys.hidden_vertex.replay import training as r

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/hidden_vertex"
FILES = sorted(FOLDER.glob("train*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


def with_config(stem, **changes):
    golden = read(FOLDER / f"{stem}.npz")
    meta = {**golden.meta, "config": {**golden.config, **changes}}
    return Golden(golden.path, meta, golden.params, golden.inputs, golden.outputs)


def test_patience_decides_when_a_run_stops():
    found = r.replay_train_loop(with_config("train_loop__early_stop", patience=1))
    assert found["stopped"] == 1
    assert found["epochs_run"] == 6  # the recorded losses rise first in the sixth
    assert found["best_epoch"] == 4
    long = r.replay_train_loop(with_config("train_loop__early_stop", epochs=3))
    assert (long["stopped"], long["epochs_run"], long["best_epoch"]) == (0, 3, 2)
    np.testing.assert_array_equal(
        long["param_after/fc_encode.bias"], long["best_param/fc_encode.bias"]
    )


def test_no_dropout_needs_no_masks():
    golden = with_config("../hidden_vertex/node_autoencoder__train_pt_only", dropout=0)
    inputs = {k: v for k, v in golden.inputs.items() if not k.startswith("keep/")}
    inputs["batch_order"] = inputs["batch_order"][:1]
    bare = Golden(golden.path, golden.meta, golden.params, inputs, golden.outputs)
    assert np.isfinite(r.replay_node_train(bare)["loss"]).all()
