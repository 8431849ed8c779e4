"""The graph convolution equals PyTorch Geometric's, in both of its forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.nn import graph_convolution as g

ours = g.aggregate_neighbours
NODES, EDGES, IN, OUT = 20, 60, 5, 4
# nothing, self loops, duplicates and loops with weights of their own
KINDS = ("plain", "loops", "weighted", "weighted_loops", "zero_degree", "no_edges")


def make(kind, seed=0):
    """Returns x [N, in], senders, receivers, weight or None, kernel, bias."""
    rng = np.random.default_rng(seed)
    senders, receivers = rng.integers(0, NODES, (2, EDGES))
    weight = rng.uniform(0.1, 2, EDGES).astype(np.float32)
    if kind in ("plain", "weighted"):
        apart = senders != receivers
        senders, receivers, weight = senders[apart], receivers[apart], weight[apart]
    else:
        loops = rng.integers(0, NODES, 8)
        senders, receivers = (
            np.append(e, [*loops, 3, 3]) for e in (senders, receivers)
        )
        weight = np.append(weight, rng.uniform(0.1, 2, 10)).astype(np.float32)
    if kind == "zero_degree":  # weights that cancel
        senders, receivers = np.array([1, 2, 0]), np.array([0, 1, 0])
        weight = np.array([0.5, 1.0, -0.5], np.float32)
    if kind == "no_edges":
        senders, receivers, weight = senders[:0], receivers[:0], weight[:0]
    x = rng.normal(size=(NODES, IN)).astype(np.float32)
    kernel = rng.normal(size=(IN, OUT)).astype(np.float32)
    bias = rng.normal(size=OUT).astype(np.float32)
    if kind in ("plain", "loops"):
        weight = None
    return x, senders, receivers, weight, kernel, bias


def dense(x, senders, receivers, weight, kernel, bias):
    """The definition, with a matrix, in float64."""
    matrix, loop = np.zeros((len(x), len(x))), np.ones(len(x))
    for edge, (j, i) in enumerate(zip(senders, receivers, strict=True)):
        w = 1.0 if weight is None else weight[edge]
        if i != j:
            matrix[i, j] += w
        elif weight is not None:
            loop[i] = w
    matrix += np.diag(loop)
    degree = matrix.sum(axis=1)
    root = np.zeros(len(x))
    root[degree != 0] = degree[degree != 0] ** -0.5
    return (root[:, None] * matrix * root) @ x.astype(np.float64) @ kernel + bias


def layer(x, graph, kernel, bias) -> Any:
    module = g.GraphConvolution(kernel.shape[1])
    return module.apply({"params": {"kernel": kernel, "bias": bias}}, x, graph)


def edges_of(senders, receivers, weight):
    return g.Edges(
        jnp.asarray(senders, jnp.int32),
        jnp.asarray(receivers, jnp.int32),
        None if weight is None else jnp.asarray(weight),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_layer_equals_the_definition(kind):
    x, senders, receivers, weight, kernel, bias = make(kind)
    found = layer(x, edges_of(senders, receivers, weight), kernel, bias)
    expected = dense(x, senders, receivers, weight, kernel, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_and_gradients_equal_pytorch_geometric(kind):
    torch = pytest.importorskip("torch")
    geometric = pytest.importorskip("torch_geometric.nn")
    x, senders, receivers, weight, kernel, bias = make(kind)
    twin = geometric.GCNConv(IN, OUT)
    twin.load_state_dict(
        {"lin.weight": torch.tensor(kernel.T), "bias": torch.tensor(bias)}
    )
    edges = list(zip(senders.tolist(), receivers.tolist(), strict=True))
    ends = torch.tensor(np.stack([senders, receivers]).astype(np.int64))
    inputs = [torch.tensor(x, requires_grad=True)]
    if weight is not None:
        inputs.append(torch.tensor(weight, requires_grad=True))
    y = twin(inputs[0], ends, *inputs[1:])
    pull = np.random.default_rng(1).normal(size=(NODES, OUT)).astype(np.float32)
    (y * torch.tensor(pull)).sum().backward()

    def value(x, weight, kernel, bias):
        found = layer(x, edges_of(senders, receivers, weight), kernel, bias)
        return jnp.sum(found * pull), found

    which = (0, 2, 3) if weight is None else (0, 1, 2, 3)
    grads, found = jax.grad(value, which, has_aux=True)(x, weight, kernel, bias)
    np.testing.assert_allclose(found, y.detach().numpy(), rtol=1e-5, atol=1e-5)
    expected = [v.grad.numpy() for v in inputs]
    expected += [twin.lin.weight.grad.numpy().T, twin.bias.grad.numpy()]
    if kind == "weighted_loops":
        # PyTorch hands the gradient of the last loop of a node to its other loops too
        last = {i: e for e, (j, i) in enumerate(edges) if i == j}
        dead = [e for e, (j, i) in enumerate(edges) if i == j and last[i] != e]
        assert np.all(grads[1][np.array(dead)] == 0)
        expected[1][dead] = 0
    if kind == "zero_degree":  # there PyTorch's gradient of a weight is NaN
        expected[1] = np.where(np.isnan(expected[1]), grads[1], expected[1])
    for got, wanted in zip(grads, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-5)


def knn(sizes, k, seed=0):
    """Returns the neighbours [N, k] of random events, the node itself where none."""
    rng, rows, start = np.random.default_rng(seed), [], 0
    for size in sizes:
        for node in range(size):
            others = np.delete(np.arange(size), node)
            chosen = rng.permutation(others)[:k] + start
            missing = [start + node] * (k - len(chosen))
            rows.append([*chosen, *missing])
        start += size
    return np.array(rows, np.int32)


def edges_from(neighbours):
    receivers = np.repeat(np.arange(len(neighbours)), neighbours.shape[1])
    return edges_of(neighbours.reshape(-1), receivers, None)


@pytest.mark.parametrize("width", [2, 7])  # aggregated after and before the product
def test_closed_form_equals_the_general_one_on_knn_graphs(width):
    neighbours = knn([9, 1, 2, 4, 7, 30], k=6)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(len(neighbours), IN)).astype(np.float32)
    module = g.GraphConvolution(width)
    graphs = g.Neighbours(jnp.asarray(neighbours)), edges_from(neighbours)
    params = module.init(jax.random.key(0), x, graphs[0])
    pull = rng.normal(size=(len(x), width)).astype(np.float32)

    def value(params, x, graph):
        y: Any = module.apply(params, x, graph)
        return jnp.sum(y * pull), y

    results = [
        jax.grad(value, (0, 1), has_aux=True)(params, x, graph) for graph in graphs
    ]
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_aggregate_computed_before_gives_the_same_layer():
    neighbours = jnp.asarray(knn([8, 3], k=4), jnp.uint16)
    x = jax.random.normal(jax.random.key(0), (11, IN))
    module, graph = g.GraphConvolution(OUT), g.Neighbours(neighbours)
    params = module.init(jax.random.key(1), x, graph)
    aggregated: Any = module.apply(params, g.aggregate(x, graph), None)
    plain: Any = module.apply(params, x, graph)
    np.testing.assert_allclose(plain, aggregated, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_nodes_and_edges_does_not_matter(kind):
    x, senders, receivers, weight, kernel, bias = make(kind)
    expected = layer(x, edges_of(senders, receivers, weight), kernel, bias)
    rng = np.random.default_rng(2)
    place = rng.permutation(NODES)  # node i goes to place[i]
    # of several loops of a node the last one counts, so loops keep their order
    order = np.argsort(np.where(senders == receivers, 2, rng.random(len(senders))))
    order = order if kind == "weighted" or weight is None else np.arange(len(senders))
    moved = edges_of(
        place[senders][order],
        place[receivers][order],
        None if weight is None else weight[order],
    )
    found = layer(x[np.argsort(place)], moved, kernel, bias)
    np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    x, senders, receivers, weight, kernel, bias = make(kind)
    expected = layer(x, edges_of(senders, receivers, weight), kernel, bias)
    padded_x = np.append(x, np.full((3, IN), 7, np.float32), axis=0)
    last = np.full(9, NODES + 2)
    padded = edges_of(
        np.append(senders, last),
        np.append(receivers, last),
        None if weight is None else np.append(weight, np.zeros(9, np.float32)),
    )
    found = layer(padded_x, padded, kernel, bias)
    np.testing.assert_allclose(found[:NODES], expected, rtol=1e-6, atol=1e-6)
    assert np.all(np.isfinite(found))


def plain_mean(x, index):
    """The mean over the neighbours and the node itself, with a matrix."""
    own = np.arange(len(x))
    matrix = np.eye(len(x))
    for column in np.asarray(index).T:
        matrix[own, column] += column != own
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(x.dtype) @ x


@pytest.mark.parametrize("kind", ["uint16", "int32"])
@pytest.mark.parametrize("missing", [0, 2, 4])
def test_gradient_of_the_closed_form_is_its_transpose(missing, kind):
    rng = np.random.default_rng(missing)
    index = np.stack([rng.permutation(NODES)[:4] for _ in range(NODES)])
    apart = index != np.arange(NODES)[:, None]
    index = np.where(apart, index, np.arange(NODES)[:, None])
    index[3 : 3 + missing] = np.arange(3, 3 + missing)[:, None]  # no neighbour
    index[:, 4 - missing :] = np.arange(NODES)[:, None]
    index = jnp.asarray(index.astype(kind))
    x, weight = rng.normal(size=(2, NODES, IN)).astype(np.float32)

    def value(aggregate, x):
        return jnp.sum(jnp.tanh(aggregate(x, index)) * weight)

    for transform in (lambda f: f, jax.jit):
        found = transform(jax.value_and_grad(lambda x: value(ours, x)))(x)
        expected = jax.value_and_grad(lambda x: value(plain_mean, x))(jnp.asarray(x))
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_closed_form_of_several_graphs_at_once_equals_one_by_one():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, NODES, IN)).astype(np.float32))
    index = jnp.asarray(rng.integers(0, NODES, (3, NODES, 4)), jnp.int32)

    def value(x, index):
        return jnp.sum(ours(x, index) ** 2)

    found = jax.vmap(jax.value_and_grad(value))(x, index)
    for graph in range(3):
        expected = jax.value_and_grad(value)(x[graph], index[graph])
        np.testing.assert_allclose(found[0][graph], expected[0], rtol=1e-6)
        np.testing.assert_allclose(found[1][graph], expected[1], atol=1e-6)


@pytest.mark.parametrize("width", [0, 3])
def test_nodes_without_neighbours_keep_their_features(width):
    x = jnp.arange(10.0).reshape(5, 2)
    index = jnp.tile(jnp.arange(5)[:, None], (1, width))
    np.testing.assert_array_equal(ours(x, index), x)
    gradient = jax.grad(lambda x: jnp.sum(ours(x, index) * x))(x)
    np.testing.assert_array_equal(gradient, 2 * x)


def test_gradient_of_weights_is_a_finite_difference():
    x, senders, receivers, weight, kernel, bias = make("weighted_loops")
    with jax.enable_x64(True):
        x, weight, kernel = (jnp.asarray(a, jnp.float64) for a in (x, weight, kernel))

        def total(weight):
            graph = edges_of(senders, receivers, weight)
            return jnp.sum(jnp.sin(layer(x, graph, kernel, bias.astype(np.float64))))

        gradient = jax.grad(total)(weight)
        for edge in range(0, len(weight), 7):
            move = jnp.zeros_like(weight).at[edge].set(1e-6)
            slope = (total(weight + move) - total(weight - move)) / 2e-6
            np.testing.assert_allclose(gradient[edge], slope, rtol=1e-6, atol=1e-8)


def test_gradient_is_finite_where_a_degree_is_zero():
    x, senders, receivers, weight, kernel, bias = make("zero_degree")

    def total(x, weight):
        return jnp.sum(layer(x, edges_of(senders, receivers, weight), kernel, bias))

    for gradient in jax.grad(total, (0, 1))(x, weight):
        assert np.all(np.isfinite(gradient))


def test_initial_weights_are_glorot_uniform_and_zero():
    module, x = g.GraphConvolution(200), jnp.ones((3, 100))
    params: Any = module.init(jax.random.key(0), x, None)["params"]
    bound = np.sqrt(6 / 300)
    assert np.abs(params["kernel"]).max() <= bound
    np.testing.assert_allclose(params["kernel"].std(), bound / np.sqrt(3), rtol=0.02)
    assert np.all(params["bias"] == 0)
