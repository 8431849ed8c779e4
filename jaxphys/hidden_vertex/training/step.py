"""Pure update and evaluation steps of the autoencoders of events.

What is minimised is a function (params, batch, key or None) -> `Evaluation`, such as
`GraphObjective` and `SetObjective`. A batch of graphs holds D parts, one after the
other on the leading axis of every array (see `jaxphys.hidden_vertex.model.model`): one
per device. A batch of jets or of particles holds events on that axis. Sums and counts
are added over parts before they are divided, so that D does not matter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.hidden_vertex.model import conditional
from jaxphys.hidden_vertex.model.model import Part, Reconstruction, draw_keep
from jaxphys.hidden_vertex.training import losses
from jaxphys.hidden_vertex.training.event_scores import graph_score
from jaxphys.numerics.segments import segment_mean
from jaxphys.training.task import Metrics, TrainState
from jaxphys.training.task import initial_state as initial_state

PyTree = Any
Batch = Mapping[str, jax.Array]
CHAMFER_MAX_NODES = 512
GRAPH_LOSSES = (*losses.NODE_ERRORS, "chamfer", "chamfer_batch")
VIEWS = {"jets": conditional.jets_view, "event": conditional.event_view}


class Evaluation(NamedTuple):
    """What an objective says about a batch.

    Attributes:
      total: sum of the loss over nodes, graphs or events, a scalar.
      count: of what the loss is the mean over, a scalar.
      score: of each event, [G] or [D, G].
      code: of each event, [G, J, L] or [D, G, L]; the mean where nodes have their own.
      weight: 1 for an event, 0 for padding, as `score`.
    """

    total: jax.Array
    count: jax.Array
    score: jax.Array
    code: jax.Array
    weight: jax.Array


Evaluate = Callable[[PyTree, Batch, jax.Array | None], Evaluation]


class Objective(NamedTuple):
    """What is minimised, and what is said of a step.

    Attributes:
      evaluate: (params, batch, key or None) -> what is known of a batch.
      grad_clip_norm: the norm at which the optimizer clips, for the metric `clipped`.
      batch_mean: the loss of an epoch is the plain mean of the batches, the original's
        way, instead of that of nodes or events.
    """

    evaluate: Evaluate
    grad_clip_norm: float = 0.0
    batch_mean: bool = False


class GraphObjective(NamedTuple):
    """Reconstruction of the nodes of graphs.

    Attributes:
      model: returns a `Reconstruction`.
      loss: one of `GRAPH_LOSSES`: mean over nodes; "chamfer": mean over graphs;
        "chamfer_batch": all nodes of a part as one cloud.
      weights: of the features in "weighted".
      chamfer_max_nodes: size of the largest graph under "chamfer" where every node has
        a reconstruction of its own.
      score: kind of the error of a node that the score is made of.
      reduction: of the errors of nodes to the score of an event, "mean" or "max".
    """

    model: Any
    loss: str = "mse"
    weights: Sequence[float] = losses.FEATURE_WEIGHTS
    chamfer_max_nodes: int = CHAMFER_MAX_NODES
    score: str = "mse"
    reduction: str = "mean"

    def __call__(
        self, params: PyTree, batch: Batch, key: jax.Array | None
    ) -> Evaluation:
        """Evaluates a batch; without a key nothing is dropped."""
        if len(batch["n_node"]) == 1:
            # as with vmap, but what is gathered along a batch axis costs more on CPU
            found = self.part(params, {k: a[0] for k, a in batch.items()}, key)
            found = Evaluation(*(value[None] for value in found))
        else:
            found = jax.vmap(lambda part: self.part(params, part, key))(batch)
        return found._replace(total=jnp.sum(found.total), count=jnp.sum(found.count))

    def part(
        self, params: PyTree, part: Part, key: jax.Array | None, keep: Any = None
    ) -> Evaluation:
        """Evaluates one part.

        Args:
          params: of the model.
          part: see `jaxphys.hidden_vertex.model.model`.
          key: of the dropout; None drops nothing.
          keep: masks in place of those that are drawn from the key.
        """
        widths = self.model.dropped_widths
        if key is not None and widths:
            keep = draw_keep(key, part, widths, self.model.dropout)
        found: Any = self.model.apply({"params": params}, part, keep)
        total, count = self.total(found, part)
        error = losses.node_error(found.x_hat, part["x"], self.score, self.weights)
        graphs = part["n_node"].shape[0]
        score = graph_score(error, part["graph_index"], graphs, self.reduction)
        code = found.code
        if self.model.code_per_node:
            code = segment_mean(code, part["graph_index"], graphs)
        return Evaluation(total, count, score, code, part["weight"])

    def total(self, found: Reconstruction, part: Part) -> tuple[jax.Array, jax.Array]:
        """Returns the sum of the loss of a part and what it is to be divided by."""
        if self.loss not in GRAPH_LOSSES:
            raise ValueError(f"loss: expected one of {GRAPH_LOSSES}, got {self.loss!r}")
        x, weight = part["x"], part["weight"]
        graph_index, n_node = part["graph_index"], part["n_node"]
        if self.loss == "chamfer":
            if found.emitted is not None:
                each = losses.chamfer_emitted(found.emitted, x, graph_index, n_node)
            else:
                most = self.chamfer_max_nodes
                each = losses.chamfer(found.x_hat, x, n_node, most)
            return jnp.sum(jnp.where(weight > 0, each, 0)), jnp.sum(weight)
        real = weight[graph_index]  # [N]
        count = jnp.sum(real)
        if self.loss == "chamfer_batch":
            if found.emitted is not None:
                value = losses.chamfer_cloud_emitted(
                    found.emitted, x, graph_index, n_node, weight
                )
            else:
                value = losses.chamfer_cloud(found.x_hat, x, real)
            return value * count, count
        error = losses.node_error(found.x_hat, x, self.loss, self.weights)
        return jnp.sum(jnp.where(real > 0, error, 0)), count


class SetObjective(NamedTuple):
    """Energies given geometry, of jets or of the particles of an event.

    A batch holds `weight` [B] and, under the name of the view, the sets: jets
    [B, J, M, 3] (see `conditional.jets_view`) or event [B, M, 3]. The loss of an event
    is the sum over its jets; it is its score too.

    Attributes:
      model: a `ConditionalAutoencoder`.
      view: "jets" or "event".
    """

    model: conditional.ConditionalAutoencoder
    view: str = "jets"

    def __call__(
        self, params: PyTree, batch: Batch, key: jax.Array | None
    ) -> Evaluation:
        """Evaluates a batch; there is nothing random."""
        del key
        view = VIEWS[self.view](batch[self.view])
        found: Any = self.model.apply({"params": params}, view)
        prediction, code = found
        each = losses.set_loss(view, prediction)
        score = jnp.sum(each, axis=1) if self.view == "jets" else each  # [B]
        weight = batch["weight"]
        total = jnp.sum(jnp.where(weight > 0, score, 0))
        return Evaluation(total, jnp.sum(weight), score, code, weight)


def mean_loss(found: Evaluation) -> jax.Array:
    """Returns the mean loss of a batch; 0 for one without events."""
    return found.total / jnp.maximum(found.count, 1).astype(found.total.dtype)


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None,
    phase: str = "train",
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    Args:
      state: before the step; the caller advances `step`.
      batch: what the objective reads.
      key: of the dropout; None drops nothing.
      phase: there is one.
      objective: what is minimised.
      optimizer: any optax transformation.

    Returns:
      The state after the step and the metrics loss, grad_norm (before clipping) and
      clipped (fraction of steps), all taken before the update.
    """

    del phase
    most = objective.grad_clip_norm

    def value(params: PyTree) -> tuple[jax.Array, Evaluation]:
        found = objective.evaluate(params, batch, key)
        return mean_loss(found), found

    (loss, found), grads = jax.value_and_grad(value, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    norm, one = optax.tree.norm(grads), jnp.ones_like(loss)
    clipped = (norm > most).astype(loss.dtype) if most else 0 * one
    metrics = {
        "loss": (loss, one) if objective.batch_mean else (found.total, found.count),
        "grad_norm": (norm, one),
        "clipped": (clipped, one),
    }
    return state.replace(params=params, opt_state=opt_state), metrics


def eval_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None = None,
    phase: str = "train",
    *,
    objective: Objective,
) -> dict[str, jax.Array]:
    """Returns the fields of `Evaluation` for the weights of the state."""
    del key, phase
    return objective.evaluate(state.params, batch, None)._asdict()


def summarize(
    batches: Sequence[Mapping[str, np.ndarray]], *, objective: Objective
) -> dict[str, float]:
    """Returns the statistics of an evaluation.

    Args:
      batches: from `eval_step`.
      objective: says which mean is taken.

    Returns:
      val_loss; score_mean and score_std over the events; code_spread, the standard
      deviation of the codes (a collapsed model has 0).
    """
    totals = np.array([b["total"] for b in batches], np.float64)
    counts = np.array([b["count"] for b in batches], np.float64)
    if objective.batch_mean:
        loss = np.mean(totals / np.maximum(counts, 1))
    else:
        loss = totals.sum() / max(counts.sum(), 1)
    score, code = collect(batches, "score"), collect(batches, "code")
    return {
        "val_loss": float(loss),
        "score_mean": float(score.mean()),
        "score_std": float(score.std()),
        "code_spread": float(code.std(axis=0).mean()),
    }


def collect(batches: Sequence[Mapping[str, np.ndarray]], name: str) -> np.ndarray:
    """Returns an entry of `eval_step` for all events in order, float64 [E, ...]."""
    found = []
    for batch in batches:
        weight = np.asarray(batch["weight"])
        found.append(np.asarray(batch[name], np.float64)[weight > 0])
    return np.concatenate(found)
