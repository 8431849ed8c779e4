"""Recorded weights, losses and steps, and that a wrong one is noticed."""

import dataclasses

import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read
from jaxphys.equivalence.replay import replay
from jaxphys.hypertrack.replay.nets import CASES, track_of_hits

pytestmark = pytest.mark.slow  # compiles whole steps

FILES = [
    "gnn_forward__one_node",
    "gnn_forward__small_sum_relu",
    "gnn_forward__small_symmetrized",
    "cluster_forward__small",
    "cluster_forward__nomask",
    "losses__cluster_default",
    "losses__cluster_bce_weights_major_dice",
    "losses__cluster_hinge_jaccard",
    "losses__edge_default",
    "losses__edge_focal2_nobalance_noself",
    "train_step__small_batch2_adam_cos",
]


@pytest.mark.parametrize("name", ["losses__edge_default", "cluster_forward__nomask"])
def test_a_changed_input_is_noticed(name, golden_dir):
    golden = read(golden_dir("hypertrack") / f"{name}.npz")
    key = "edge_logits" if name.startswith("losses") else "X"
    changed = {**golden.inputs, key: golden.inputs[key] * np.float32(1.01)}
    other = dataclasses.replace(golden, inputs=changed)
    rows = compare(golden, CASES[golden.meta["case"]].replay(other), {})
    assert any(not row.ok for row in rows)


@pytest.mark.parametrize("name", FILES)
def test_recorded_numbers_are_replayed(name, golden_dir):
    golden = read(golden_dir("hypertrack") / f"{name}.npz")
    rows = replay(golden)
    assert [row for row in rows if not row.ok] == []


def test_hits_know_their_tracks():
    x_ind = np.array([[3, 0, -1], [2, -1, -1]])
    np.testing.assert_array_equal(track_of_hits(x_ind, 5), [0, -1, 1, 0, -1])
