"""The order of the original: reader batches, turns, micro-batches, outliers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.cr_muons.data.event_files import open_events
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.replay.reader_batches import (
    Outlier,
    micro_batches,
    reader_batches,
    training_calls,
)
from tests.cr_muons.samples import assert_same, write_files


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    paths, events = write_files(tmp_path_factory.mktemp("r"), 50, 23, 41)
    return [open_events(path) for path in paths], events


def test_reader_batches_cross_row_groups_and_end_with_the_file(data):
    files, events = data
    batches = list(reader_batches(files, 16))
    sizes = [(b.file, b.number, len(b.events)) for b in batches]
    assert sizes == [
        *[(0, 1, 16), (0, 2, 16), (0, 3, 16), (0, 4, 2)],
        *[(1, 5, 16), (1, 6, 7)],
        *[(2, 7, 16), (2, 8, 16), (2, 9, 9)],
    ]
    joined = Events.concatenate([b.events for b in batches])
    assert_same(joined, Events.concatenate(events))


def test_files_take_strict_turns(data):
    files, _ = data
    order = [batch.file for batch in reader_batches(files, 16, 2)]
    assert order == [0, 1, 0, 1, 0, 2, 0, 2, 2]
    order = [batch.file for batch in reader_batches(files, 16, 5)]
    assert order == [0, 1, 2, 0, 1, 2, 0, 2, 0]


def slow_micro_batches(counts, most):
    """Returns the ranges by taking one event after the other."""
    if not most or sum(counts) <= most:
        return [(0, len(counts))] if sum(counts) else []
    ranges, start = [], 0
    while start < len(counts):
        total, stop = 0, start
        while stop < len(counts) and (stop == start or total + counts[stop] <= most):
            total, stop = total + counts[stop], stop + 1
            if total >= most:
                break
        if total:
            ranges.append((start, stop))
        start = stop
    return ranges


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 12))
def test_micro_batches_are_those_of_the_plain_loop(counts, most):
    assert micro_batches(np.array(counts, int), most) == slow_micro_batches(
        counts, most
    )


@pytest.mark.parametrize("multi_file", [0, 2])
def test_every_event_is_called_or_an_outlier_in_any_combination(data, multi_file):
    """Empty events, outliers and micro-batches together, for one file and several."""
    files, events = data
    calls = list(training_calls(files, 16, Filters(True, 6, 9), multi_file))
    outliers = [call for call in calls if isinstance(call, Outlier)]
    steps = [call for call in calls if isinstance(call, Events)]
    whole = Events.concatenate(events)
    assert all(0 < len(step.muons) <= 9 for step in steps)
    assert (
        sum(map(len, steps)) == ((whole.num_muons > 0) & (whole.num_muons <= 6)).sum()
    )
    assert sorted(len(o.event.muons) for o in outliers) == sorted(
        whole.num_muons[whole.num_muons > 6].tolist()
    )
    for outlier in outliers:
        batch = list(reader_batches(files, 16, multi_file))
        rows = batch[outlier.reader_batch - 1].events
        rows = rows.select(rows.num_muons > 0)
        place = outlier.event_in_batch
        assert_same(rows.rows(place, place + 1), outlier.event)


def test_outliers_may_be_trained_on(data):
    files, events = data
    filters = Filters(max_muons_per_batch=6)
    steps = list(training_calls(files, 16, filters, 2, train_on_outliers=True))
    assert not [step for step in steps if isinstance(step, Outlier)]
    muons = sum(len(step.muons) for step in steps if isinstance(step, Events))
    assert muons == sum(len(e.muons) for e in events)


def test_numbers_out_of_range_are_refused(data):
    with pytest.raises(ValueError, match="batch_size"):
        next(reader_batches(data[0], 0))
