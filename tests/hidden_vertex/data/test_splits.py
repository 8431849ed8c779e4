"""Splits: the golden file, no signal in training, and what is asked for on purpose."""

import json

import numpy as np
import pytest

from jaxphys.hidden_vertex.data.splits import (
    Split,
    check_contamination,
    check_split,
    split_events,
    split_quotas,
)


def labels(count=2000, seed=0):
    return (np.random.default_rng(seed).random(count) < 0.1).astype(np.int8)


def test_split_equals_the_golden_file(golden_dir):
    with np.load(golden_dir("hidden_vertex") / "splits__seed42.npz") as file:
        golden, config = dict(file), json.loads(str(file["meta"]))["config"]
    train_ratio, val_ratio, _ = config["ratios"]
    split = split_events(golden["input/label"], config["seed"], train_ratio, val_ratio)
    for name in ("train", "val", "test_background", "test"):
        np.testing.assert_array_equal(getattr(split, name), golden[f"output/{name}"])
    sizes = [len(split.train), len(split.val), len(split.test_background)]
    np.testing.assert_array_equal(sizes, golden["output/sizes_data_md"])
    split = split_events(golden["input/label"], subset_size=config["subset_size"])
    np.testing.assert_array_equal(split.train, golden["output/subset_fixed"])


def test_parts_are_disjoint_and_hold_every_event():
    label = labels()
    split = split_events(label)
    together = np.concatenate([split.train, split.val, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(label)))
    assert not label[split.train].any()
    assert not label[split.val].any()
    np.testing.assert_array_equal(split.test_signal, np.flatnonzero(label))


def test_cuts_do_not_suffer_from_the_sum_of_two_decimals():
    split = split_events(np.zeros(10), train_ratio=0.7, val_ratio=0.2)
    assert [len(split.train), len(split.val), len(split.test)] == [7, 2, 1]


def test_subset_counts_rows_of_the_file_and_holds_background_only():
    label = labels()
    event_id = np.arange(0, 2 * len(label), 2)  # every second row of a file
    split = split_events(label, subset_size=1000, event_id=event_id)
    whole = split_events(label)
    kept = whole.train[event_id[whole.train] < 1000]
    np.testing.assert_array_equal(split.train, kept)
    assert not label[split.train].any()
    np.testing.assert_array_equal(split.val, whole.val)


def test_max_train_events_takes_the_first_of_the_shuffled():
    whole, split = split_events(labels()), split_events(labels(), max_train_events=10)
    np.testing.assert_array_equal(split.train, whole.train[:10])


def test_a_single_smuggled_signal_event_is_found_and_named():
    label = labels()
    split = split_events(label)
    signal = split.test_signal[3]
    for name in ("train", "val"):
        parts = {"train": split.train, "val": split.val}
        parts[name] = np.append(parts[name], signal)
        bad = Split(parts["train"], parts["val"], split.test_background, signal)
        with pytest.raises(ValueError, match=rf"{name}: .* got 1 of .*: {signal}$"):
            check_split(bad, label)
        rows = np.arange(len(label)) + 7000
        with pytest.raises(ValueError, match=rf"first rows: {signal + 7000}$"):
            check_split(bad, label, rows)


def test_check_names_sizes_and_clean_parts():
    label = labels()
    split = split_events(label)
    lines = check_split(split, label)
    assert lines["train"] == f"{len(split.train):,} events, clean"
    assert lines["val"].endswith("clean")
    assert lines["test"].endswith(f"{label.sum()} signal")


def test_contamination_on_purpose_is_exact_and_leaves_the_test():
    label = labels()
    split = split_events(label, contamination=0.05)
    plain = split_events(label)
    signal = split.train[label[split.train] == 1]
    assert len(signal) == split.num_contaminating
    assert abs(len(signal) / len(split.train) - 0.05) < 1e-3
    assert not np.isin(signal, split.test).any()
    background = split.train[label[split.train] == 0]
    np.testing.assert_array_equal(np.sort(background), np.sort(plain.train))
    np.testing.assert_array_equal(split.val, plain.val)
    assert "on purpose" in check_split(split, label)["train"]
    again = split_events(label, contamination=0.05)
    np.testing.assert_array_equal(again.train, split.train)


def test_contamination_that_is_not_the_one_asked_for_is_refused():
    label = labels()
    positions = np.flatnonzero(label)[:2]
    with pytest.raises(ValueError, match=r"expected 3 events .* got 2 of 2"):
        check_contamination("train", positions, label, allowed=3)


def test_quotas_take_the_first_of_the_file():
    label = np.array([0, 1, 0, 0, 1, 0, 0, 1])
    split = split_quotas(label, 2, 2, 1)
    np.testing.assert_array_equal(split.train, [0, 2])
    np.testing.assert_array_equal(split.test, [3, 5, 1])
    assert len(split.val) == 0


@pytest.mark.parametrize(
    ("quotas", "name"),
    [
        ((6, 0, 1), "train_target"),
        ((3, 3, 1), "test_bg_target: asked for 3 events, there are 2"),
        ((3, 1, 4), "test_sig_target"),
    ],
)
def test_quota_that_cannot_be_met_is_an_error(quotas, name):
    with pytest.raises(ValueError, match=name):
        split_quotas(np.array([0, 1, 0, 0, 1, 0, 0, 1]), *quotas)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="got 2 at 1"):
        split_events(np.array([0, 2, 0]))
    with pytest.raises(ValueError, match="train_ratio, val_ratio"):
        split_events(labels(), train_ratio=0.9, val_ratio=0.2)
    with pytest.raises(ValueError, match="subset_size"):
        split_events(labels(), subset_size=-1)
    with pytest.raises(ValueError, match=r"contamination=0\.5: needs"):
        split_events(labels(), contamination=0.5)
