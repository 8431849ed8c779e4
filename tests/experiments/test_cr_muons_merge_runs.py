"""Runs are collected by time, name and pattern; nothing is written over."""

import os
import time

import pytest

from experiments.cr_muons import merge_runs

FILE = "events.out.tfevents.1768000000.host"


@pytest.fixture
def root(tmp_path):
    """Three runs with a time in their name, one of them with a folder tensorboard."""
    for name in ("20260110-000000", "20260111-120000", "deep/20260112-000000"):
        folder = tmp_path / "runs" / name
        if name.startswith("20260111"):
            folder = folder / "tensorboard"
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(name.encode())
    (tmp_path / "runs" / "no_run").mkdir()
    return tmp_path / "runs"


def test_runs_are_linked_to_their_tensorboard_files(tmp_path, root):
    made = merge_runs.merge(tmp_path / "board", root)
    names = [path.name for path in made]
    assert names == ["20260110-000000", "20260111-120000", "deep__20260112-000000"]
    assert all(path.is_symlink() for path in made)
    assert (made[1] / FILE).read_text() == "20260111-120000"
    assert (made[2] / FILE).read_text() == "deep/20260112-000000"


def test_copies_live_on_without_their_source(tmp_path, root):
    (made,) = merge_runs.merge(tmp_path / "board", root, "copy", match="0110")
    (root / "20260110-000000" / FILE).unlink()
    assert (made / FILE).read_text() == "20260110-000000"
    assert not made.is_symlink()


def test_time_name_and_pattern_choose_runs(tmp_path, root):
    def names(**settings):
        board = tmp_path / "_".join(map(str, settings.values())).replace("/", "")
        return [p.name for p in merge_runs.merge(board, root, **settings)]

    assert names(since="20260111-120000") == [
        "20260111-120000", "deep__20260112-000000"
    ]  # fmt: skip
    assert names(match="^deep/") == ["deep__20260112-000000"]
    assert names(glob="2026*") == ["20260110-000000", "20260111-120000"]
    assert names(since="20270101-000000") == []


def test_run_without_a_time_in_its_name_has_that_of_its_files(tmp_path):
    run = tmp_path / "runs" / "best"
    run.mkdir(parents=True)
    (run / FILE).write_bytes(b"")
    stamp = time.mktime((2026, 1, 11, 12, 0, 0, 0, 0, -1))
    os.utime(run / FILE, (stamp, stamp))
    assert merge_runs.time_of(run) == "20260111-120000"
    assert merge_runs.merge(tmp_path / "a", run.parent, since="20260111-120000")
    assert not merge_runs.merge(tmp_path / "b", run.parent, since="20260111-120001")


def test_nothing_is_written_over_nor_half_done(tmp_path, root, capsys):
    board = tmp_path / "board"
    (board / "20260111-120000").mkdir(parents=True)
    with pytest.raises(ValueError, match="is there already; nothing was written"):
        merge_runs.merge(board, root)
    assert [path.name for path in board.iterdir()] == ["20260111-120000"]
    assert capsys.readouterr().out == ""


def test_folder_that_receives_may_lie_among_the_runs(tmp_path, root):
    assert len(merge_runs.merge(root / "board", root)) == 3
    with pytest.raises(ValueError, match="is there already"):
        merge_runs.merge(root / "board", root)


def test_command_line_says_what_it_did_and_what_is_wrong(tmp_path, root, capsys):
    arguments = [f"--dst={tmp_path / 'board'}", f"--src_root={root}"]
    assert merge_runs.main([*arguments, "--match=0110"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("symlink ")
    assert lines[-1].startswith("1 runs in")
    assert merge_runs.main([*arguments, "--match=0110"]) == 1
    assert "is there already" in capsys.readouterr().err
    for bad, message in (
        ("--since=2026", "--since=2026: expected YYYYMMDD-HHMMSS"),
        ("--match=[", "--match=[: "),
        (f"--src_root={tmp_path / 'none'}", "expected a folder"),
    ):
        assert merge_runs.main([*arguments, bad]) == 1
        assert message in capsys.readouterr().err
