"""The sparse join gives the pairs of connected cells, in order, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.hypertrack.model import candidates
from jaxphys.hypertrack.model.candidates import (
    candidate_graph,
    candidate_rows,
    count_edges,
    edge_index_of,
    reverse_edges,
)
from jaxphys.hypertrack.model.voxels import VoxelModel
from tests.hypertrack.toy_tracks import toy_event


def random_model(ncell=40, density=0.2, seed=0):
    """Returns random cells with random symmetric connections."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((ncell, ncell)) < density)
    rows, columns = np.nonzero(upper | upper.T)
    indptr = np.searchsorted(rows, np.arange(ncell + 1))
    centroids = rng.normal(0, 400, (ncell, 3)).astype(np.float32)
    return VoxelModel(
        centroids, indptr.astype(np.int64), columns.astype(np.int32), "hyper", 0
    )


def expected_edges(model, position):
    """Returns the pairs of the dense product P C P^T, by destination and source."""
    cell = ((position[:, None].astype(float) - model.centroids) ** 2).sum(-1).argmin(1)
    joined = model.matrix.toarray()[np.ix_(cell, cell)]
    destination, source = np.nonzero(joined.T)
    return np.stack([source, destination])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 14), st.floats(0, 1))
def test_edges_are_the_dense_product_in_the_order_of_the_net(seed, tracks, density):
    model, event = (
        random_model(density=density, seed=seed),
        toy_event(tracks, seed=seed),
    )
    found = candidate_graph(model, event.position)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected_edges(model, event.position))
    assert count_edges(model, model.cells(event.position)) == found.shape[1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_reverse_edge_runs_the_other_way_and_back(seed):
    model, event = random_model(seed=seed), toy_event(seed=seed)
    indptr, sources = candidate_rows(model, model.cells(event.position))
    edges, back = edge_index_of(indptr, sources), reverse_edges(indptr, sources)
    np.testing.assert_array_equal(edges[::-1], edges[:, back])
    np.testing.assert_array_equal(back[back], np.arange(len(sources)))


def test_graph_moves_with_the_hits():
    model, event = random_model(), toy_event(seed=4)
    order = np.random.default_rng(0).permutation(event.num_hits)
    size = event.num_hits
    whole = candidate_graph(model, event.position)
    moved = order[candidate_graph(model, event.position[order])]
    keys = np.sort(whole[0] * size + whole[1])
    np.testing.assert_array_equal(keys, np.sort(moved[0] * size + moved[1]))


def test_no_hits_make_no_edges():
    model = random_model()
    assert candidate_graph(model, np.zeros((0, 3), np.float32)).shape == (2, 0)
    assert count_edges(model, np.zeros(0, np.int32)) == 0


def test_unconnected_cells_make_no_edges():
    model = random_model(density=0)
    assert candidate_graph(model, toy_event().position).shape == (2, 0)


def test_too_many_edges_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(candidates, "_MOST_EDGES", 100)
    with pytest.raises(ValueError, match=r"40 cells: \d+ edges, expected at most 100"):
        candidate_graph(random_model(), toy_event().position)
