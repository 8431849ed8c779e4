"""Recorded scores and clusterings are reproduced."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read
from jaxphys.equivalence.replay import replay
from jaxphys.hypertrack.replay.tracks import (
    CASES,
    numbered_like,
    replay_metrics,
    track_of,
)

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/hypertrack"
FILES = sorted(p for case in CASES for p in FOLDER.glob(f"{case}__*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_file_replays(path):
    rows = replay(read(path))
    assert len(rows) >= 8
    assert [row for row in rows if not row.ok] == []


def test_files_are_there():
    assert len(FILES) == 6


def test_hits_know_their_track():
    x_ind = np.array([[3, 1, -1], [-1, -1, -1], [0, -1, -1]])
    assert track_of(x_ind, 5).tolist() == [2, 0, -1, 0, -1]


def test_equal_partitions_get_equal_numbers_and_others_stay():
    reference = np.array([0, 0, 1, -1, 2])
    assert numbered_like(np.array([5, 5, 2, -1, 9]), reference).tolist() == [
        0, 0, 1, -1, 2,
    ]  # fmt: skip
    for other in ([5, 5, 5, -1, 9], [5, 5, -1, 2, 9], [5, 4, 2, -1, 9], [1, 1, 2]):
        assert numbered_like(np.array(other), reference).tolist() == other


def test_a_changed_label_is_a_miss(golden_dir):
    golden = read(golden_dir("hypertrack") / "metrics__mixed.npz")
    labels = golden.inputs["labels_hat"].copy()
    labels[labels == 1] = -1
    changed = dataclasses.replace(
        golden, inputs={**golden.inputs, "labels_hat": labels}
    )
    missed = {
        row.name for row in compare(golden, replay_metrics(changed)) if not row.ok
    }
    assert {"dms", "efficiency", "passed"} <= missed
