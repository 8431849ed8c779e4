"""What is read is remembered, and what is missing is named with the file."""

import pathlib

import pytest

from jaxphys.equivalence.watched import Under, Watched

PATH = pathlib.Path("folder/case__a.npz")


def watched():
    entries = {"x": 1, "batch/0/x": 2, "batch/0/y": 3, "batch/10/x": 4, "batches": 5}
    return Watched("input", PATH, entries)


def test_only_what_is_asked_for_counts_as_read():
    inputs = watched()
    assert "x" in inputs
    assert len(inputs) == len(list(inputs)) == 5
    assert len(inputs.unread) == 5
    assert inputs["x"] == 1
    assert inputs.get("batches") == 5
    assert inputs.get("absent", 7) == 7
    assert inputs.unread == ["batch/0/x", "batch/0/y", "batch/10/x"]


def test_going_through_all_entries_reads_them():
    inputs = watched()
    assert dict(inputs)["batches"] == 5
    assert inputs.unread == []


def test_missing_entry_is_named_with_the_file():
    inputs = watched()
    message = r"^folder.case__a\.npz: no input/z, which the case needs$"
    with pytest.raises(ValueError, match=message):
        inputs["z"]
    with pytest.raises(ValueError, match="no input/batch/0/z, which"):
        Under(inputs, "batch/0")["z"]


def test_entries_below_a_path_are_read_one_by_one():
    inputs = watched()
    batch = Under(inputs, "batch/0")
    assert list(batch) == ["x", "y"]
    assert len(batch) == 2
    assert "y" in batch
    assert "z" not in batch
    assert batch["x"] == 2
    assert batch.get("z", 7) == 7
    assert "batch/0/y" in inputs.unread
    assert "batch/0/x" not in inputs.unread


def test_numbers_below_a_path_are_in_order():
    assert Under(watched(), "batch").numbers == [0, 10]
    assert Under(watched(), "absent").numbers == []
