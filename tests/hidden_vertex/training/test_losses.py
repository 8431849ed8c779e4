"""Losses equal their definitions; their gradients are finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hidden_vertex.training import losses as ls

SIZES = np.array([6, 1, 0, 4, 9])
INDEX = np.repeat(np.arange(len(SIZES)), SIZES)
RNG = np.random.default_rng(0)
X, X_HAT = RNG.normal(size=(2, len(INDEX), 3)).astype(np.float32)
EMITTED = RNG.normal(size=(len(SIZES), 3)).astype(np.float32)
N_NODE = jnp.asarray(SIZES, jnp.int32)
GRAPH = jnp.asarray(INDEX, jnp.int32)
ALL, ONE_EACH = jnp.ones(len(X)), jnp.ones(len(SIZES))


def oracle(x_hat, x):
    """Chamfer distance of two clouds in float64."""
    if not len(x):
        return 0.0
    a, b = x_hat.astype(np.float64), x.astype(np.float64)
    table = np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))
    return table.min(axis=1).mean() + table.min(axis=0).mean()


def per_graph(x_hat):
    return [oracle(x_hat[g == INDEX], X[g == INDEX]) for g in range(len(SIZES))]


def assert_finite_differences(function, point, step=1e-6):
    with jax.enable_x64(True):
        point = jnp.asarray(point, jnp.float64)
        gradient, function = jax.grad(function)(point), jax.jit(function)
        for place in np.ndindex(point.shape):
            move = jnp.zeros_like(point).at[place].set(step)
            slope = (function(point + move) - function(point - move)) / (2 * step)
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-8)


def test_node_errors_equal_their_definitions():
    square = (X_HAT.astype(np.float64) - X) ** 2
    expected = {
        "mse": square.mean(axis=1),
        "weighted": (square * [10, 1, 1]).mean(axis=1),
        "pt_only": square[:, 0],
    }
    for kind, wanted in expected.items():
        np.testing.assert_allclose(ls.node_error(X_HAT, X, kind), wanted, rtol=1e-5)
    others = ls.node_error(X_HAT, X, "weighted", (1, 2, 3))
    np.testing.assert_allclose(others, (square * [1, 2, 3]).mean(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="expected one of"):
        ls.node_error(X_HAT, X, "chamfer")


def test_pt_only_has_no_gradient_in_the_other_features():
    gradient = jax.grad(lambda y: jnp.sum(ls.node_error(y, X, "pt_only")))(X_HAT)
    assert np.all(gradient[:, 1:] == 0)
    assert np.all(gradient[:, 0] != 0)


@pytest.mark.parametrize("max_nodes", [9, 12])
def test_chamfer_equals_its_definition_per_graph(max_nodes):
    found = ls.chamfer(X_HAT, X, N_NODE, max_nodes)
    np.testing.assert_allclose(found, per_graph(X_HAT), rtol=1e-5)


def test_chamfer_of_a_graph_above_the_limit_is_nan():
    found = ls.chamfer(X_HAT, X, N_NODE, 8)
    np.testing.assert_array_equal(np.isnan(found), SIZES > 8)


def test_chamfer_of_the_whole_cloud_equals_its_definition():
    found = ls.chamfer_cloud(X_HAT, X, ALL)
    np.testing.assert_allclose(found, oracle(X_HAT, X), rtol=1e-5)
    some = RNG.random(len(X)) < 0.6
    masked = ls.chamfer_cloud(X_HAT, X, jnp.asarray(some))
    np.testing.assert_allclose(masked, oracle(X_HAT[some], X[some]), rtol=1e-5)


def test_closed_forms_equal_the_general_ones_with_gradients():
    def compare(closed, general):
        one = jax.value_and_grad(closed)(EMITTED)
        other = jax.value_and_grad(lambda o: general(o[GRAPH]))(EMITTED)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            one,
            other,
        )

    pull = jnp.asarray(RNG.normal(size=len(SIZES)), jnp.float32)
    compare(
        lambda o: jnp.sum(pull * ls.chamfer_emitted(o, X, GRAPH, N_NODE)),
        lambda y: jnp.sum(pull * ls.chamfer(y, X, N_NODE, 9)),
    )
    compare(
        lambda o: ls.chamfer_cloud_emitted(o, X, GRAPH, N_NODE, ONE_EACH),
        lambda y: ls.chamfer_cloud(y, X, ALL),
    )


def test_padding_graphs_are_not_in_the_cloud():
    weight = jnp.asarray([1, 1, 0, 0, 1.0])
    kept = np.isin(INDEX, [0, 1, 4])
    found = ls.chamfer_cloud_emitted(EMITTED, X, GRAPH, N_NODE, weight)
    expected = oracle(EMITTED[INDEX][kept], X[kept])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: jnp.mean(ls.chamfer(y, X, N_NODE, 9)),
        lambda y: ls.chamfer_cloud(y, X, ALL),
        lambda y: jnp.mean(ls.node_error(y, X, "weighted")),
    ],
)
def test_gradients_are_finite_differences(function):
    assert_finite_differences(function, X_HAT)


@pytest.mark.parametrize(
    "function",
    [
        lambda o: jnp.sum(ls.chamfer_emitted(o, X, GRAPH, N_NODE)),
        lambda o: ls.chamfer_cloud_emitted(o, X, GRAPH, N_NODE, ONE_EACH),
    ],
)
def test_gradients_of_the_closed_forms_are_finite_differences(function):
    assert_finite_differences(function, EMITTED)


def test_gradients_at_zero_distance_are_zero_not_nan():
    same = jnp.asarray(X)
    point = jnp.asarray(X[np.searchsorted(INDEX, np.arange(5)).clip(0, len(X) - 1)])
    gradients = [
        jax.grad(lambda y: jnp.sum(ls.chamfer(y, X, N_NODE, 9)))(same),
        jax.grad(lambda y: ls.chamfer_cloud(y, X, ALL))(same),
    ]
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(X))
    emitted = [
        lambda o: jnp.sum(ls.chamfer_emitted(o, X, GRAPH, N_NODE)),
        lambda o: ls.chamfer_cloud_emitted(o, X, GRAPH, N_NODE, ONE_EACH),
    ]
    for function in emitted:
        assert np.all(np.isfinite(jax.grad(function)(point)))


def test_distances_of_close_particles_are_exact():
    """The matrix-product expansion gives 0 or a value that is wrong by a tenth."""
    cloud = np.array([[7.0, 3.0, 3.0], [7.001, 3.0, 3.0]], np.float32)
    found = ls.chamfer_cloud(cloud[:1], cloud[1:], jnp.ones(1))
    exact = 2 * (np.float64(cloud[1, 0]) - np.float64(cloud[0, 0]))
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_order_of_the_nodes_does_not_matter():
    order = np.lexsort((RNG.random(len(INDEX)), INDEX))
    for function in (
        lambda y, x: ls.chamfer(y, x, N_NODE, 9),
        lambda y, x: ls.chamfer_cloud(y, x, ALL),
    ):
        one, other = function(X_HAT, X), function(X_HAT[order], X[order])
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_gaussian_nll_equals_its_definition():
    target, mean, s = RNG.normal(size=(3, 4, 7)).astype(np.float32)
    s[0] *= 10  # clipped
    mask = RNG.random((4, 7)) < 0.7
    mask[3] = False
    found = ls.gaussian_nll(target, mean, s, jnp.asarray(mask))
    wide = np.clip(s.astype(np.float64), -4, 4)
    each = (target - mean) ** 2 * np.exp(-wide) + wide
    for row in range(3):
        np.testing.assert_allclose(found[row], each[row][mask[row]].mean(), rtol=1e-5)
    assert found[3] == 0


def test_gaussian_nll_is_smallest_at_the_true_variance():
    target = RNG.normal(scale=0.5, size=(1, 1000)).astype(np.float32)
    zero, mask = jnp.zeros((1, 1000)), jnp.ones((1, 1000))
    values = [
        float(ls.gaussian_nll(target, zero, zero + s, mask)[0])
        for s in np.linspace(-3, 1, 41)
    ]
    best = np.linspace(-3, 1, 41)[int(np.argmin(values))]
    assert best == pytest.approx(np.log(target.var()), abs=0.1)


def test_masked_members_give_no_gradient():
    mask = jnp.asarray([[1.0, 0.0]])

    def total(mean, s):
        target = jnp.asarray([[0.3, jnp.nan]])
        return jnp.sum(ls.gaussian_nll(target, mean, s, mask))

    for gradient in jax.grad(total, (0, 1))(jnp.ones((1, 2)), jnp.zeros((1, 2))):
        assert gradient[0, 0] != 0
        assert gradient[0, 1] == 0


def test_no_emitted_points_reach_below_the_floor():
    floor = ls.emitted_floor(X, SIZES)
    means = np.array(
        [X[g == INDEX].mean(axis=0) if n else np.zeros(3) for g, n in enumerate(SIZES)]
    )
    error = np.mean((X - means[INDEX]) ** 2)
    assert floor == pytest.approx(error, rel=1e-6)
    assert np.mean((X - EMITTED[INDEX]) ** 2) > floor
