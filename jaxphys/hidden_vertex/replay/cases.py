"""Replays the golden files of the hidden vertex with the library's functions."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.hidden_vertex.analysis import scores
from jaxphys.hidden_vertex.data import splits
from jaxphys.hidden_vertex.physics import graphs
from jaxphys.hidden_vertex.replay.training import (
    CASES as TRAINING,
)
from jaxphys.hidden_vertex.replay.training import (
    UNLABELLED,
    named,
    node_model,
    node_part,
    replay_node_train,
    seed_model,
    unpadded,
)
from jaxphys.hidden_vertex.training import event_scores, losses, step
from jaxphys.nn.graph_convolution import Edges, GraphConvolution
from jaxphys.numerics.segments import segment_mean

Outputs = Mapping[str, Any]
BY_SET, BUT_TIES = "set per receiver", "exact unless scores tie"


def replay_graph_build(golden: Golden) -> Outputs:
    """Rows of the official file to features and edges."""
    config, rows = golden.config, golden.inputs["rows"]
    particles, offset = graphs.particles_of_rows(rows)
    radius = "radius" in config
    smallest = config.get("min_particles", 0)
    events, edges = [], []
    for start, stop in itertools.pairwise(offset):
        event = particles[start:stop] if stop - start >= smallest else particles[:0]
        if radius:
            found = graphs.radius_edges(event[:, 1:], config["radius"])
        else:
            near = graphs.knn_neighbours(
                event[:, 1:], config["k"], bool(config.get("periodic_phi"))
            )
            found = graphs.knn_edges(near)
        events.append(event)
        edges.append(found)
    x_raw = np.concatenate(events)
    joined = np.concatenate(edges, axis=1)
    nodes = {"x_raw": x_raw}
    if not radius:
        nodes = {"x": graphs.features(x_raw), "label": rows[:, -1]}
    return {
        **nodes,
        "node_offset": np.cumsum([0, *map(len, events)]),
        "edge_offset": np.cumsum([0, *(e.shape[1] for e in edges)]),
        "senders": joined[0],
        "receivers": joined[1],
    }


def replay_gcn_conv(golden: Golden) -> Outputs:
    """One graph convolution on an arbitrary graph, with gradients."""
    inputs, params = golden.inputs, golden.params
    senders, receivers = (
        jnp.asarray(inputs[name], jnp.int32) for name in ("senders", "receivers")
    )
    weight = inputs.get("edge_weight")
    weight = None if weight is None else jnp.asarray(weight)
    edges = Edges(senders, receivers, weight)
    kernel, bias = jnp.asarray(params["lin.weight"].T), jnp.asarray(params["bias"])
    layer = GraphConvolution(len(bias))

    def apply(x, kernel, bias) -> Any:
        return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x, edges)

    @jax.jit
    def differentiate(cotangent, *arguments) -> Any:
        y, pull = jax.vjp(apply, *arguments)
        return y, *pull(cotangent)

    y, x_grad, kernel_grad, bias_grad = differentiate(
        *map(jnp.asarray, (inputs["cotangent"], inputs["x"])), kernel, bias
    )
    return {
        "y": y,
        "grad/x": x_grad,
        "grad/lin.weight": kernel_grad.T,
        "grad/bias": bias_grad,
    }


def replay_forward(golden: Golden) -> Outputs:
    """The seed model layer by layer, its loss, scores and gradients."""
    model, params, entries = seed_model(golden)
    part = jax.tree.map(jnp.asarray, unpadded(golden.inputs))

    @jax.jit
    def forward(params, part) -> Any:
        encoder = model.bind({"params": params}).encoder
        found: Any = model.apply({"params": params}, part)
        return encoder.nodes(part), encoder.pooled(part), found

    layers, pooled, found = forward(params, part)
    objective = step.GraphObjective(model)
    batch = jax.tree.map(lambda a: a[None], part)

    def value(params) -> Any:
        evaluation = objective(params, batch, None)
        return step.mean_loss(evaluation), evaluation.score[0]

    (loss, score), grads = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
    return {
        **{f"h{i + 1}": h for i, h in enumerate(layers)},
        "pooled": pooled,
        "z": found.code,
        "x_hat": found.x_hat,
        "loss": loss,
        "score": score,
        **named("grad", grads, entries),
    }


def replay_losses(golden: Golden) -> Outputs:
    """Every loss and its gradient, evaluated in float64 as the recorded ones are."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _losses(golden))


def _losses(golden: Golden) -> Outputs:
    inputs = golden.inputs
    wide = lambda name: jnp.asarray(inputs[name], jnp.float64)  # noqa: E731
    x, x_hat = wide("x"), wide("x_hat")
    index, n_node = (
        jnp.asarray(inputs[n], jnp.int32) for n in ("graph_index", "n_node")
    )
    count, mask = len(n_node), jnp.ones(len(x))
    weight, most = jnp.ones(count), int(np.max(inputs["n_node"], initial=1))

    def per_graph(y):
        return segment_mean(losses.node_error(y, x), index, count)

    general: dict[str, Callable] = {
        "mse": lambda y: jnp.mean(losses.node_error(y, x)),
        "mse_per_graph_mean": lambda y: jnp.mean(per_graph(y)),
        "weighted_10_1_1": lambda y: jnp.mean(losses.node_error(y, x, "weighted")),
        "pt_only": lambda y: jnp.mean(losses.node_error(y, x, "pt_only")),
        "chamfer_batch": lambda y: losses.chamfer_cloud(y, x, mask),
        "chamfer_graph": lambda y: jnp.mean(losses.chamfer(y, x, n_node, most)),
    }
    functions: dict[str, Callable] = general
    variable, name = x_hat, "grad_x_hat"
    chamfer = losses.chamfer(x_hat, x, n_node, most)
    if golden.config["broadcast"]:
        variable, name = wide("emitted"), "grad_emitted"
        functions = {k: lambda o, f=f: f(o[index]) for k, f in general.items()}
        functions["chamfer_batch"] = lambda o: losses.chamfer_cloud_emitted(
            o, x, index, n_node, weight
        )
        functions["chamfer_graph"] = lambda o: jnp.mean(
            losses.chamfer_emitted(o, x, index, n_node)
        )
        chamfer = losses.chamfer_emitted(variable, x, index, n_node)
    outputs = {"mse_per_graph": per_graph(x_hat), "chamfer_per_graph": chamfer}
    for key, function in functions.items():
        outputs[key], outputs[f"{name}/{key}"] = jax.jit(jax.value_and_grad(function))(
            variable
        )
    narrow = [a.astype(jnp.float32) for a in (x_hat, x, mask)]
    return {**outputs, "chamfer_batch_f32_original": losses.chamfer_cloud(*narrow)}


def replay_scores(golden: Golden) -> Outputs:
    """Scores of events, and how well a score separates."""
    config, inputs = golden.config, golden.inputs
    x_hat, x = jnp.asarray(inputs["x_hat"]), jnp.asarray(inputs["x"])
    index, count = jnp.asarray(inputs["graph_index"]), len(inputs["n_node"])
    error = losses.node_error(x_hat, x)
    label, score = inputs["label"], inputs["score_used"]
    curve = scores.roc_curve(label, score)
    top = scores.top_events(score, config["top_k"])
    best = scores.max_sic(label, score, config["sic_min_background"])
    return {
        "graph_errors": event_scores.graph_score(error, index, count),
        "graph_errors_max": event_scores.graph_score(error, index, count, "max"),
        **curve._asdict(),
        "auc": scores.auc(label, score),
        "top_index": top,
        "top_score": score[top],
        "separation": scores.separation(label, score),
        "max_sic": best.value,
    }


def replay_splits(golden: Golden) -> Outputs:
    """Training, validation and test events."""
    config, label = golden.config, golden.inputs["label"]
    train_ratio, val_ratio = config["ratios"][:2]
    split = splits.split_events(label, config["seed"], train_ratio, val_ratio)
    subset = splits.split_events(
        label, config["seed"], train_ratio, val_ratio, config["subset_size"]
    )
    sizes = [len(p) for p in (split.train, split.val, split.test_background)]
    total = sum(sizes)
    document = [int(train_ratio * total), int(val_ratio * total)]
    return {
        "train": split.train,
        "val": split.val,
        "test_background": split.test_background,
        "test": split.test,
        "sizes_data_md": np.array(sizes),
        "sizes_seed_document": np.array([*document, total - sum(document)]),
        "subset_fixed": subset.train,
    }


def replay_node_autoencoder(golden: Golden) -> Outputs:
    """The per-node model: a forward pass with all scores, or some steps."""
    if "steps" in golden.config:
        return replay_node_train(golden)
    model, params = node_model(golden)
    part = jax.tree.map(jnp.asarray, node_part(golden, golden.inputs))
    x = part["x"]
    apply = jax.jit(model.apply)
    found: Any = apply({"params": params}, part)
    index, count = part["graph_index"], len(part["n_node"])
    errors = {
        kind: losses.node_error(found.x_hat, x, kind) for kind in losses.NODE_ERRORS
    }
    outputs = {
        "x_std": x,
        "z": found.code,
        "x_hat": found.x_hat,
        "loss_pt_only": jnp.mean(errors["pt_only"]),
        "loss_weighted": jnp.mean(errors["weighted"]),
    }
    for reduction in event_scores.REDUCTIONS:
        for name, kind in (("pt", "pt_only"), ("all", "mse")):
            outputs[f"score_{reduction}_{name}"] = event_scores.graph_score(
                errors[kind], index, count, reduction
            )
    # the committed scorer feeds raw features and compares with standardised ones
    raw = {**part, "x": jnp.asarray(golden.inputs["x_raw"])}
    fed: Any = apply({"params": params}, raw)
    error = losses.node_error(fed.x_hat, x)
    fault = event_scores.graph_score(error, index, count, "max")
    return {**outputs, "score_max_all_raw_input_fault": fault}


def _same_sets(
    golden: Golden, name: str, got: np.ndarray, reference: np.ndarray
) -> tuple[float, str]:
    """Each receiver of each event has the same senders, in any order."""
    del name
    if got.shape != reference.shape:
        return np.inf, f"shape {got.shape}, expected {reference.shape}"
    offset, receivers = golden.outputs["edge_offset"], golden.outputs["receivers"]
    event = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    one, other = (s[np.lexsort((s, receivers, event))] for s in (got, reference))
    wrong = int(np.sum(one != other))
    return (np.inf, f"{wrong} senders differ") if wrong else (0.0, "")


def _same_scores(
    golden: Golden, name: str, got: np.ndarray, reference: np.ndarray
) -> tuple[float, str]:
    """The same events in the same order; those with equal scores may change places."""
    del name
    score = golden.inputs["score_used"]
    if got.shape != reference.shape or len(set(got.tolist())) != len(got):
        return np.inf, f"expected {len(reference)} different events, got {got.tolist()}"
    if np.array_equal(score[got], score[reference]):
        return 0.0, ""
    return np.inf, "other events, of other scores"


RULES = {BY_SET: _same_sets, BUT_TIES: _same_scores}


def _graph_outputs(golden: Golden) -> Names:
    names = ("node_offset", "edge_offset", "senders", "receivers")
    return (*names, *(("x_raw",) if "radius" in golden.config else ("x", "label")))


def _loss_outputs(golden: Golden) -> Names:
    names = ("mse", "mse_per_graph_mean", "weighted_10_1_1", "pt_only")
    names += ("chamfer_batch", "chamfer_graph")
    variable = "emitted" if golden.config["broadcast"] else "x_hat"
    gradients = tuple(f"grad_{variable}/{name}" for name in names)
    others = ("mse_per_graph", "chamfer_per_graph", "chamfer_batch_f32_original")
    return names + gradients + others


def _node_outputs(golden: Golden) -> Names:
    if "steps" in golden.config:
        return ("loss", "grad/*", "param_after/*")
    names = ("x_std", "z", "x_hat", "loss_pt_only", "loss_weighted")
    scored = tuple(f"score_{r}_{n}" for r in ("max", "mean") for n in ("pt", "all"))
    return (*names, *scored, "score_max_all_raw_input_fault")


CASES = {
    "graph_build": Case(replay_graph_build, _graph_outputs),
    "gcn_conv": Case(replay_gcn_conv, ("y", "grad/x", "grad/lin.weight", "grad/bias")),
    "forward": Case(
        replay_forward,
        ("h*", "pooled", "z", "x_hat", "loss", "score", "grad/*"),
        unread={"label": UNLABELLED},
    ),
    "losses": Case(replay_losses, _loss_outputs),
    "scores": Case(
        replay_scores,
        (
            *("graph_errors", "graph_errors_max", "fpr", "tpr", "thresholds", "auc"),
            *("top_index", "top_score", "separation", "max_sic"),
        ),
        unread={"event_id": "a name of the event; scores go by its place"},
    ),
    "splits": Case(
        replay_splits,
        (
            *("train", "val", "test_background", "test", "subset_fixed"),
            *("sizes_data_md", "sizes_seed_document"),
        ),
    ),
    "node_autoencoder": Case(
        replay_node_autoencoder, _node_outputs, unread={"*label": UNLABELLED}
    ),
    **TRAINING,
}
