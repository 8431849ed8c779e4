"""Events are whole: no operation separates an event from its muons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.cr_muons.physics.events import (
    Events,
    empty_events,
    make_events,
    ragged_rows,
)


def numbered(counts):
    """Returns events whose muons carry the number of their event."""
    counts = np.asarray(counts, np.int32)
    number = np.arange(len(counts))
    muons = np.stack([np.repeat(number, counts)] * 3, axis=1) + [0.25, 0.5, 0.75]
    return make_events(number[:, None] + np.arange(4) / 8, counts, muons)


def lists(events):
    """Returns the muons of each event, by a plain loop."""
    found, first = [], 0
    for count in events.num_muons:
        found.append(events.muons[first : first + count])
        first += count
    return found


counts_of_events = st.lists(st.integers(0, 5), max_size=12)


@given(counts_of_events, st.randoms(use_true_random=False))
def test_select_moves_events_as_a_whole(counts, random):
    events = numbered(counts)
    positions = [random.randrange(len(counts)) for _ in counts]
    chosen = events.select(np.asarray(positions, int))
    np.testing.assert_array_equal(chosen.primaries, events.primaries[positions])
    np.testing.assert_array_equal(chosen.showers, events.showers[positions])
    whole = lists(events)
    for got, position in zip(lists(chosen), positions, strict=True):
        np.testing.assert_array_equal(got, whole[position])


@given(counts_of_events, st.integers(0, 13), st.integers(0, 13))
def test_rows_are_the_selection_of_a_range(counts, start, stop):
    events = numbered(counts)
    rows = events.rows(start, stop)
    chosen = events.select(np.arange(len(events))[start:stop])
    for name in ("primaries", "num_muons", "muons", "showers"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(chosen, name))


def test_rows_are_views():
    events = numbered([1, 0, 2])
    assert np.shares_memory(events.rows(1, 3).muons, events.muons)


@given(counts_of_events, st.integers(0, 12))
def test_concatenate_undoes_a_cut(counts, cut):
    events = numbered(counts)
    joined = Events.concatenate([events.rows(0, cut), events.rows(cut, len(events))])
    np.testing.assert_array_equal(joined.muons, events.muons)
    np.testing.assert_array_equal(joined.offsets, events.offsets)


def test_select_by_a_mask_is_select_by_its_positions():
    events = numbered([1, 0, 2])
    chosen = events.select(np.array([True, False, True]))
    np.testing.assert_array_equal(chosen.num_muons, [1, 2])
    with pytest.raises(ValueError, match="mask of 3 events"):
        events.select(np.array([True]))


def test_event_of_muon_counts_up():
    np.testing.assert_array_equal(numbered([2, 0, 1]).event_of_muon(), [0, 0, 2])


def test_ragged_rows_of_no_segment_are_none():
    assert ragged_rows(np.array([0, 3]), np.zeros(0, int)).shape == (0,)


def test_no_blocks_are_no_events():
    assert len(Events.concatenate([])) == len(empty_events()) == 0


def test_counts_must_match_the_muons():
    with pytest.raises(ValueError, match="sum of 2"):
        make_events(np.zeros((1, 4)), [3], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="showers: expected shape"):
        make_events(np.zeros((1, 4)), [0], np.zeros((0, 3)), np.zeros((2, 2)))
