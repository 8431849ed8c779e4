"""Ragged events: reading in blocks, joining, row numbers, empty events."""

import dataclasses

import numpy as np
import pytest

from jaxphys.hidden_vertex.physics import events
from jaxphys.hidden_vertex.physics.events import (
    Events,
    iterate,
    join_events,
    row_numbers,
)
from tests.hidden_vertex.samples import Rows, lhco_rows


def assert_same(found, expected):
    for field in dataclasses.fields(Events):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        if b is not None:
            assert a.dtype == b.dtype


def test_empty_events_are_set_aside_and_named():
    events = Rows(lhco_rows([0, 3, 0, 2, 1, 0])).read(0, 6)
    np.testing.assert_array_equal(events.empty_id, [0, 2, 5])
    np.testing.assert_array_equal(events.event_id, [1, 3, 4])
    np.testing.assert_array_equal(events.offset, [0, 3, 5, 6])
    np.testing.assert_array_equal(events.label, [0, 0, 1])
    assert len(events) == 3


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("read_rows", [1, 3, 4, 100])
def test_blocks_joined_equal_one_read(read_rows, labelled):
    source = Rows(lhco_rows([0, 3, 0, 2, 1, 0, 8]), labelled)
    parts = list(iterate(source, read_rows=read_rows))
    assert len(parts) == -(-7 // read_rows)
    assert_same(join_events(parts), source.read(0, 7))


def test_part_of_the_rows_is_iterated():
    source = Rows(lhco_rows([1, 2, 3, 4, 5]))
    found = [e.event_id.tolist() for e in iterate(source, 1, 4, 2)]
    assert found == [[1, 2], [3]]
    with pytest.raises(ValueError, match="read_rows: expected at least 1, got 0"):
        next(iterate(source, read_rows=0))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([0, 2, 4], [0, 2, 4]),  # a part of a larger file
        ([5, 3, 9], [0, 1, 2]),  # shuffled by whoever wrote it
        ([0, 0, 1], [0, 1, 2]),  # files written one after the other
        ([-1, 0, 1], [0, 1, 2]),
        ([0.5, 1.5, 2.5], [0, 1, 2]),
    ],
)
def test_row_numbers_are_those_of_the_file_if_they_ascend(found, expected):
    numbers = row_numbers("file", np.array(found), 3)
    np.testing.assert_array_equal(numbers, expected)


def test_too_few_row_numbers_are_refused():
    with pytest.raises(ValueError, match=r"file: expected 3 row numbers, got \(2,\)"):
        row_numbers("file", np.arange(2), 3)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [(0, 1e-9, "pT"), (1, 50.0, "eta"), (2, 1000.0, "phi")],
)
def test_numbers_that_are_no_coordinates_are_named_with_file_and_row(
    column, value, named
):
    particles = np.tile(np.array([[1.0, 2.0, 3.0]]), (5, 1))
    events.check_coordinates("a.h5", particles, np.array([0, 2, 5]), 10)
    particles[3, column] = value
    with pytest.raises(ValueError, match=rf"a\.h5: row 11, {named}: expected"):
        events.check_coordinates("a.h5", particles, np.array([0, 2, 5]), 10)


def test_checksum_sees_a_change_in_small_files_and_the_pieces_of_large_ones(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(events, "_SAMPLE", 16)
    path = tmp_path / "file"
    for size in (40, 10_000):
        path.write_bytes(bytes(size))
        before = events.content_sha256(path)
        for place in (0, size - 1):
            content = bytearray(size)
            content[place] = 1
            path.write_bytes(bytes(content))
            assert events.content_sha256(path) != before
