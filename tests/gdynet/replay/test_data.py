"""Recorded data, errors and neighbours of the originals are reproduced."""

import json
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay
from jaxphys.gdynet.replay import data as replay_data

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/gdynet"
FILES = sorted(p for case in replay_data.CASES for p in FOLDER.glob(f"{case}__*.npz"))


def replayed(path):
    return replay(read(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_file_replays_within_tolerance(path):
    rows = replayed(path)
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_files_are_there():
    assert len(FILES) == 10


def test_every_recorded_error_is_compared():
    golden = read(FOLDER / "dataset__errors.npz")
    rows = replayed(FOLDER / "dataset__errors.npz")
    rows = [row for row in rows if row.name != "config"]  # no output
    names = {case["name"] for case in golden.meta["cases"]}
    assert {row.name for row in rows} == {f"required/{name}" for name in names}
    assert len(rows) == 24


def rewritten(path, tmp_path, change):
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    meta = json.loads(str(arrays["meta"]))
    change(meta, arrays)
    np.savez(tmp_path / path.name, **{**arrays, "meta": np.array(json.dumps(meta))})
    return tmp_path / path.name


def test_error_of_another_class_is_a_miss(tmp_path):
    def change(meta, arrays):
        for case in meta["cases"]:
            if case["name"] in ("tau_zero", "valid_ferro", "target_duplicate"):
                case["required"] = "IndexError"

    rows = replayed(rewritten(FOLDER / "dataset__errors.npz", tmp_path, change))
    missed = {row.name.split("/")[1] for row in rows if not row.ok}
    assert missed == {"tau_zero", "valid_ferro", "target_duplicate"}


def test_no_case_to_compare_is_no_pass(tmp_path):
    path = rewritten(
        FOLDER / "dataset__errors.npz", tmp_path, lambda m, a: m.update(cases=[])
    )
    with pytest.raises(ValueError, match="no output to compare with"):
        read(path)


def test_neighbours_change_places_only_where_they_are_equally_far(tmp_path):
    path = FOLDER / "preprocess__direct_triclinic.npz"
    name = "output/nbr_lists"

    def swap(meta, arrays):
        row = arrays[name][0, 0]
        row[[0, 5]] = row[[5, 0]]

    def other(meta, arrays):
        row = arrays[name][0, 0]
        row[-1] = (set(range(40)) - set(row.tolist())).pop()

    for change in (swap, other):
        rows = replayed(rewritten(path, tmp_path, change))
        assert [row.name for row in rows if not row.ok] == ["nbr_lists"]


def test_equally_far_neighbours_may_stand_in_any_order(tmp_path):
    # a simple cubic crystal: six at one distance
    grid = np.indices((2, 2, 2)).reshape(3, -1).T * 3.0
    positions = grid[None].astype(np.float64)
    cells = 6.0 * np.eye(3)[None]
    found = replay_data.neighbours(positions, cells, 6, 5.0)
    shuffled = found.lists[:, :, ::-1]
    wider = replay_data.neighbours(positions, cells, 14, "auto")
    again = replay_data._undo_swaps(found.lists, wider, shuffled)
    np.testing.assert_array_equal(again, shuffled)
    wrong = shuffled.copy()
    wrong[0, 0, 0] = 0  # itself: its image is twice as far
    again = replay_data._undo_swaps(found.lists, wider, wrong)
    assert not np.array_equal(again, wrong)
