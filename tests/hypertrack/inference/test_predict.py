"""A run is loaded with its nets and cells, and its tracks go to Parquet."""

import jax
import numpy as np
import optax
import pyarrow.parquet as pq
import pytest

from jaxphys.hypertrack.inference import predict
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.inference.tuned import Stored, write_tuned
from jaxphys.hypertrack.training import step
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.task import Progress
from tests.hypertrack.event_sets import write_event
from tests.hypertrack.toy_tracks import toy_events
from tests.hypertrack.tracked_events import (
    CLUSTERING,
    NET,
    SETTINGS,
    TRANSFORMER,
    tracker_of,
    variables_of,
    voxels_of,
)


@pytest.fixture(scope="module")
def events():
    return toy_events(2)


@pytest.fixture(scope="module")
def voxels(events):
    return voxels_of(events)


BOUND = {"objective": SETTINGS, "optimizer": optax.sgd(1e-3)}


@pytest.fixture(scope="module")
def variables():
    return variables_of(jax.random.key(0))


def save(folder, voxels, variables, phase, best_phase="", seed=0):
    state = step.initial_state(variables, **BOUND)
    progress = Progress(step=5, phase=phase)
    if best_phase:
        state = state.replace(best=jax.tree.map(lambda x: x + 1, variables))
        progress = progress.replace(best_phase=best_phase, extra={"best_step": 3.0})
    keeper = Checkpointer(folder / "checkpoints")
    keeper.save(state, progress, {})
    keeper.close()
    predict.save_network(
        folder, NET, TRANSFORMER, CLUSTERING, "transformer", voxels, mu=2, seed=seed
    )  # fmt: skip


def test_a_loaded_run_finds_the_same_tracks(tmp_path, events, voxels, variables):
    save(tmp_path, voxels, variables, "joint")
    found = predict.load(tmp_path)
    assert found.tracker.net == NET
    assert found.tracker.transformer == TRANSFORMER
    assert found.tracker.settings == CLUSTERING
    assert found.metadata["mu"] == 2
    assert found.metadata["step"] == 5
    assert (found.weights, found.weights_step) == ("last", 5)  # none was evaluated
    own = tracker_of(voxels, variables)
    for event, tracks in zip(events, found.predict(events, seed=1), strict=True):
        want = own.reconstruct(event.position, 1 + event.event_id)
        np.testing.assert_array_equal(tracks.labels, want.labels)
        np.testing.assert_allclose(tracks.reconstruction.edges.prob, want.edges.prob)
    jaccard = predict.load(tmp_path, cluster="jaccard", threshold=0.5)
    assert jaccard.tracker.options == {"threshold": 0.5}


def test_before_the_joint_phase_a_simple_clustering_takes_over(
    tmp_path, voxels, variables
):
    save(tmp_path, voxels, variables, "edges")
    assert predict.load(tmp_path).tracker.algorithm == "jaccard"
    with pytest.raises(ValueError, match="has not trained the transformer"):
        predict.load(tmp_path, cluster="transformer")
    with pytest.raises(ValueError, match="expected best or last"):
        predict.load(tmp_path, weights="first")


def test_what_the_end_of_a_run_chose_is_the_default(
    tmp_path, events, voxels, variables
):
    save(tmp_path, voxels, variables, "edges", seed=11)
    choice = {
        "transformer": ({}, float("nan")),
        "cut": ({"threshold": 0.3}, 0.8),
        "jaccard": ({"threshold": 0.2, "min_overlap": 0.6}, 0.7),
    }
    write_tuned(tmp_path, Stored(choice, {}))
    assert predict.load(tmp_path).tracker.algorithm == "cut"
    assert predict.load(tmp_path).tracker.options == {"threshold": 0.3}
    found = predict.load(tmp_path, cluster="jaccard", min_overlap=0.9)
    assert found.tracker.options == {"threshold": 0.2, "min_overlap": 0.9}
    assert predict.load(tmp_path, cluster="hdbscan").tracker.options == {}


def test_the_seed_of_the_run_is_the_default(
    tmp_path, events, voxels, variables, monkeypatch
):
    save(tmp_path, voxels, variables, "joint", seed=11)
    found, seeds = predict.load(tmp_path), []
    monkeypatch.setattr(
        Tracker, "reconstruct", lambda self, position, seed: seeds.append(seed)
    )
    for given in (None, 0):
        list(found.predict(events, seed=given))
    ids = [event.event_id for event in events]
    assert seeds == [*(11 + number for number in ids), *ids]


@pytest.mark.parametrize("phase", ["edges", "joint"])
def test_best_weights_bring_the_phase_that_they_are_of(
    tmp_path, voxels, variables, phase
):
    save(tmp_path, voxels, variables, "joint", phase)
    found = predict.load(tmp_path)
    assert (found.weights, found.weights_step) == ("best", 3)
    moved = jax.tree.map(lambda x: x + 1, variables)
    jax.tree.map(
        np.testing.assert_array_equal,
        found.tracker.variables,
        {"params": moved["params"]["net"], "batch_stats": moved["batch_stats"]},
    )
    assert (found.tracker.transformer is None) == (phase == "edges")
    last = predict.load(tmp_path, weights="last")
    assert (last.weights, last.weights_step) == ("last", 5)
    assert last.tracker.transformer == TRANSFORMER
    jax.tree.map(
        np.testing.assert_array_equal,
        last.tracker.variables["params"],
        variables["params"]["net"],
    )


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no network\.json: not a run"):
        predict.load(tmp_path)


def test_tracks_in_parquet_hold_the_hits_of_every_event(
    tmp_path, events, voxels, variables
):
    tracker = tracker_of(voxels, variables, "cut", threshold=0.1)
    found = list(predict.Predictor(tracker).predict(events))
    assert predict.write_tracks(tmp_path / "tracks.parquet", found) == 2
    assert predict.write_tracks(tmp_path / "hits.parquet", found, per_hit=True) == 2
    file = pq.ParquetFile(tmp_path / "tracks.parquet")
    assert file.num_row_groups == 2
    rows = file.read().to_pylist()
    assert rows
    for event, tracks in zip(events, found, strict=True):
        mine = [row for row in rows if row["event_id"] == event.event_id]
        assert [row["track"] for row in mine] == list(range(tracks.labels.max() + 1))
        for row in mine:
            hits = event.hit_id[tracks.labels == row["track"]]
            assert row["hit_id"] == hits.tolist()
            assert row["num_hits"] == len(hits)
            assert row["charge"] in (-1, 0, 1)
    hits = pq.read_table(tmp_path / "hits.parquet")
    labels = np.concatenate([t.labels for t in found])
    np.testing.assert_array_equal(hits["track_id"], labels)


def test_an_event_without_tracks_is_a_group_without_rows(tmp_path, events, voxels):
    variables = variables_of(jax.random.key(0))
    tracker = tracker_of(voxels, variables, "none")
    path = tmp_path / "tracks.parquet"
    predict.write_tracks(path, predict.Predictor(tracker).predict(events[:1]))
    assert pq.read_metadata(path).num_rows == 0


def test_files_of_other_kinds_and_no_events_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.parquet file"):
        predict.write_tracks(tmp_path / "tracks.csv", [])
    with pytest.raises(ValueError, match="at least one, got none"):
        predict.write_tracks(tmp_path / "tracks.parquet", [])
    assert not list(tmp_path.iterdir())


def test_events_are_read_from_files_and_chosen_by_number(
    tmp_path, events, voxels, variables
):
    for event in events:
        write_event(tmp_path, event, particle_type=False)
    tracker = tracker_of(voxels, variables, "cut", threshold=0.1)
    last = events[1].event_id
    found = list(predict.Predictor(tracker).predict(tmp_path, [last], [last]))
    assert [t.event_id for t in found] == [last]
    want = tracker.reconstruct(events[1].position).labels
    np.testing.assert_array_equal(found[0].labels, want)


def test_the_last_weights_of_a_run_start_another_one(tmp_path, voxels, variables):
    save(tmp_path, voxels, variables, "edges")
    found = predict.load_variables(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    state = step.initial_state(found, **BOUND)
    jax.tree.map(np.testing.assert_array_equal, state.params, variables["params"])
