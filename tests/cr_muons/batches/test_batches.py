"""Every event is in exactly one batch of an epoch, with its own muons."""

import collections
import pathlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxphys.cr_muons.batches.batches import MuonBatches
from jaxphys.cr_muons.data.event_files import read_events
from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import Events, make_events
from tests.cr_muons.samples import draw_events, write_files

ALL = slice(None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Returns (index, events) of three files."""
    paths, events = write_files(tmp_path_factory.mktemp("data"), 60, 45, 70)
    return scan(paths), Events.concatenate(events)


def unpacked(batch):
    """Returns the events of a batch as (primary, muons) bytes, by plain loops."""
    found = []
    for part in range(len(batch["num_muons"])):
        first = 0
        for event in range(batch["num_muons"].shape[1]):
            count = batch["num_muons"][part, event]
            if not batch["event_mask"][part, event]:
                assert count == 0
                continue
            inside = slice(first, first + count)
            assert (batch["muon_event"][part, inside] == event).all()
            found.append(
                (
                    batch["primaries"][part, event].tobytes(),
                    batch["muons"][part, inside].tobytes(),
                )
            )
            first += count
        assert (batch["muon_event"][part, first:] == batch["num_muons"].shape[1]).all()
        assert (batch["muons"][part, first:] == [1, 0, 0]).all()
    return found


def tuple_of(key):
    assert isinstance(key, tuple)
    return key


def epoch_of(batches, epoch=0):
    found = []
    for i in range(batches.num_batches(epoch)):
        found += unpacked(batches.batch(epoch, i, ALL))
    return found


def keys(events):
    return [
        (events.primaries[i].tobytes(), events.muons[a:b].tobytes())
        for i, (a, b) in enumerate(
            zip(events.offsets[:-1], events.offsets[1:], strict=True)
        )
    ]


def test_without_shuffle_the_order_is_that_of_the_files(data):
    index, events = data
    assert epoch_of(MuonBatches(index, 16)) == keys(events)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batch_size=st.integers(1, 12).map(lambda n: 2 * n),
    parts=st.sampled_from([1, 2]),
    shuffle=st.booleans(),
    window=st.sampled_from([0, 7, 25, 1000]),
    turns=st.integers(0, 4),
    turn_rows=st.sampled_from([0, 1, 13]),
    epoch=st.integers(0, 3),
    drop_empty=st.booleans(),
    most=st.sampled_from([0, 4]),
)
def test_an_epoch_holds_every_event_once(
    data, batch_size, parts, shuffle, window, turns, turn_rows, epoch, drop_empty, most
):
    index, events = data
    filters = Filters(drop_empty=drop_empty, max_muons_per_event=most)
    batches = MuonBatches(
        index,
        batch_size,
        parts,
        filters=filters,
        muon_budget=parts * int(events.num_muons.max()),
        shuffle=shuffle,
        shuffle_window=window,
        multi_file_shuffle=turns,
        turn_rows=turn_rows,
    )
    expected = keys(events.select(filters.kept(events.num_muons)))
    assert collections.Counter(epoch_of(batches, epoch)) == collections.Counter(
        expected
    )
    assert batches.size == len(expected)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_depends_on_its_number_alone(data, shuffle):
    index, _ = data
    settings = {"shuffle": shuffle, "shuffle_window": 25, "multi_file_shuffle": 2}
    forward = MuonBatches(index, 20, 2, **settings)
    there = [forward.batch(1, i, ALL) for i in range(forward.num_batches(1))]
    other = MuonBatches(index, 20, 2, prefetch=0, **settings)
    for i in np.random.default_rng(0).permutation(len(there)).tolist():
        other.batch(0, 0, ALL)  # another epoch in between
        got = other.batch(1, i, ALL)
        for name, array in there[i].items():
            np.testing.assert_array_equal(got[name], array)
        assert other.shape_key(1, i) == (10, got["muons"].shape[1])


def test_the_parts_of_a_process_are_rows_of_the_global_batch(data):
    index, _ = data
    batches = MuonBatches(index, 16, 4, shuffle=True)
    for i in range(batches.num_batches(0)):
        whole = batches.batch(0, i, ALL)
        some = batches.batch(0, i, slice(1, 3))
        for name, array in whole.items():
            np.testing.assert_array_equal(some[name], array[1:3])


def test_epochs_and_seeds_have_orders_of_their_own(data):
    index, _ = data

    def order(seed, epoch):
        return epoch_of(MuonBatches(index, 32, shuffle=True, shuffle_seed=seed), epoch)

    first = order(1, 0)
    assert first == order(1, 0)
    for other in (order(1, 1), order(2, 0)):
        assert other != first
        assert sorted(other) == sorted(first)


def test_a_window_is_shuffled_and_kept_together(data):
    """Events of a file come in a row, and within it not in the order of the file."""
    index, events = data
    found = epoch_of(MuonBatches(index, 16, shuffle=True))
    place = {key: i for i, key in enumerate(keys(events))}
    rows = np.array([place[key] for key in found])
    files = np.searchsorted([60, 105], rows, side="right")
    assert (np.diff(files) != 0).sum() == 2
    assert (np.diff(rows) != 1).mean() > 0.5


def test_turns_mix_the_files_in_a_batch(data):
    index, events = data
    batches = MuonBatches(index, 12, multi_file_shuffle=3, turn_rows=4)
    place = {key: i for i, key in enumerate(keys(events))}
    rows = np.array([place[key] for key in epoch_of(batches)[:12]])
    np.testing.assert_array_equal(rows, [*range(4), *range(60, 64), *range(105, 109)])


def test_validation_showers_are_never_trained_on(data):
    index, events = data
    split = {"val_fraction": 0.3, "split_seed": 3}
    train = MuonBatches(index, 16, subset="train", shuffle=True, **split)
    validation = MuonBatches(index, 16, subset="validation", **split)
    seen, kept = epoch_of(train), epoch_of(validation)
    assert sorted(seen + kept) == sorted(keys(events))
    shower = dict(zip(keys(events), map(tuple, events.showers.tolist()), strict=True))
    assert not {shower[k] for k in seen} & {shower[k] for k in kept}
    assert keys(validation.events()) == kept
    assert keys(validation.events(5)) == kept[:5]
    assert 0.1 < len(kept) / len(events) < 0.5


def test_a_full_budget_opens_the_next_part(tmp_path):
    counts = [5, 3, 0, 2, 8, 0, 0, 1]
    muons = np.ones((sum(counts), 3))
    path = write_events(
        tmp_path / "a.parquet", make_events([[1e5, 0.1, 1, 1e3]] * 8, counts, muons)
    )
    batches = MuonBatches(scan([str(path)]), 4, muon_budget=8, muon_buckets=(8,))
    got = [batches.batch(0, i, ALL)["num_muons"][0].tolist() for i in range(3)]
    assert got == [[5, 3, 0, 0], [2, 0, 0, 0], [8, 0, 0, 0]]
    assert batches.num_batches(0) == 4
    assert batches.batch(0, 3, ALL)["num_muons"][0].tolist() == [1, 0, 0, 0]
    masks = [batches.batch(0, i, ALL)["event_mask"].sum() for i in range(4)]
    assert masks == [3, 1, 3, 1]


def test_the_budget_holds_the_largest_event_and_buckets_ascend(data):
    index, events = data
    batches = MuonBatches(index, 16, 2, shuffle=True)
    assert batches.budget > events.num_muons.max()
    assert batches.buckets[-1] == batches.budget
    assert list(batches.buckets) == sorted(batches.buckets)
    shapes = {batches.shape_key(e, i) for e in range(3) for i in range(8)}
    assert shapes <= {(8, places) for places in batches.buckets}


def test_given_buckets_are_used(data):
    index, _ = data
    batches = MuonBatches(index, 16, muon_budget=256, muon_buckets=(16, 32, 256))
    used = {tuple_of(batches.shape_key(0, i))[1] for i in range(batches.num_batches(0))}
    assert used <= {16, 32, 256}
    assert len(used) > 1
    for i in range(batches.num_batches(0)):
        places = tuple_of(batches.shape_key(0, i))[1]
        assert batches.batch(0, i, ALL)["muons"].shape == (1, places, 3)


def test_an_event_above_the_budget_is_an_error_and_as_an_outlier_is_not(data):
    index, events = data
    most = int(events.num_muons.max())
    with pytest.raises(ValueError, match=rf"muon_budget.* an event has {most} muons"):
        MuonBatches(index, 16, muon_budget=most - 1)
    limit = Filters(max_muons_per_event=most - 1)
    batches = MuonBatches(index, 16, muon_budget=most - 1, filters=limit)
    assert batches.counts()["outliers"] == (events.num_muons == most).sum()
    assert batches.counts()["kept"] + batches.counts()["outliers"] == len(events)


def test_outliers_are_written_and_can_be_trained_on(data, tmp_path):
    index, events = data
    batches = MuonBatches(index, 16, filters=Filters(max_muons_per_event=4))
    assert batches.write_outliers(tmp_path) == batches.counts()["outliers"] > 0
    written = read_events(str(tmp_path))
    assert keys(written) == keys(events.select(events.num_muons > 4))
    again = MuonBatches(scan([str(tmp_path / "outliers_0.parquet")]), 4)
    assert sorted(epoch_of(again)) == sorted(keys(written))


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "a.parquet"
    write_events(path, draw_events(50, seed=1), compression="none")
    batches = MuonBatches(scan([str(path)]), 16)
    write_events(path, draw_events(50, seed=2))
    with pytest.raises(ValueError, match=r"a.parquet: rows 0 to 50: .*has changed"):
        batches.batch(0, 0, ALL)


def test_other_counts_than_in_the_index_are_noticed(tmp_path):
    index = scan(write_files(tmp_path, 50)[0])
    index.files[0].num_muons[3] += 1
    with pytest.raises(ValueError, match=r"rows 0 to 50: other numbers of muons"):
        MuonBatches(index, 16).batch(0, 0, ALL)


def test_blocks_in_memory_are_few(data):
    index, _ = data
    batches = MuonBatches(index, 8, shuffle=True, shuffle_window=10, prefetch=2)
    for epoch in range(3):
        for i in range(batches.num_batches(epoch)):
            batches.batch(epoch, i, ALL)
            assert len(batches._store._held) <= 4


def test_bad_rows_are_not_seen(tmp_path):
    events = draw_events(40)
    primaries = events.primaries.copy()
    primaries[[3, 17], 0] = -1
    bad = make_events(primaries, events.num_muons, events.muons, events.showers)
    path = str(write_events(tmp_path / "a.parquet", bad))
    batches = MuonBatches(scan([path], bad_rows="set_aside"), 8, shuffle=True)
    assert batches.counts()["bad_rows"] == 2
    good = np.setdiff1d(np.arange(40), [3, 17])
    assert sorted(epoch_of(batches)) == sorted(keys(events.select(good)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 7, "parts": 2}, "multiple of the 2 parts, got 7"),
        ({"subset": "test"}, "subset"),
        ({"shuffle_window": -1}, "shuffle_window"),
        ({"muon_budget": 257, "parts": 2}, "muon_budget"),
        ({"muon_buckets": (8, 4)}, "muon_buckets"),
        ({"subset": "train", "val_fraction": 1.5}, "val_fraction"),
        ({"subset": "validation", "val_fraction": 0.0}, "no event is left"),
        (
            {"filters": Filters(True, 0, 0), "subset": "train", "val_fraction": 1.0},
            "left",
        ),
    ],
)
def test_settings_out_of_range_are_refused(data, settings, message):
    with pytest.raises(ValueError, match=message):
        MuonBatches(data[0], **{"batch_size": 16, **settings})


def test_a_split_needs_showers(tmp_path):
    import pyarrow.parquet as pq

    path = pathlib.Path(write_files(tmp_path, 20)[0][0])
    pq.write_table(pq.read_table(path, columns=["primary", "muons"]), path)
    index = scan([str(path)])
    assert MuonBatches(index, 4).size == 20
    with pytest.raises(ValueError, match="the file names none"):
        MuonBatches(index, 4, subset="train", val_fraction=0.1)


@pytest.mark.parametrize("most", [1, 59, 60, 61, 1000])
def test_a_subset_may_be_its_first_events(data, most):
    index, events = data
    batches = MuonBatches(index, 16, most_events=most)
    assert epoch_of(batches) == keys(events.rows(0, most))
    assert keys(batches.events()) == keys(events.rows(0, most))
