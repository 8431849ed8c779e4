"""Lloyd's algorithm agrees with brute force and improves what it minimises."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from jaxphys.hypertrack.physics.kmeans import lloyd, nearest


def cloud(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 3)) * [300, 300, 1000]).astype(np.float32)


def brute_force(points, centroids):
    squared = ((points[:, None].astype(float) - centroids) ** 2).sum(-1)
    return squared.argmin(1), squared.min(1)


def test_an_iteration_is_assignment_and_means():
    points = cloud()
    start = lloyd(points, 40, 0, seed=3).centroids.astype(float)
    cell, squared = brute_force(points, start)
    means = np.stack([points[cell == c].astype(float).mean(0) for c in range(40)])
    found = lloyd(points, 40, 1, seed=3)
    np.testing.assert_allclose(found.centroids, means, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.mean_squared_distance, squared.mean(), rtol=1e-9)


def test_weighted_means_and_cells_without_weight():
    points, rng = cloud(), np.random.default_rng(1)
    weights = rng.uniform(0, 1, len(points))
    start = lloyd(points, 20, 0, seed=3).centroids.astype(float)
    cell, _ = brute_force(points, start)
    weights[cell == 4] = 0
    found = lloyd(points, 20, 1, seed=3, weights=weights).centroids
    for c in range(20):
        own = weights[cell == c] if c != 4 else None
        expected = np.average(points[cell == c].astype(float), axis=0, weights=own)
        np.testing.assert_allclose(found[c], expected, rtol=1e-5, atol=1e-3)


def test_every_iteration_brings_the_points_nearer():
    points = cloud()
    told = []
    found = lloyd(points, 64, 11, seed=0, progress=lambda *x: told.append(x))
    assert [done for done, _ in told] == list(range(1, 12))
    assert (np.diff([distance for _, distance in told]) < 0).all()
    assert told[-1][1] == found.mean_squared_distance


def test_result_depends_on_the_seed_only():
    points = cloud()
    first = lloyd(points, 64, 5, seed=1).centroids
    np.testing.assert_array_equal(first, lloyd(points, 64, 5, seed=1).centroids)
    assert not np.array_equal(first, lloyd(points, 64, 5, seed=2).centroids)


def test_empty_cells_split_the_fullest():
    # 50 equal points and 5 others: most starts fall onto one place
    points = np.concatenate([np.full((50, 3), 7.0), cloud(5)]).astype(np.float32)
    found = lloyd(points, 20, 30, seed=0)
    cell, squared = nearest(KDTree(found.centroids.astype(float)), points)
    assert np.isfinite(found.centroids).all()
    assert squared / len(points) < 1.0
    assert len(np.unique(cell)) >= 6


def test_nearest_returns_cells_and_the_sum_of_squares():
    points, centroids = cloud(500), cloud(30, seed=1).astype(float)
    cell, squared = nearest(KDTree(centroids), points)
    expected, distances = brute_force(points, centroids)
    np.testing.assert_array_equal(cell, expected)
    np.testing.assert_allclose(squared, distances.sum(), rtol=1e-9)


def test_more_cells_than_hits_is_an_error():
    with pytest.raises(ValueError, match=r"ncell=11: expected at most .* 10 hits"):
        lloyd(cloud(10), 11, 1, seed=0)
    with pytest.raises(ValueError, match="ncell=0"):
        lloyd(cloud(10), 0, 1, seed=0)


def test_quality_is_that_of_faiss():
    faiss = pytest.importorskip("faiss")
    points = cloud(20_000)
    theirs = faiss.Kmeans(3, 256, niter=8, seed=1, max_points_per_centroid=10**9)
    theirs.train(points)
    ours = lloyd(points, 256, 9, seed=1).mean_squared_distance
    assert ours < 1.03 * theirs.obj[-1] / len(points)
