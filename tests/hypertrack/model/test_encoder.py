"""One edge convolution against a plain evaluation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.edge_layout import relative_degree, topology
from jaxphys.hypertrack.model.encoder import EdgeConv, check_activation, pair_terms
from tests.hypertrack.net_graphs import make_graph


def plain(params, stats, x, graph, degree, aggregation):
    """The layer as it is defined, in evaluation."""
    params, stats = jax.tree.map(np.float64, (params, stats))

    def block(part, rows):
        for k in range(2):
            linear, norm = params[part][f"linear_{k}"], params[part][f"norm_{k}"]
            rows = rows @ linear["kernel"] + linear["bias"]
            rows = rows / (1 + np.exp(-rows))
            seen = stats[part][f"norm_{k}"]
            rows = (rows - seen["mean"]) / np.sqrt(seen["var"] + 1e-5)
            rows = rows * norm["scale"] + norm["bias"]
        return rows

    source, destination = graph["edge_index"][:, graph["edge_mask"]]
    x = np.asarray(x, np.float64)
    i, j = x[destination], x[source]
    norm = np.linalg.norm(j - i, axis=1, keepdims=True)
    dot = np.sum(i * j, 1, keepdims=True)
    attr = (degree[source] - degree[destination])[:, None]
    messages = block("edge", np.concatenate([i, j - i, i * j, norm, dot, attr], 1))
    arrived = np.zeros((len(x), messages.shape[1]))
    for node in range(len(x)):
        own = messages[destination == node]
        if len(own):
            arrived[node] = getattr(np, aggregation)(own, axis=0)
    return block("node", np.concatenate([x, arrived], 1)) + x


@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_layer_equals_its_definition(aggregation):
    graph = make_graph(nodes=24, edges=250)
    edges = topology({k: jnp.asarray(v) for k, v in graph.items()})
    degree = relative_degree(edges)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(24, 4)), jnp.float32)
    layer = EdgeConv(4, 4, 5, aggregation)
    variables = jax.jit(layer.init, static_argnums=4)(
        jax.random.key(0), x, degree, edges, False
    )
    changed = jax.tree.map(lambda a: a + 0.1, variables["batch_stats"])
    variables = {**variables, "batch_stats": changed}
    apply = jax.jit(layer.apply, static_argnums=4)
    got = apply(variables, x, degree, edges, False)
    expected = plain(
        variables["params"], changed, x, graph, np.float64(degree), aggregation
    )
    real = graph["node_mask"]
    np.testing.assert_allclose(got[real], expected[real], rtol=1e-4, atol=1e-4)


def test_distance_of_a_row_from_itself_has_no_gradient():
    rows = jnp.ones((2, 3))
    gradient = jax.grad(lambda x: jnp.sum(pair_terms(x, rows)[1]))(rows)
    np.testing.assert_array_equal(gradient, 0)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="act: expected one of"):
        check_activation("step")
