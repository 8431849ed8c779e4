"""Preparing a store: equal for any chunks and workers, resumable, never half done."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from jaxphys.data.batches import sequential
from jaxphys.hidden_vertex.batches import GraphBatches
from jaxphys.hidden_vertex.data import prepare as prepare_module
from jaxphys.hidden_vertex.data.prepare import Recipe, prepare
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.data.store import ARRAYS, check_store
from jaxphys.hidden_vertex.physics.graphs import (
    NO_NEIGHBOUR,
    aggregate,
    features,
    knn_neighbours,
    radius_edges,
)
from jaxphys.hidden_vertex.physics.jets import event_frame, find_jets, jets_frame
from jaxphys.hidden_vertex.physics.observables import (
    antikt_observables,
    cone_observables,
)
from tests.hidden_vertex.samples import Rows, lhco_rows, write_lhco, write_ragged

SIZES = [3, 0, 30, 1, 12, 40, 0, 9, 5, 2, 0, 0]


def count_and_energy(particles, offset):
    energy = [particles[a:b, 0].sum() for a, b in itertools.pairwise(offset)]
    return {"num_particles": np.diff(offset), "sum_pt": np.array(energy)}


WHOLE = Recipe(
    radius=0.6,
    with_ax=True,
    views=("event", "jets"),
    observables=count_and_energy,
    read_rows=5,
)


@pytest.fixture
def source(tmp_path):
    return write_lhco(tmp_path / "a.h5", lhco_rows(SIZES))


def assert_same_arrays(found, expected):
    assert found.meta["arrays"] == expected.meta["arrays"]
    for name in found.meta["arrays"]:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.fingerprint == expected.fingerprint


def test_store_holds_graphs_aggregates_and_observables(source, tmp_path):
    store = prepare(source, tmp_path / "store", WHOLE)
    assert set(store.meta["arrays"]) == set(ARRAYS)
    check_store(store)
    found = {name: np.asarray(getattr(store, name)) for name in ARRAYS}
    for e in range(len(store)):
        part, event = slice(*store.offset[e : e + 2]), store[e]
        near = knn_neighbours(event[:, 1:], 6)
        table = found["neighbour"][part]
        np.testing.assert_array_equal(table[:, : near.shape[1]], near)
        assert np.all(table[:, near.shape[1] :] == NO_NEIGHBOUR)
        edges = found["edge"][slice(*found["edge_offset"][e : e + 2])]
        np.testing.assert_array_equal(edges.T, radius_edges(event[:, 1:], 0.6))
    expected = aggregate(features(store.x), found["neighbour"], store.offset)
    np.testing.assert_array_equal(found["ax"], expected)
    assert store.meta["observables"] == ["num_particles", "sum_pt"]
    np.testing.assert_array_equal(found["observables"][:, 0], store.sizes)
    jets = find_jets(store.x, store.offset)
    np.testing.assert_array_equal(found["jets"], jets_frame(jets))
    np.testing.assert_array_equal(found["event"], event_frame(jets))
    energy = found["observables"][4, 1]
    np.testing.assert_allclose(energy, store[4][:, 0].sum(), rtol=1e-6)


@pytest.mark.parametrize("read_rows", [1, 4, 100])
def test_chunks_do_not_change_the_store(source, tmp_path, read_rows):
    expected = prepare(source, tmp_path / "whole", WHOLE)
    recipe = Recipe(**{**vars(WHOLE), "read_rows": read_rows})
    assert_same_arrays(prepare(source, tmp_path / "other", recipe), expected)


def test_workers_do_not_change_the_store(source, tmp_path):
    expected = prepare(source, tmp_path / "one", WHOLE)
    found = prepare(source, tmp_path / "two", WHOLE, workers=2)
    assert_same_arrays(found, expected)


def test_rows_that_are_made_on_the_way_are_prepared_like_a_file(source, tmp_path):
    expected = prepare(source, tmp_path / "file", WHOLE)
    made = Rows(lhco_rows(SIZES))
    found = prepare(made, tmp_path / "rows", WHOLE, workers=2)
    assert_same_arrays(found, expected)


def test_error_in_a_worker_names_the_row(tmp_path):
    rows = lhco_rows(SIZES)
    rows[7, 3] = -2.0
    path = write_lhco(tmp_path / "bad.h5", rows)
    with pytest.raises(ValueError, match=r"bad\.h5: row 7, column 3 .*got -2"):
        prepare(path, tmp_path / "store", WHOLE, workers=2)
    assert not (tmp_path / "store").exists()


def test_store_without_options_is_small(source, tmp_path):
    store = prepare(source, tmp_path / "store", Recipe(k=0))
    assert store.meta["arrays"] == ["x", "offset", "label", "event_id"]
    assert store.neighbour is None


@pytest.mark.parametrize("view", ["jets", "event"])
def test_store_of_one_view_needs_no_graphs(source, tmp_path, view):
    recipe = Recipe(k=0, views=(view,), observables=cone_observables)
    store = prepare(source, tmp_path / "store", recipe)
    expected = ["x", "offset", "label", "event_id", "observables", view]
    assert store.meta["arrays"] == expected
    assert isinstance(getattr(store, view), np.memmap)
    assert getattr(store, "event" if view == "jets" else "jets") is None
    m1 = store.meta["observables"].index("m1")
    expected = cone_observables(store.x, store.offset)["m1"]
    np.testing.assert_array_equal(np.asarray(store.observables)[:, m1], expected)


def test_fastjet_jets_are_another_recipe(source, tmp_path):
    pytest.importorskip("fastjet", reason="needs jaxphys[events]")
    cones = prepare(source, tmp_path / "cones", Recipe(k=0, views=("jets",)))
    recipe = Recipe(
        k=0, views=("jets",), jets="fastjet", observables=antikt_observables
    )
    store = prepare(source, tmp_path / "store", recipe)
    expected = jets_frame(find_jets(store.x, store.offset, "fastjet"))
    np.testing.assert_array_equal(store.jets, expected)
    assert np.any(np.asarray(store.jets) != np.asarray(cones.jets))
    assert store.meta["observables"][-2:] == ["tau21_1", "tau21_2"]
    assert np.all(np.isfinite(np.asarray(store.observables)))
    with pytest.raises(ValueError, match="jets: expected 'cones', got 'fastjet'"):
        prepare(source, tmp_path / "store", Recipe(**{**vars(recipe), "jets": "cones"}))


def test_store_from_before_there_were_views_is_the_same_recipe(source, tmp_path):
    expected = prepare(source, tmp_path / "store")
    path = tmp_path / "store" / "meta.json"
    meta = json.loads(path.read_text())
    assert not {"views", "jets"} & set(meta["request"])
    assert_same_arrays(prepare(source, tmp_path / "store"), expected)
    assert expected.jets is None
    assert expected.event is None


def test_periodic_neighbours_are_another_recipe(source, tmp_path):
    store = prepare(source, tmp_path / "store", Recipe(periodic_phi=True))
    part = slice(*store.offset[4:6])
    expected = knn_neighbours(store[4][:, 1:], 6, periodic_phi=True)
    np.testing.assert_array_equal(np.asarray(store.neighbour)[part], expected)
    with pytest.raises(ValueError, match=r"made differently .*metric: expected 'eucl"):
        prepare(source, tmp_path / "store")


def test_subset_takes_the_first_rows(source, tmp_path):
    store = prepare(source, tmp_path / "store", subset_size=5)
    np.testing.assert_array_equal(store.event_id, [0, 2, 3, 4])
    assert store.meta["empty_rows"] == [1]


def test_files_without_labels_are_for_prediction(tmp_path):
    path = write_lhco(tmp_path / "a.h5", lhco_rows(SIZES)[:, :-1])
    with pytest.raises(ValueError, match="label"):
        prepare(path, tmp_path / "store")
    store = prepare(path, tmp_path / "store", allow_unlabelled=True)
    assert store.label is None
    assert store.label_counts == {}
    assert len(store) == 8


def test_parquet_and_hdf5_of_the_same_events_give_close_stores(source, tmp_path):
    other = write_ragged(tmp_path / "a.parquet", lhco_rows(SIZES))
    a = prepare(source, tmp_path / "a")
    b = prepare(other, tmp_path / "b")
    np.testing.assert_array_equal(a.offset, b.offset)
    np.testing.assert_array_equal(a.label, b.label)
    np.testing.assert_allclose(features(a.x), features(b.x), atol=1.2e-3)


def test_finished_store_is_returned_as_it_is(source, tmp_path, monkeypatch):
    expected = prepare(source, tmp_path / "store", WHOLE)
    monkeypatch.setattr(prepare_module, "make_chunk", None)  # would be called
    assert_same_arrays(prepare(source, tmp_path / "store", WHOLE), expected)


def test_interrupted_call_goes_on_with_the_missing_chunks(
    source, tmp_path, monkeypatch
):
    expected = prepare(source, tmp_path / "whole", WHOLE)
    make_chunk, made = prepare_module.make_chunk, []

    def fails_once(*job):
        made.append(job[2])
        if len(made) == 2:
            raise KeyboardInterrupt
        return make_chunk(*job)

    monkeypatch.setattr(prepare_module, "make_chunk", fails_once)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", WHOLE)
    assert not (tmp_path / "store").exists()
    with pytest.raises(ValueError, match=r"made differently .* k: expected 3, got 6"):
        prepare(source, tmp_path / "store", Recipe(**{**vars(WHOLE), "k": 3}))
    assert_same_arrays(prepare(source, tmp_path / "store", WHOLE), expected)
    assert made == [0, 5, 5, 10]
    assert not (tmp_path / ".store.partial").exists()


KILLED = """
import sys, time
from jaxphys.hidden_vertex.data import prepare as room

make_chunk = room.make_chunk
def slow(*job):
    print("chunk", flush=True)
    time.sleep(0.2)
    return make_chunk(*job)
room.make_chunk = slow
room.prepare(sys.argv[1], sys.argv[2], room.Recipe(read_rows=1))
"""


def test_killed_call_leaves_no_store_and_can_be_repeated(source, tmp_path):
    folder = tmp_path / "store"
    command = [sys.executable, "-c", KILLED, source, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = iter(process.stdout or [])
        for _ in range(4):
            next(lines)
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not folder.exists()
    done = list((tmp_path / ".store.partial" / "chunks").glob("*.npz"))
    assert 0 < len(done) < len(SIZES)
    found = prepare(source, folder, Recipe(read_rows=1))
    assert_same_arrays(found, prepare(source, tmp_path / "whole"))


def test_folder_with_other_files_is_left_alone(source, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a new folder"):
        prepare(source, tmp_path / "store")
    assert (tmp_path / "store" / "notes.txt").read_text() == "mine"


def test_source_without_particles_is_refused(tmp_path):
    path = write_lhco(tmp_path / "a.h5", lhco_rows([0, 0]))
    with pytest.raises(ValueError, match="none of 2 rows holds an event"):
        prepare(path, tmp_path / "store")


def test_memory_holds_a_chunk_and_never_the_whole_file(tmp_path):
    rows = lhco_rows([200] * 400)
    path = write_lhco(tmp_path / "a.h5", rows)
    tracemalloc.start()
    try:
        store = prepare(path, tmp_path / "store", Recipe(read_rows=20))
        peak = tracemalloc.get_traced_memory()[1]
        data = GraphBatches(store, np.arange(400), 8, sequential(400))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for i in range(50):
            data.batch(0, i, slice(None))
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert store.x.nbytes == 400 * 200 * 12
    assert peak < 0.3 * rows.nbytes  # 20 rows, their distances, what is imported
    assert grown < 0.4 * store.x.nbytes  # 8 of 400 events


def test_progress_shows_events(source, tmp_path, capsys):
    prepare(source, tmp_path / "store", progress=True)
    assert "12/12" in capsys.readouterr().err


def test_bad_settings_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match="k, radius, read_rows"):
        Recipe(k=-1)
    with pytest.raises(ValueError, match="with_ax: needs neighbours"):
        Recipe(k=0, with_ax=True)
    bad: list[dict[str, Any]] = [{"views": ("gcn",)}, {"views": "jets"}, {"jets": "kt"}]
    for settings in bad:
        with pytest.raises(ValueError, match="views, jets: expected a tuple of"):
            Recipe(**settings)
    with pytest.raises(ValueError, match="subset_size, workers"):
        prepare(open_source(source), tmp_path / "store", workers=0)


def test_real_rows_are_prepared(data_dir, tmp_path):
    path = data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5"
    store = prepare(path, tmp_path / "store", Recipe(radius=0.4))
    check_store(store)
    assert store.label_counts == {0: 452, 1: 48}
    assert np.asarray(store.edge_offset)[1] == 1750
    found = store.meta["statistics"]["background"]
    np.testing.assert_allclose(found["mean"], [1.40, -0.04, -0.02], atol=0.01)
    np.testing.assert_allclose(found["std"], [1.49, 1.48, 1.81], atol=0.01)
