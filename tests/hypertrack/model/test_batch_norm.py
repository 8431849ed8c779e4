"""Statistics of one graph, and how those of several graphs are folded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.batch_norm import COLLECTION, GraphBatchNorm, fold_moments


def run(x, weight, train, variables=None):
    layer = GraphBatchNorm(x.shape[1])
    if variables is None:
        variables = layer.init(jax.random.key(0), x, False, weight)
    (scale, shift), found = layer.apply(
        variables, x, train, weight, mutable=[COLLECTION]
    )
    stats: Any = found.get(COLLECTION)
    return x * scale[None] + shift[None], stats, variables


def test_rows_count_as_often_as_their_weight_says():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (9, 4)).astype(np.float32)
    weight = np.array([2, 1, 0, 2, 1, 1, 2, 0, 1], np.float32)
    got, found, _ = run(x, weight, True)
    repeated = np.repeat(x, weight.astype(int), 0).astype(np.float64)
    mean, var = repeated.mean(0), repeated.var(0)
    np.testing.assert_allclose(got, (x - mean) / np.sqrt(var + 1e-5), atol=2e-5)
    np.testing.assert_allclose(found["mean"][0], mean, rtol=1e-5)
    np.testing.assert_allclose(found["var"][0], repeated.var(0, ddof=1), rtol=1e-5)


def test_the_variance_survives_a_mean_a_thousand_times_its_root():
    x = (1e6 + np.random.default_rng(0).normal(0, 1e3, (200, 1))).astype(np.float32)
    _, found, _ = run(x, np.ones(200, np.float32), True)
    expected = x.astype(np.float64).var(0, ddof=1)
    np.testing.assert_allclose(found["var"][0], expected, rtol=1e-4)


def test_evaluation_only_reads_the_running_statistics():
    x = np.ones((3, 2), np.float32)
    _, _, variables = run(x, np.ones(3, np.float32), False)
    stats = {"mean": np.array([1.0, 0.0]), "var": np.array([4.0, 9.0])}
    got, found, _ = run(x, np.ones(3), False, {**variables, "batch_stats": stats})
    np.testing.assert_allclose(got[0], [0, 1 / 3], atol=1e-6)
    assert not found


@pytest.mark.parametrize("calls", [1, 2])
def test_folding_equals_one_graph_after_the_other_without_padding(calls):
    rng = np.random.default_rng(1)
    old, new = rng.normal(size=3), rng.normal(size=(calls, 5, 3))
    weight = np.array([1, 0, 1, 1, 0], np.float32)
    expected = old
    for k in np.flatnonzero(weight):
        for call in range(calls):
            expected = 0.9 * expected + 0.1 * new[call, k]
    found = {"mean": tuple(np.float32(a) for a in new)}
    got = fold_moments({"mean": np.float32(old)}, found, jnp.asarray(weight))
    np.testing.assert_allclose(got["mean"], expected, rtol=1e-5)
