"""Parts take events in order until a budget is used up."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.cr_muons.batches.packing import (
    Packed,
    choose_buckets,
    choose_budget,
    plan_parts,
    power_of_two,
)
from tests.cr_muons.samples import draw_events


def slow_parts(counts, events, muons):
    """Returns the edges by taking one event after the other."""
    edges, taken, total = [0], 0, 0
    for i, count in enumerate(counts):
        if taken == events or total + count > muons:
            edges.append(i)
            taken = total = 0
        taken, total = taken + 1, total + count
    return [*edges, len(counts)] if counts else edges


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.integers(1, 7),
    st.integers(9, 20),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_parts_are_those_of_the_plain_loop(counts, events, muons, cuts):
    blocks = np.split(np.asarray(counts, np.int32), sorted(cuts))
    edges, needed = plan_parts(blocks, events, muons)
    assert edges.tolist() == slow_parts(counts, events, muons)
    for (a, b), need in zip(itertools.pairwise(edges), needed, strict=True):
        assert need == sum(counts[a:b]) <= muons
        assert 0 < b - a <= events


def test_an_event_above_the_budget_never_hangs():
    with pytest.raises(ValueError, match="11 muons, expected at most 10"):
        plan_parts([np.array([1, 11, 1])], 4, 10)


def test_the_budget_is_a_power_of_two_above_five_quarters_of_the_mean():
    counts = np.full(1000, 3)
    assert choose_budget(counts, 100) == 512  # of 375
    assert choose_budget(counts, 100, parts=4) == 128  # of 93.75
    counts[7] = 600
    assert choose_budget(counts, 100, parts=4) == 1024  # more than 600
    counts[7] = 1024
    assert choose_budget(counts, 100, parts=4) == 2048


def test_the_mean_is_of_the_first_64_batches():
    counts = np.concatenate([np.full(640, 1), np.full(10_000, 9)])
    assert choose_budget(counts, 10) == 16


def test_a_given_budget_is_shared_by_the_parts():
    assert choose_budget(np.array([5, 0]), 10, 2, 20) == 10
    with pytest.raises(ValueError, match="leaves 4 places, but an event has 5"):
        choose_budget(np.array([5, 0]), 10, 2, 8)


@pytest.mark.parametrize(
    ("number", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (64, 64)]
)
def test_power_of_two(number, power):
    assert power_of_two(number) == power


def test_the_common_bucket_holds_nearly_all_parts():
    needed = np.random.default_rng(0).poisson(1e4, 1000)
    common, last = choose_buckets(needed, 32768)
    assert last == 32768
    assert (needed <= common).mean() >= 0.99
    assert common < 12_000
    assert choose_buckets(needed, 10_500) == (10_500,)
    assert choose_buckets(np.zeros(0), 64) == (64,)


def test_a_part_is_the_same_from_slices_and_from_positions():
    events = draw_events(20)
    by_slice, by_place = (Packed.empty(2, 12, 200) for _ in range(2))
    first = by_slice.fill(1, [(events, slice(2, 7)), (events, slice(10, 14))])
    pieces = [(events, np.arange(2, 7)), (events, np.arange(10, 14))]
    assert by_place.fill(1, pieces) == first
    for name, array in by_slice.arrays.items():
        np.testing.assert_array_equal(by_place.arrays[name], array)
    chosen = events.select(np.r_[2:7, 10:14])
    assert first == (9, len(chosen.muons))
    arrays = by_slice.arrays
    np.testing.assert_array_equal(arrays["muons"][1, : first[1]], chosen.muons)
    np.testing.assert_array_equal(arrays["primaries"][1, :9], chosen.primaries)
    np.testing.assert_array_equal(
        arrays["muon_event"][1, : first[1]], chosen.event_of_muon()
    )
    assert not arrays["event_mask"][0].any()


def test_padding_has_finite_logarithms_and_its_own_segment():
    arrays = Packed.empty(1, 3, 5).arrays
    assert np.isfinite(np.log10(arrays["muons"][..., 0])).all()
    assert np.isfinite(np.log10(arrays["primaries"][..., [0, 2]])).all()
    assert (arrays["muon_event"] == 3).all()
    assert {a.dtype.name for a in arrays.values()} == {"float32", "int32"}
