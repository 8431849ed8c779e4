import numpy as np
import pytest

from jaxphys.hypertrack.inference import simple_clustering
from tests.hypertrack.edge_graphs import cliques, partition


@pytest.fixture(scope="module")
def event():
    return cliques(5, tracks=60, noise=20, wrong=200)


def wanted(track, least=4):
    return {p for p in partition(track) if len(p) >= least}


def test_components_above_every_wrong_edge_are_the_tracks():
    track, edges, prob, _ = cliques(6, wrong=0)
    found = simple_clustering.components(edges, prob, len(track))
    assert partition(found) == wanted(track)


def test_shared_neighbours_cut_the_edges_that_join_tracks(event):
    track, edges, prob, _ = event
    joined = partition(simple_clustering.components(edges, prob, len(track), 0.55))
    cut = partition(simple_clustering.jaccard(edges, prob, len(track), 0.55, 0.4))
    assert len(cut & wanted(track)) >= 0.9 * len(wanted(track))
    assert len(joined & wanted(track)) < 0.5 * len(wanted(track))


@pytest.mark.parametrize("products", [50, 1000, 10**7])
def test_shared_neighbours_are_counted_in_slices_of_any_size(
    event, monkeypatch, products
):
    track, edges, prob, _ = event
    kept = np.zeros((len(track),) * 2, int)
    kept[tuple(edges)] = (prob > 0.7) & (edges[0] != edges[1])
    near = ((kept + kept.T + np.eye(len(track), dtype=int)) > 0).astype(int)
    shared = near @ near
    size = near.sum(axis=1)
    ratio = shared / (size[:, None] + size - shared)
    row, column = np.nonzero((near > 0) & (ratio > 0.5))
    expected = simple_clustering.components(
        np.stack([row, column]), np.ones(len(row)), len(track)
    )
    monkeypatch.setattr(simple_clustering, "_PRODUCTS", products)
    found = simple_clustering.jaccard(edges, prob, len(track))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["dbscan", "hdbscan"])
def test_density_clusterings_find_cliques_and_leave_lonely_hits(name):
    track, edges, prob, _ = cliques(6, wrong=20)
    prob = np.where(track[edges[0]] == track[edges[1]], 0.99, prob)
    prob[(track[edges[0]] < 0) | (track[edges[1]] < 0)] = 0.1
    found = simple_clustering.ALGORITHMS[name](edges, prob, len(track))
    assert len(found) == len(track)
    assert len(partition(found) & wanted(track)) >= 0.8 * len(wanted(track))
    assert (found[track < 0] == -1).all()


@pytest.mark.parametrize("name", sorted(simple_clustering.ALGORITHMS))
def test_no_edges_no_tracks(name):
    find = simple_clustering.ALGORITHMS[name]
    for hits in (0, 6):
        found = find(np.zeros((2, 0), np.int32), np.zeros(0, np.float32), hits)
        assert found.tolist() == [-1] * hits


@pytest.mark.parametrize("name", sorted(simple_clustering.ALGORITHMS))
def test_tracks_do_not_depend_on_the_order_of_the_edges(event, name):
    track, edges, prob, _ = event
    order = np.random.default_rng(0).permutation(len(prob))
    find = simple_clustering.ALGORITHMS[name]
    assert partition(find(edges, prob, len(track))) == partition(
        find(edges[:, order], prob[order], len(track))
    )


def test_latents_far_apart_are_clusters():
    rng = np.random.default_rng(0)
    track = np.repeat(np.arange(5), 8)
    latents = rng.normal(0, 10, (5, 6))[track] + rng.normal(0, 0.05, (40, 6))
    for find in (simple_clustering.dbscan_latents, simple_clustering.hdbscan_latents):
        assert partition(find(latents)) == partition(track)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_hits_for_hdbscan_are_left_unassigned(count):
    found = simple_clustering.hdbscan_latents(np.ones((count, 3)), min_samples=3)
    assert found.tolist() == [-1] * count
