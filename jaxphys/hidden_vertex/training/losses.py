"""What a reconstruction of an event is charged: squared errors, Chamfer, likelihood.

Nodes lie in the rows of x [N, 3]; `graph_index` [N] says which graph a node belongs to,
`n_node` [G] how many nodes a graph has. Distances are taken from exact differences: the
usual matrix-product expansion is wrong for close particles in float32.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hidden_vertex.model.conditional import View
from jaxphys.numerics.segments import segment_mean, segment_min

Array = jax.Array | np.ndarray
FEATURE_WEIGHTS = (10.0, 1.0, 1.0)  # of log pT, eta, phi in the loss "weighted"
NODE_ERRORS = ("mse", "weighted", "pt_only")
LOG_VARIANCE = (-4.0, 4.0)
TILE = 128  # points whose distances to a whole cloud are held at a time


def node_error(
    x_hat: Array,
    x: Array,
    kind: str = "mse",
    weights: Sequence[float] = FEATURE_WEIGHTS,
) -> jax.Array:
    """Returns the squared error of each node, [N].

    Args:
      x_hat: [N, 3]; of "pt_only" the first column alone is looked at.
      x: [N, 3], (log pT, eta, phi).
      kind: "mse" (mean over features), "weighted" (the same of weighted squares) or
        "pt_only" (of the first feature).
      weights: of the features in "weighted".

    Raises:
      ValueError: an unknown kind.
    """
    if kind not in NODE_ERRORS:
        raise ValueError(f"loss: expected one of {NODE_ERRORS}, got {kind!r}")
    if kind == "pt_only":
        return jnp.square(x_hat[:, 0] - x[:, 0])
    square = jnp.square(x_hat - x)
    if kind == "weighted":
        square = square * jnp.asarray(weights, square.dtype)[None]
    return jnp.mean(square, axis=1)


def distance(a: Array, b: Array) -> jax.Array:
    """Returns the Euclidean distance along the last axis; its gradient at 0 is 0."""
    square = jnp.sum(jnp.square(a - b), axis=-1)
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def nearest(points: Array, cloud: Array, in_cloud: Array) -> jax.Array:
    """Returns the index of the member of a cloud that is closest to each point, [A].

    Args:
      points: [A, D].
      cloud: [B, D].
      in_cloud: [B], above 0 for its members.
    """
    stopped, cloud = jax.lax.stop_gradient((jnp.asarray(points), jnp.asarray(cloud)))

    def one(point: jax.Array) -> jax.Array:
        square = jnp.sum(jnp.square(cloud - point[None]), axis=1)  # [B]
        return jnp.argmin(jnp.where(in_cloud > 0, square, jnp.inf))

    return jax.lax.map(one, stopped, batch_size=min(TILE, max(len(stopped), 1)))


def _closest(points: Array, cloud: Array, in_cloud: Array) -> jax.Array:
    # only the closest member has a gradient, so no table of distances is kept for it
    return jnp.asarray(cloud)[nearest(points, cloud, in_cloud)]


def _one_way(
    points: Array, cloud: Array, in_points: Array, in_cloud: Array
) -> jax.Array:
    """Returns the mean distance of the points to the cloud, 0 without any point."""
    found = distance(points, _closest(points, cloud, in_cloud))
    count = jnp.maximum(jnp.sum(in_points > 0), 1).astype(found.dtype)
    return jnp.sum(jnp.where(in_points > 0, found, 0)) / count


def chamfer_cloud(x_hat: Array, x: Array, mask: Array) -> jax.Array:
    """Returns the Chamfer distance of two clouds with the same mask, a scalar.

    It is mean_i min_j |x_hat_i - x_j| + mean_j min_i |x_hat_i - x_j|, not squared.
    Applied to all nodes of a batch it is what the seed's code computes.

    Args:
      x_hat: [N, D].
      x: [N, D].
      mask: [N], above 0 for nodes that are there.
    """
    return _one_way(x_hat, x, mask, mask) + _one_way(x, x_hat, mask, mask)


def chamfer(x_hat: Array, x: Array, n_node: Array, max_nodes: int) -> jax.Array:
    """Returns the Chamfer distance of each graph, [G]; 0 for a graph without nodes.

    Args:
      x_hat: [N, D].
      x: [N, D], the nodes of graph 0, then those of graph 1, ...
      n_node: [G].
      max_nodes: largest size of a graph; of a larger one the result is NaN.
    """
    x_hat, x = jnp.asarray(x_hat), jnp.asarray(x)  # a loop over graphs reads them
    place = jnp.arange(max_nodes, dtype=jnp.int32)
    first = jnp.cumsum(n_node) - n_node

    def one(graph: tuple[jax.Array, jax.Array]) -> jax.Array:
        start, size = graph
        rows = jnp.clip(start + place, 0, len(x) - 1)
        value = chamfer_cloud(x_hat[rows], x[rows], place < size)
        return jnp.where(size > max_nodes, jnp.nan, value)

    return jax.lax.map(one, (first, jnp.asarray(n_node)))


def chamfer_emitted(
    emitted: Array, x: Array, graph_index: Array, n_node: Array
) -> jax.Array:
    """Returns `chamfer` for a decoder that emits one point per graph, [G].

    Args:
      emitted: [G, D], taken as the reconstruction of every node of the graph.
      x: [N, D].
      graph_index: [N].
      n_node: [G].
    """
    graphs = len(emitted)
    found = distance(x, emitted[graph_index])  # [N]
    mean = segment_mean(found, graph_index, graphs, count=n_node)
    return mean + segment_min(found, graph_index, graphs)


def chamfer_cloud_emitted(
    emitted: Array,
    x: Array,
    graph_index: Array,
    n_node: Array,
    weight: Array,
) -> jax.Array:
    """Returns `chamfer_cloud` for a decoder that emits one point per graph.

    Args:
      emitted: [G, D].
      x: [N, D].
      graph_index: [N].
      n_node: [G].
      weight: [G], above 0 for graphs that are there.
    """
    size = jnp.where(weight > 0, n_node, 0).astype(x.dtype)  # [G]
    mask = weight[graph_index]
    there = distance(emitted, _closest(emitted, x, mask))  # [G]
    forth = jnp.sum(size * there) / jnp.maximum(jnp.sum(size), 1)
    return forth + _one_way(x, emitted, mask, size)


def gaussian_nll(
    target: Array, mean: Array, log_variance: Array, mask: Array
) -> jax.Array:
    """Returns the mean of (target - mean)^2 e^-s + s over the last axis.

    The factor 1/2 and the constant of the likelihood are dropped; s is the logarithm of
    the variance, clipped to `LOG_VARIANCE`. 0 where nothing is there.

    Args:
      target: [..., M].
      mean: [..., M].
      log_variance: [..., M].
      mask: [..., M], above 0 for members that are there.
    """
    s = jnp.clip(log_variance, *LOG_VARIANCE)
    error = jnp.where(mask > 0, target - mean, 0)
    each = jnp.where(mask > 0, jnp.square(error) * jnp.exp(-s) + s, 0)
    count = jnp.maximum(jnp.sum(mask > 0, axis=-1), 1).astype(each.dtype)
    return jnp.sum(each, axis=-1) / count


def set_loss(view: View, prediction: jax.Array) -> jax.Array:
    """Returns the loss of each set, [...].

    It is `gaussian_nll` of a prediction [..., M, 2] and the mean squared error of one
    [..., M, 1]; 0 for a set without members.
    """
    if prediction.shape[-1] == 2:
        mean, log_variance = prediction[..., 0], prediction[..., 1]
        return gaussian_nll(view.target, mean, log_variance, view.mask)
    square = jnp.square(prediction[..., 0] - view.target)
    count = jnp.maximum(jnp.sum(view.mask, axis=-1), 1).astype(square.dtype)
    return jnp.sum(jnp.where(view.mask, square, 0), axis=-1) / count


def emitted_floor(x: np.ndarray, n_node: np.ndarray) -> float:
    """Returns the smallest MSE that one emitted point per graph can reach.

    It is the variance of the nodes about the mean of their graph, in float64.

    Args:
      x: [N, 3], graph after graph.
      n_node: [G].
    """
    x = np.asarray(x, np.float64)
    graph = np.repeat(np.arange(len(n_node)), n_node)
    totals = np.stack([np.bincount(graph, c, len(n_node)) for c in x.T], axis=1)
    mean = totals / np.maximum(n_node, 1)[:, None]
    return float(np.mean(np.square(x - mean[graph])))
