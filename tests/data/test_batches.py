"""Batches are pure functions of (seed, epoch, index), however they are grouped."""

import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.data import batches as b
from tests.data.variable import BucketBatches

WHOLE = slice(None)


def whole_batch(index):
    return WHOLE


def arrays(rows=10):
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return {"x": x, "y": np.arange(rows, dtype=np.int32)}


def source(rows=10, size=4, on_device=False, seed=3):
    return b.ArrayBatches(arrays(rows), size, b.shuffled(rows, seed), on_device)


def seen_by_the_step(data, epoch, index, part=WHOLE):
    placed = (data.resident(epoch), data.batch(epoch, index, part))
    return jax.tree.map(np.asarray, data.expand(*jax.tree.map(jnp.asarray, placed)))


@given(seed=st.integers(0, 2**62), epoch=st.integers(0, 10**6), size=st.integers(1, 99))
def test_order_is_a_permutation_that_depends_on_seed_and_epoch_only(seed, epoch, size):
    first, again = b.shuffled(size, seed)(epoch), b.shuffled(size, seed)(epoch)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.sort(first), np.arange(size))


def test_orders_differ_by_epoch_and_by_seed():
    orders = [b.shuffled(100, s)(e).tolist() for s in (0, 1) for e in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4


@pytest.mark.parametrize("on_device", [False, True])
def test_batch_does_not_depend_on_what_was_read_before(on_device):
    data = source(on_device=on_device)
    expected = {
        (e, i): seen_by_the_step(source(on_device=on_device), e, i)
        for e in (0, 1, 7)
        for i in range(3)
    }
    visits = list(expected) * 3
    np.random.default_rng(0).shuffle(visits)
    for epoch, index in visits:
        found = seen_by_the_step(data, int(epoch), int(index))
        for name, value in expected[(epoch, index)].items():
            np.testing.assert_array_equal(found[name], value)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    size=st.integers(1, 12),
    epoch=st.integers(0, 3),
    on_device=st.booleans(),
)
def test_every_row_is_seen_once_and_padding_has_weight_zero(
    rows, size, epoch, on_device
):
    data = source(rows, size, on_device)
    found = [seen_by_the_step(data, epoch, i) for i in range(data.num_batches(epoch))]
    assert all(f["x"].shape == (size, 3) for f in found)
    weight = np.concatenate([f["weight"] for f in found])
    y = np.concatenate([f["y"] for f in found])[weight > 0]
    assert set(np.unique(weight)) <= {0, 1}
    np.testing.assert_array_equal(np.sort(y), np.arange(rows))
    x = np.concatenate([f["x"] for f in found])[weight > 0]
    np.testing.assert_array_equal(x, arrays(rows)["x"][y])


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("index", [0, 2])
def test_parts_of_the_processes_make_up_the_global_batch(on_device, index):
    data = source(on_device=on_device)
    whole = seen_by_the_step(data, 1, index)
    parts = [seen_by_the_step(data, 1, index, slice(i, i + 2)) for i in (0, 2)]
    for name, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), value)


def test_residence_changes_nothing_of_what_the_step_sees():
    for index in range(3):
        here = seen_by_the_step(source(on_device=False), 2, index)
        there = seen_by_the_step(source(on_device=True), 2, index)
        real = here["weight"] > 0
        for name in here:
            np.testing.assert_array_equal(here[name][real], there[name][real])
            assert np.isfinite(there[name]).all()


def test_sequential_order_is_the_order_of_the_rows():
    data = b.ArrayBatches(arrays(), 4, b.sequential(10), False)
    assert data.batch(5, 1, WHOLE)["y"].tolist() == [4, 5, 6, 7]


def test_fresh_arrays_are_made_once_per_epoch_and_change_with_it():
    calls = []

    def fresh(epoch):
        calls.append(epoch)
        return {"x": np.full((6, 1), epoch, np.float32)}

    data = b.ArrayBatches(fresh, 4, b.sequential(6), True)
    first = data.resident(0)
    assert data.resident(0) is first
    assert data.resident(3) is not first
    for epoch in (3, 4):
        found = seen_by_the_step(data, epoch, 0)
        np.testing.assert_array_equal(found["x"], epoch)
    assert calls == [0, 3, 4]


def test_unequal_lengths_no_rows_and_a_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"unequal length: .*'x': 3.*'y': 2"):
        b.ArrayBatches({"x": np.zeros(3), "y": np.zeros(2)}, 2, b.sequential(3))
    with pytest.raises(ValueError, match="without rows"):
        b.ArrayBatches({"x": np.zeros(0)}, 2, b.sequential(0))
    data = b.ArrayBatches({"x": np.zeros(3)}, 2, b.sequential(4))
    with pytest.raises(ValueError, match="4 rows, expected 3"):
        data.batch(0, 0, WHOLE)


@settings(max_examples=60, deadline=None)
@given(
    epoch=st.integers(0, 5),
    start=st.integers(0, 7),
    capacity=st.integers(1, 9),
    every=st.integers(1, 9),
)
def test_plan_covers_the_rest_once_within_shapes_cuts_and_capacity(
    epoch, start, capacity, every
):
    data = BucketBatches()

    def cuts(index):
        return every - index % every

    plan = b.plan_stacks(data, epoch, start, capacity, cuts)
    covered = []
    for first, count, places in plan:
        assert 1 <= count <= places == capacity
        assert count <= cuts(first)
        assert len({data.shape_key(epoch, first + i) for i in range(count)}) == 1
        covered += range(first, first + count)
    assert covered == list(range(start, data.num_batches(epoch)))
    for (first, count, _), (second, _, _) in itertools.pairwise(plan):
        key = data.shape_key(epoch, first)
        full = count == capacity or second % every == 0
        assert full or data.shape_key(epoch, second) != key  # no needless cut


@pytest.mark.parametrize("capacity", [1, 2, 4, 100])
def test_stacks_come_in_order_with_a_fixed_number_of_places(capacity):
    data = source(rows=26)
    plan = b.plan_stacks(data, 1, 2, capacity, lambda index: capacity)
    seen = []
    for first, count, stack in b.read_stacks(data, 1, plan, whole_batch):
        assert stack["x"].shape == (capacity, 4, 3)
        for i in range(count):
            expected = data.batch(1, first + i, WHOLE)
            for name, value in expected.items():
                np.testing.assert_array_equal(stack[name][i], value)
        seen += range(first, first + count)
    assert seen == list(range(2, 7))


def test_empty_plan_reads_nothing():
    data = BucketBatches()
    assert list(b.read_stacks(data, 0, [], whole_batch)) == []
    assert data.reads == []


def test_error_in_the_reading_thread_reaches_the_loop():
    class Broken(BucketBatches):
        def batch(self, epoch, index, part):
            if index == 2:
                raise OSError("row group 3 of file f is damaged")
            return super().batch(epoch, index, part)

    plan = b.plan_stacks(Broken(), 0, 0, 1, lambda index: 1)
    with pytest.raises(OSError, match="row group 3 of file f"):
        list(b.read_stacks(Broken(), 0, plan, whole_batch))


def test_reading_needs_no_parsed_command_line():
    """A notebook or a script of a user never parses absl's flags."""
    program = (
        "import numpy as np\n"
        "from jaxphys.data.batches import *\n"
        "data = ArrayBatches({'x': np.zeros(8)}, 2, sequential(8), False)\n"
        "plan = plan_stacks(data, 0, 0, 1, lambda i: 1)\n"
        "print(len(list(read_stacks(data, 0, plan, lambda i: slice(None)))))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert found.stdout.strip() == "4", found.stderr[-2000:]


def test_reader_that_is_left_early_does_not_hang():
    data = source(rows=400, size=2)
    plan = b.plan_stacks(data, 0, 0, 1, lambda index: 1)
    for first, _, _ in b.read_stacks(data, 0, plan, whole_batch):
        assert first == 0
        break


def test_first_then_gives_each_epoch_the_batches_of_its_data_set():
    one, other = source(10, 4), source(30, 4)
    both = b.FirstThen(one, other, 2)
    assert [both.num_batches(e) for e in range(4)] == [3, 3, 8, 8]
    for epoch, own in ((1, one), (2, other)):
        assert both.shape_key(epoch, 0) == own.shape_key(epoch, 0)
        assert both.resident(epoch) is None
        expected = seen_by_the_step(own, epoch, 1)
        for name, array in seen_by_the_step(both, epoch, 1).items():
            np.testing.assert_array_equal(array, expected[name])
