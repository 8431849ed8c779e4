"""The ragged store: slices, gathers, statistics, and damage that is found."""

import json

import numpy as np
import pytest

from jaxphys.hidden_vertex.data.prepare import Recipe, prepare
from jaxphys.hidden_vertex.data.store import (
    check_scale,
    check_store,
    feature_statistics,
    open_store,
    ragged_rows,
)
from jaxphys.hidden_vertex.physics.graphs import features
from tests.hidden_vertex.samples import lhco_rows, write_lhco

SIZES = [3, 0, 30, 1, 12, 40, 0, 9, 5, 2]


@pytest.fixture
def store(tmp_path):
    path = write_lhco(tmp_path / "a.h5", lhco_rows(SIZES))
    recipe = Recipe(read_rows=4, radius=0.4, views=("jets",))
    return prepare(path, tmp_path / "store", recipe)


def test_arrays_are_mapped_not_loaded(store):
    assert isinstance(store.x, np.memmap)
    assert isinstance(store.neighbour, np.memmap)
    assert not store.x.flags.writeable


def test_any_event_is_one_slice(store):
    rows = lhco_rows(SIZES)
    assert len(store) == 8
    for position, row in enumerate(store.event_id):
        expected = rows[row, : 3 * SIZES[row]].reshape(-1, 3)
        np.testing.assert_array_equal(store[position], expected)
    np.testing.assert_array_equal(store[-1], store[7])
    with pytest.raises(IndexError):
        store[8]
    np.testing.assert_array_equal(store.sizes, [3, 30, 1, 12, 40, 9, 5, 2])


def test_events_are_gathered_in_any_order(store):
    positions = np.array([4, 0, 0, 7])
    events = store.events(positions)
    np.testing.assert_array_equal(events.offset, [0, 40, 43, 46, 48])
    np.testing.assert_array_equal(
        events.particles, np.concatenate([store[i] for i in positions])
    )
    np.testing.assert_array_equal(events.label, store.label[positions])
    np.testing.assert_array_equal(events.event_id, store.event_id[positions])


def test_rows_of_segments_follow_each_other():
    rows, offset = ragged_rows(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    np.testing.assert_array_equal(rows, [2, 3, 4, 0, 1])
    np.testing.assert_array_equal(offset, [0, 3, 3, 5])
    rows, offset = ragged_rows(np.array([0, 2]), np.zeros(0, np.int64))
    assert len(rows) == 0
    np.testing.assert_array_equal(offset, [0])


def test_labels_are_counted_and_empty_events_named(store):
    assert store.label_counts == {0: 6, 1: 2}
    assert store.meta["empty_events"] == 2
    assert store.meta["empty_rows"] == [1, 6]


def test_statistics_equal_those_of_all_particles_at_once(store):
    x = features(np.array(store.x)).astype(np.float64)
    found = feature_statistics(store)
    np.testing.assert_allclose(found["mean"], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], x.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["max"], x.max(axis=0))
    np.testing.assert_allclose(found["mean_square"], (x**2).mean())
    for name, value in store.meta["statistics"]["all"].items():
        np.testing.assert_allclose(value, found[name], rtol=1e-12)
    background = feature_statistics(store, np.flatnonzero(store.label == 0))
    for name, value in store.meta["statistics"]["background"].items():
        np.testing.assert_allclose(value, background[name], rtol=1e-12)


def test_raw_pt_in_place_of_its_logarithm_is_refused():
    check_scale(7.7)
    check_scale(1500.0, allow_unscaled=True)
    with pytest.raises(ValueError, match=r"expected log pT, at most 20.0, got 1500"):
        check_scale(1500.0)


def test_whole_store_passes_its_check(store):
    check_store(store)
    assert open_store(store.folder).fingerprint == store.fingerprint


def change(store, name, index, value):
    array = np.array(np.load(store.folder / f"{name}.npy"))
    array[index] = value
    np.save(store.folder / f"{name}.npy", array)


def test_changed_labels_are_found_when_opened(store):
    change(store, "label", 2, 1)
    with pytest.raises(ValueError, match=r"label\.npy: its checksum"):
        open_store(store.folder)


def test_changed_particles_are_found_by_the_check(store):
    change(store, "x", (5, 0), 99.0)
    with pytest.raises(ValueError, match=r"x\.npy: its checksum is not"):
        check_store(open_store(store.folder))


@pytest.mark.parametrize("name", ["jets", "neighbour", "edge"])
def test_one_changed_byte_of_any_array_is_found_by_the_check(store, name):
    path = store.folder / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"{name}\.npy: its checksum is not"):
        check_store(open_store(store.folder))


def test_rules_hold_in_stores_without_checksums(store):
    change(store, "event_id", 3, 0)
    path = store.folder / "meta.json"
    meta = json.loads(path.read_text())
    del meta["sha256"]
    path.write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"event_id\.npy: expected ascending numbers"):
        check_store(open_store(store.folder))


@pytest.mark.parametrize("name", ["x", "offset", "label", "edge", "jets"])
def test_truncated_and_missing_arrays_are_named(store, name):
    path = store.folder / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name}\.npy: not a whole array"):
        open_store(store.folder)
    path.unlink()
    with pytest.raises(ValueError, match=rf"{name}\.npy: not a whole array"):
        open_store(store.folder)


def test_arrays_that_do_not_belong_together_are_refused(store):
    np.save(store.folder / "event_id.npy", np.arange(3))
    with pytest.raises(ValueError, match=r"event_id\.npy: expected int64 \[8\], got"):
        open_store(store.folder)


def test_views_of_another_shape_are_refused(store):
    np.save(store.folder / "jets.npy", np.zeros((8, 2, 40, 3), np.float32))
    message = (
        r"jets\.npy: expected float32 \[8, 2, 48, 3\], got float32 \[8, 2, 40, 3\]"
    )
    with pytest.raises(ValueError, match=message):
        open_store(store.folder)


def test_offset_that_does_not_end_with_the_particles_is_refused(store):
    change(store, "offset", -1, 5)
    with pytest.raises(ValueError, match=r"offset\.npy: expected 0 to 102, got 0 to 5"):
        open_store(store.folder)


def test_other_folders_and_versions_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match=r"no store there .*: run prepare"):
        open_store(tmp_path)
    path = store.folder / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "feature_version": 0}))
    with pytest.raises(ValueError, match="feature_version: expected 1, got 0"):
        open_store(store.folder)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"meta\.json: not JSON"):
        open_store(store.folder)
