"""metrics.jsonl and TensorBoard say each step once, also after a resume."""

import json
import os
import struct
from typing import Any

import numpy as np
import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from jaxphys.training import loop
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Interval, Progress
from jaxphys.training.writer import Console, Writer
from tests.training.toy import make_task

EVENTS: Any = event_pb2  # its classes are made at run time
TIMED = ("steps_per_second", "input_wait")


def lines_of(folder):
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


def events_of(folder):
    """Reads TensorBoard's records, checking their check sums."""
    events = []
    for path in sorted((folder / "tensorboard").iterdir(), key=os.path.getmtime):
        data, at = path.read_bytes(), 0
        while at < len(data):
            header, (crc,) = data[at : at + 8], struct.unpack_from("<I", data, at + 8)
            assert crc == masked(header)
            (length,) = struct.unpack("<Q", header)
            body = data[at + 12 : at + 12 + length]
            (crc,) = struct.unpack_from("<I", data, at + 12 + length)
            assert crc == masked(body)
            events.append(EVENTS.Event.FromString(body))
            at += 16 + length
    return events


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def shown_by_tensorboard(folder):
    """Applies TensorBoard's rule: a session start drops its step and later ones."""
    kept = []
    for event in events_of(folder):
        if event.session_log.status == EVENTS.SessionLog.START:
            kept = [entry for entry in kept if entry[0] < event.step]
        kept += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    return kept


def write_steps(folder, steps, keep_step=None):
    writer = Writer(folder)
    writer.start(keep_step)
    for step in steps:
        writer.write(step, {"loss": step / 2, "phase": "train"})
    writer.close()


def test_scalars_go_to_both_files_and_text_to_one(tmp_path):
    write_steps(tmp_path, [1, 2])
    assert lines_of(tmp_path) == [
        {"step": 1, "loss": 0.5, "phase": "train"},
        {"step": 2, "loss": 1.0, "phase": "train"},
    ]
    assert shown_by_tensorboard(tmp_path) == [(1, "loss", 0.5), (2, "loss", 1.0)]


def test_entries_after_the_step_of_a_resume_are_cut_in_both_files(tmp_path):
    write_steps(tmp_path, [1, 2, 3, 4])
    write_steps(tmp_path, [3, 5], keep_step=2)
    assert [entry["step"] for entry in lines_of(tmp_path)] == [1, 2, 3, 5]
    assert [entry[0] for entry in shown_by_tensorboard(tmp_path)] == [1, 2, 3, 5]


def test_fresh_run_starts_both_files_afresh(tmp_path):
    """A run that was killed before its first checkpoint begins again at 0."""
    write_steps(tmp_path, [0, 1, 2])
    write_steps(tmp_path, [1])
    assert [entry["step"] for entry in lines_of(tmp_path)] == [1]
    assert [entry[0] for entry in shown_by_tensorboard(tmp_path)] == [1]


@pytest.mark.parametrize("tail", ['{"step": 3, "lo', "{", '{"step": 3}garbage', "\0\0"])
def test_line_that_a_killed_process_left_half_written_is_dropped(tmp_path, tail):
    write_steps(tmp_path, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(tail)
    write_steps(tmp_path, [3], keep_step=5)
    assert [entry["step"] for entry in lines_of(tmp_path)] == [1, 2, 3]


def test_cut_leaves_the_old_or_the_new_file_but_never_half_of_one(
    tmp_path, monkeypatch
):
    write_steps(tmp_path, [1, 2])
    before = (tmp_path / "metrics.jsonl").read_text()

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Writer(tmp_path).start(1)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_not_finite_numbers_are_written_and_read_back(tmp_path):
    writer = Writer(tmp_path)
    writer.start()
    writer.write(1, {"loss": float("nan"), "other": float("inf")})
    writer.close()
    (entry,) = lines_of(tmp_path)
    assert np.isnan(entry["loss"])
    assert entry["other"] == np.inf


def test_empty_histogram_is_left_out(tmp_path):
    writer = Writer(tmp_path)
    writer.start()
    writer.write_histogram(1, "empty", np.zeros(0))
    writer.write_histogram(1, "full", np.arange(5.0))
    writer.close()
    tags = [v.tag for e in events_of(tmp_path) for v in e.summary.value]
    assert tags == ["full"]


def test_interrupted_and_resumed_run_writes_every_evaluation_once(tmp_path):
    settings = {
        "mesh": make_mesh("data:1"),
        "steps_per_call": 2,
        "eval_every": Interval(2, "steps"),
        "checkpoint_every": Interval(3, "steps"),
    }
    for rounds, resume in ((2, None), (3, 6)):
        keep = Checkpointer(tmp_path / "c", keep_latest=9)
        writer = Writer(tmp_path)
        loop.fit(
            make_task(),
            rounds=rounds,
            checkpointer=keep,
            resume=resume,
            writer=writer,
            **settings,
        )
        writer.close()
        keep.close()
    whole = Writer(tmp_path / "whole")
    loop.fit(make_task(), rounds=3, writer=whole, **settings)
    whole.close()

    def cut(entries):
        return [{k: v for k, v in e.items() if k not in TIMED} for e in entries]

    assert [e["step"] for e in lines_of(tmp_path)] == [2, 4, 6, 8, 10, 12, 14]
    assert cut(lines_of(tmp_path)) == cut(lines_of(tmp_path / "whole"))


def test_plain_console_writes_the_last_line_always_and_others_at_an_interval(capsys):
    console = Console(2, plain=True, seconds=1000)
    console.update(Progress(step=5, round=1), 1.0, {"loss": 0.5})
    assert capsys.readouterr().err == ""
    console.update(Progress(step=10, round=2), 2.0, None)
    console.close()
    assert "round 2/2 step 10" in (text := capsys.readouterr().err)
    assert "loss 0.5" in text
    eager = Console(9, plain=True, seconds=0)
    eager.update(Progress(step=5, round=1), 1.5, {"loss": 0.25, "phase": "a"})
    assert "round 1.5/9 step 5" in (text := capsys.readouterr().err)
    assert text.strip().endswith("loss 0.25")


def test_console_of_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    console = Console(3)
    console.update(Progress(step=5, round=1), 1.0, {"loss": 0.5})
    console.close()
    assert "round" in capsys.readouterr().err
