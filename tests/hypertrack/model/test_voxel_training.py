"""Training connects what tracks connect; reflections enter without being made."""

import dataclasses
import functools

import numpy as np
import pytest

from jaxphys.hypertrack.analysis.edge_metrics import candidate_counts, mean_rates
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.data.reduction import reduce
from jaxphys.hypertrack.model import voxel_training
from jaxphys.hypertrack.model.candidates import candidate_graph
from jaxphys.hypertrack.model.voxel_training import (
    TrainingTracks,
    cell_matrix,
    gather_tracks,
    train_voxels,
)
from jaxphys.hypertrack.model.voxels import OCTANTS
from jaxphys.hypertrack.physics.truth_graph import edge_labels, true_pairs
from tests.hypertrack.toy_tracks import toy_event, toy_events

EVENTS = toy_events(12)
TRACKS = gather_tracks(EVENTS)


def connected(model, events, node2node):
    """Returns the matrix by a loop over events."""
    found = np.zeros((model.num_cells, model.num_cells), bool)
    for event in events:
        cell = model.cells(event.position)
        rows, offsets = event.track_hits()
        pairs = true_pairs(event.position, rows, offsets, node2node)
        found[cell[pairs[0]], cell[pairs[1]]] = True
    return found


@pytest.mark.parametrize("node2node", ["hyper", "eom", "cricket"])
def test_cells_are_connected_where_a_true_pair_lies(node2node):
    model = train_voxels(TRACKS, 80, node2node, niter=3)
    expected = connected(model, EVENTS, node2node)
    np.testing.assert_array_equal(model.matrix.toarray(), expected)
    assert model.density == expected.mean()


@pytest.mark.parametrize("node2node", ["hyper", "eom", "cricket"])
def test_reflections_enter_as_if_they_were_made(node2node):
    model = train_voxels(TRACKS, 80, node2node, niter=3, augment=8)
    reflected = [
        dataclasses.replace(e, position=(e.position * signs).astype(np.float32))
        for e in EVENTS
        for signs in OCTANTS
    ]
    expected = connected(model, reflected, node2node)
    np.testing.assert_array_equal(model.matrix.toarray(), expected)
    np.testing.assert_array_equal(expected, expected.T)


def test_every_true_pair_of_the_training_events_is_a_candidate():
    for augment in (1, 8):
        model = train_voxels(TRACKS, 160, niter=2, augment=augment)
        for event in EVENTS[:3]:
            counts = candidate_counts(model, event)
            assert counts.tpr == 1.0
            assert counts.edges < event.num_hits**2


def test_chunks_of_tracks_give_the_same_matrix(monkeypatch):
    model = train_voxels(TRACKS, 80, niter=2)
    cells = model.cells(TRACKS.position)
    for limit in (1, 500):
        monkeypatch.setattr(voxel_training, "_PAIRS_AT_A_TIME", limit)
        found = cell_matrix(cells, TRACKS, 80, "hyper")
        np.testing.assert_array_equal(found.indices, model.indices)
        np.testing.assert_array_equal(found.indptr, model.indptr)


def test_model_depends_on_the_seed_only():
    first, again, other = (train_voxels(TRACKS, 80, seed=s) for s in (1, 1, 2))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_weights_move_the_centres():
    plain, weighted = (train_voxels(TRACKS, 16, weighted=w) for w in (False, True))
    assert not np.allclose(plain.centroids, weighted.centroids)


def test_tracks_are_gathered_without_noise():
    assert len(TRACKS.position) == sum((e.label >= 0).sum() for e in EVENTS)
    assert len(TRACKS.offsets) - 1 == sum(e.num_tracks for e in EVENTS)
    rows, offsets = EVENTS[0].track_hits()
    np.testing.assert_array_equal(
        TRACKS.position[: len(rows)], EVENTS[0].position[rows]
    )
    np.testing.assert_array_equal(TRACKS.offsets[: len(offsets)], offsets)
    np.testing.assert_array_equal(TRACKS.weight[: len(rows)], EVENTS[0].weight[rows])


def test_settings_out_of_range_are_refused():
    for ncell, augment in ((81, 8), (80, 2)):
        with pytest.raises(ValueError, match=f"multiple of 8 cells.*ncell={ncell}"):
            train_voxels(TRACKS, ncell, augment=augment)
    with pytest.raises(ValueError, match="node2node: expected one of"):
        train_voxels(TRACKS, 80, "knn")
    with pytest.raises(ValueError, match="as many cells as there are training hits"):
        train_voxels(TRACKS, 10**6)
    bad = TrainingTracks(TRACKS.position * np.nan, TRACKS.offsets, TRACKS.weight)
    with pytest.raises(ValueError, match="finite"):
        train_voxels(bad, 80)


def test_events_without_truth_or_tracks_are_refused():
    unknown = dataclasses.replace(EVENTS[0], has_truth=False)
    with pytest.raises(ValueError, match="event 100: voxels need the truth"):
        gather_tracks([unknown])
    with pytest.raises(ValueError, match="expected tracks, got none"):
        gather_tracks([toy_event(0)])


@functools.cache
def supplied(folder):
    """Returns the training tracks and the validation events of the simulation."""
    full, mu20 = (open_events(str(folder / n)) for n in ("full_mu200", "train_mu20"))
    chosen = [*(full[i] for i in range(4)), *(mu20[i] for i in range(40))]
    return gather_tracks(chosen), [mu20[i] for i in range(40, 48)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ncell", "augment", "tpr", "fpr"),
    [
        (16_384, 1, 0.904, 0.00635),
        (16_384, 8, 0.983, 0.01280),
        (65_536, 1, 0.621, 0.00110),
        (65_536, 8, 0.894, 0.00368),
    ],
)
def test_rates_of_the_simulated_events_are_reached(data_dir, ncell, augment, tpr, fpr):
    tracks, events = supplied(data_dir("hypertrack"))
    assert len(tracks.position) == 829_703
    model = train_voxels(tracks, ncell, niter=8, augment=augment)
    rates = mean_rates(candidate_counts(model, event) for event in events)
    assert rates.tpr[0] > tpr - 0.01
    assert rates.fpr[0] < 1.1 * fpr


@pytest.mark.slow
def test_rates_do_not_depend_on_the_pile_up(data_dir):
    tracks, events = supplied(data_dir("hypertrack"))
    model = train_voxels(tracks, 65_536, niter=8, augment=8)
    found = []
    for rfactor, draws in ((0.1, 8), (0.5, 2), (1.0, 1)):
        rngs = [np.random.default_rng([7, i]) for i in range(draws)]
        parts = [reduce(e, rfactor, 0.05, rng) for e in events for rng in rngs]
        counts = [candidate_counts(model, part) for part in parts]
        tp, pos, fp, neg = (
            sum(getattr(c, name) for c in counts) for name in ("tp", "pos", "fp", "neg")
        )
        found.append((tp / pos, fp / neg))
    tpr, fpr = np.array(found).T
    assert np.ptp(tpr) < 0.02
    assert fpr.max() < 1.1 * fpr.min()


def test_counts_agree_with_the_labels_of_the_graph():
    model = train_voxels(TRACKS, 80, niter=2)
    event = toy_event(seed=999)
    edges = candidate_graph(model, event.position)
    found = candidate_counts(model, event)
    assert found.edges == edges.shape[1]
    assert found.tp == edge_labels(edges, event.label).sum()
