"""Replays the golden files that hold weights of the nets."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.hypertrack.model.batch_norm import COLLECTION, fold_moments
from jaxphys.hypertrack.model.edge_layout import relative_degree, topology, with_pairs
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.torch_weights import (
    COUNTER,
    buffers_to_torch,
    params_to_torch,
    transformer_from_torch,
    transformer_to_torch,
    variables_from_torch,
)
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.hypertrack.training import step
from jaxphys.hypertrack.training.cluster_losses import (
    MaskLoss,
    Micrographs,
    cluster_losses,
)
from jaxphys.hypertrack.training.edge_losses import (
    EdgeBCE,
    EdgeContrastive,
    edge_bce,
    edge_contrastive,
)
from jaxphys.hypertrack.training.objective import Settings
from jaxphys.hypertrack.training.optimizer import make_optimizer
from jaxphys.hypertrack.training.schedules import learning_rates

Outputs = Mapping[str, Any]


def net_of(config: Mapping[str, Any]) -> TrackNet:
    """Returns the net that a file's settings describe."""
    names = ("nstack", "h_dim", "m_dim", "z_dim", "edge_type", "aggr", "act", "bn_eps")
    found = {name: config[name] for name in names}
    return TrackNet(use_residual=config["use_residual"], **found)


def transformer_of(config: Mapping[str, Any]) -> SetTransformer:
    """Returns the set transformer that the entry `cluster` of a file describes."""
    names = ("h_dim", "nstack_dec", "num_heads", "ln", "ln_eps", "output_dim")
    found = {name: config[name] for name in names}
    return SetTransformer(in_features=config["in_dim"], **found)


def track_of_hits(x_ind: np.ndarray, num_hits: int) -> np.ndarray:
    """Returns the row of x_ind that a hit lies in, or -1, [N] int32."""
    track = np.full(num_hits, -1, np.int32)
    rows, _ = np.nonzero(x_ind >= 0)
    track[x_ind[x_ind >= 0]] = rows
    return track


def _graph(position: np.ndarray, edge_index: np.ndarray) -> dict:
    return with_pairs({"position": position, "edge_index": edge_index})


def replay_forward(golden: Golden) -> Outputs:
    """The net in evaluation and in training, with gradients and running statistics."""
    config, inputs = golden.config, golden.inputs
    net = net_of(config)
    variables = variables_from_torch(golden.params, net)
    graph = _graph(inputs["X"], inputs["edge_index"])
    found = _layers(net, variables, graph, False)
    outputs = {f"eval/{name}": array for name, array in found[0].items()}
    edges = topology(graph)
    degree = relative_degree(edges)
    outputs["edge_attr"] = degree[edges.source] - degree[edges.destination]
    if not _trains(golden):
        return outputs
    found, moments = _layers(net, variables, graph, True)
    outputs |= {f"train/{name}": array for name, array in found.items()}
    stats = fold_moments(
        variables["batch_stats"],
        jax.tree.map(lambda a: a[None], moments),
        jnp.ones(1),
        config["bn_momentum"],
    )
    for name, array in buffers_to_torch(stats, net).items():
        outputs[f"train/buffer_after/{name}"] = array
    grads = jax.jit(jax.grad(_weighted_logits), static_argnums=1)(
        variables["params"], net, variables["batch_stats"], graph
    )
    for name, array in params_to_torch(grads, net).items():
        outputs[f"train/grad/{name}"] = array
    return outputs


def _trains(golden: Golden) -> bool:
    """Returns whether there are statistics to train with: not those of one node."""
    return len(golden.inputs["X"]) > 1


def _weighted_logits(params: Any, net: TrackNet, stats: Any, graph: Any) -> jax.Array:
    variables = {"params": params, "batch_stats": stats}
    found: Any = net.apply(variables, graph, True, mutable=[COLLECTION])
    logits = found[0].logits
    return jnp.mean(jnp.linspace(-1, 1, len(logits)) * logits)


def _layers(net: TrackNet, variables: Any, graph: Any, train: bool) -> Any:
    """Returns outputs by name, and the moments, of one pass."""

    def all_outputs(net: TrackNet) -> dict[str, jax.Array]:
        edges, layers = topology(graph), net.layers(graph, train)
        latents = net.fuse(layers, edges, train)
        found = {f"x_out_{n}": layer for n, layer in enumerate(layers)}
        return {
            **found,
            "Z": latents,
            "edge_logits": net.head(latents, edges, train),
        }

    found: Any = net.apply(variables, method=all_outputs, mutable=[COLLECTION])
    return found[0], found[1].get(COLLECTION, {})


def replay_cluster_forward(golden: Golden) -> Outputs:
    """The set transformer with its gradients."""
    inputs = golden.inputs
    transformer = transformer_of(golden.config["cluster"])
    params = transformer_from_torch(golden.params, transformer)
    mask = jnp.asarray(inputs["X_mask"])

    def value(params: Any, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        found: Any = transformer.apply(
            {"params": params}, rows, inputs["X_pivot"], mask, inputs["X_pivot_mask"]
        )
        logits = jnp.where(mask, found, 0)
        return 0.5 * jnp.sum(logits**2) / jnp.sum(mask), logits

    run = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))
    (loss, logits), (grads, rows) = run(params, jnp.asarray(inputs["X"]))
    # rows of padding have no meaning: what is recorded there is repeated
    recorded = golden.outputs
    real = inputs["X_mask"][..., None]
    outputs = {
        "logits": np.where(real, logits[..., None], recorded["logits"]),
        "loss": loss,
        "grad_X": np.where(real, rows, recorded["grad_X"]),
    }
    named = transformer_to_torch(grads, transformer)
    return {**outputs, **{f"grad/{name}": array for name, array in named.items()}}


def replay_losses(golden: Golden) -> Outputs:
    """Losses of edges or of clusters with gradients by the logits."""
    if "edge_BCE" in golden.config:
        return _edge_losses(golden)
    return _cluster_losses(golden)


def edge_settings(config: Mapping[str, Any]) -> tuple[EdgeBCE, EdgeContrastive]:
    """Returns the settings of the losses of edges of a file."""
    contrastive = {k: v for k, v in config["edge_contrastive"].items() if k != "type"}
    return EdgeBCE(**config["edge_BCE"]), EdgeContrastive(**contrastive)


def _edge_losses(golden: Golden) -> Outputs:
    inputs = golden.inputs
    bce, contrastive = edge_settings(golden.config)
    logits, edges = (
        jnp.asarray(inputs["edge_logits"]),
        jnp.asarray(inputs["edge_index"]),
    )
    ones, weight = jnp.ones(logits.shape), jnp.asarray(inputs["hit_weights"])
    track = jnp.asarray(track_of_hits(inputs["x_ind"], len(weight)))
    labels = jnp.asarray(inputs["edge_label"])
    losses = {
        "edge_BCE": lambda x: edge_bce(x, labels, edges, ones, bce),
        "edge_contrastive": lambda x: edge_contrastive(
            x, edges, ones, track, weight, contrastive
        ),
    }
    outputs = {}
    for name, loss in losses.items():
        outputs[name], outputs[f"grad/{name}"] = jax.value_and_grad(loss)(logits)
    return outputs


def _padded(arrays: list[np.ndarray], fill: Any, width: int = 0) -> np.ndarray:
    width = max([width, *map(len, arrays)])
    return np.stack(
        [np.pad(a, (0, width - len(a)), constant_values=fill) for a in arrays]
    )


def _cluster_losses(golden: Golden) -> Outputs:
    config, inputs = golden.config, golden.inputs
    bce, both = config["cluster_BCE"], config["cluster_contrastive"]
    settings = MaskLoss(
        bce_type=bce["type"],
        gamma=bce["gamma"],
        delta=bce["delta"],
        bce_weights=bce["weights"],
        set_loss=both["type"],
        set_weights=both["weights"],
        smooth=both["smooth"],
        meta_target=config["meta_target"],
        fixed_threshold=config["fixed_threshold"],
        min_cluster_size=0,  # all clusters of a file were accepted
    )
    numbers = range(config["n_clusters"])
    parts = {
        name: [inputs[f"cluster/{number}/{name}"] for number in numbers]
        for name in ("micrograph", "pivots", "logits")
    }
    rows = _padded(parts["micrograph"], -1)
    labels, weight = inputs["true_clusters"].astype(np.int32), inputs["hit_weights"]
    sets = Micrographs(
        jnp.asarray(rows >= 0),
        jnp.asarray(np.where(rows >= 0, labels[rows], -1)),
        jnp.asarray(labels[np.stack(parts["pivots"])]),
        jnp.asarray(np.where(rows >= 0, weight[rows], 0) / weight.sum()),
        jnp.ones(len(rows), bool),
        jnp.asarray(len(labels)),
    )
    logits = jnp.asarray(_padded(parts["logits"], 0))

    def loss(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = cluster_losses(logits, sets, settings)
        return found.bce, found.set_loss

    found = cluster_losses(logits, sets, settings)
    gradients: Any = jax.jacrev(loss)(logits)
    outputs: dict[str, Any] = {
        "cluster_BCE": found.bce,
        "cluster_contrastive": found.set_loss,
    }
    for number in numbers:
        size = len(parts["logits"][number])
        outputs[f"cluster/{number}/BCE"] = found.bce_each[number]
        outputs[f"cluster/{number}/contrastive"] = found.set_loss_each[number]
        for name, gradient in zip(
            ("cluster_BCE", "cluster_contrastive"), gradients, strict=True
        ):
            outputs[f"grad/{name}/{number}"] = gradient[number, :size]
    return outputs


def _batches(golden: Golden) -> list[dict[str, np.ndarray]]:
    """Returns the batches of a file, graphs padded to the largest of them."""
    inputs, size = golden.inputs, golden.config["batch_size"]
    steps = 1 + max(int(name.split("/")[1]) for name in inputs)
    names = [
        [f"batch/{s}/" + (f"{b}/" if size > 1 else "") for b in range(size)]
        for s in range(steps)
    ]
    shapes = [inputs[n + "edge_index"].shape[1] for group in names for n in group]
    nodes = [len(inputs[n + "X"]) for group in names for n in group]
    found = []
    for group in names:
        graphs = [_padded_graph(inputs, n, max(nodes) + 1, max(shapes)) for n in group]
        found.append({k: np.stack([g[k] for g in graphs]) for k in graphs[0]})
    return found


def _padded_graph(
    inputs: Mapping[str, np.ndarray], name: str, nodes: int, edges: int
) -> dict[str, np.ndarray]:
    position, index = inputs[name + "X"], inputs[name + "edge_index"]
    more_nodes, more_edges = nodes - len(position), edges - index.shape[1]
    track = track_of_hits(inputs[name + "x_ind"], len(position))
    graph = {
        "position": np.pad(position, ((0, more_nodes), (0, 0))),
        "edge_index": np.pad(
            index, ((0, 0), (0, more_edges)), constant_values=nodes - 1
        ),
        "node_mask": np.pad(np.ones(len(position), bool), (0, more_nodes)),
        "edge_mask": np.pad(np.ones(index.shape[1], bool), (0, more_edges)),
        "edge_label": np.pad(inputs[name + "edge_label"], (0, more_edges)),
        "track": np.pad(track, (0, more_nodes), constant_values=-1),
        "hit_weight": np.pad(inputs[name + "hit_weights"], (0, more_nodes)),
    }
    return with_pairs(graph)


def replay_train_step(golden: Golden) -> Outputs:
    """Some optimizer steps of the first phase."""
    config = golden.config
    bce, contrastive = edge_settings(config)
    net = net_of(config)
    settings = Settings(
        net=net,
        transformer=transformer_of(config["cluster"]),
        edge_bce=bce,
        edge_contrastive=contrastive,
        beta_edge_bce=config["beta"]["edge_BCE"],
        beta_edge_contrastive=config["beta"]["edge_contrastive"],
        bn_momentum=config["bn_momentum"],
    )
    rates = learning_rates(
        config["scheduler_type"], config["learning_rate"], config["scheduler_period"]
    )
    optimizer = make_optimizer(
        config["optimizer"],
        rates,
        weight_decay_w=config["weight_decay_w"],
        weight_decay_b=config["weight_decay_b"],
        epsilon=config["epsilon"],
        grad_clip_norm=config["max_grad_norm"],
        betas=tuple(config.get("betas", (0.9, 0.999))),
    )
    found = step.initial_variables(jax.random.key(0), settings)
    ours = variables_from_torch(golden.params, net)
    params = {**found["params"], "net": ours["params"]}
    variables = {"params": params, "batch_stats": ours["batch_stats"]}
    state = step.initial_state(variables, objective=settings, optimizer=optimizer)
    batches = _batches(golden)
    grads, _, _ = jax.jit(step.gradients, static_argnums=(0, 3))(
        settings, state, batches[0], "edges"
    )
    update = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, "edges", objective=settings, optimizer=optimizer
        )
    )
    rows = []
    for batch in batches:
        state, metrics = update(state, batch)
        rows.append({name: total / n for name, (total, n) in metrics.items()})
    names = ("loss", "edge_BCE", "edge_contrastive", "grad_norm")
    outputs = {name: np.array([row[name] for row in rows]) for name in names}
    outputs["learning_rate"] = np.array([rates(k) for k in range(len(batches))])
    named = params_to_torch(grads["net"], net)
    outputs |= {f"grad/{name}": array for name, array in named.items()}
    after = params_to_torch(state.params["net"], net)
    after |= buffers_to_torch(state.extra["batch_stats"], net)
    counted = len(batches) * config["batch_size"]
    for name, array in golden.params.items():
        if name.endswith(COUNTER):
            after[name] = array + counted
    return {**outputs, **{f"param_after/{name}": a for name, a in after.items()}}


def _forward_outputs(golden: Golden) -> Names:
    names = ("eval/Z", "eval/edge_logits")
    return (*names, "eval/*", "train/*", "edge_attr") if _trains(golden) else names


def _loss_outputs(golden: Golden) -> Names:
    if "edge_BCE" in golden.config:
        names = ("edge_BCE", "edge_contrastive")
        return (*names, *(f"grad/{name}" for name in names))
    return ("cluster_BCE", "cluster_contrastive", "cluster/*", "grad/*")


UNREAD = {
    "x_ind": "true_clusters has the track of each hit",
    "global_ind": "the clusters name hits by their places in the event",
}
_STEP = ("loss", "edge_BCE", "edge_contrastive", "grad_norm", "learning_rate")
CASES = {
    "gnn_forward": Case(replay_forward, _forward_outputs),
    "cluster_forward": Case(
        replay_cluster_forward, ("logits", "loss", "grad_X", "grad/*")
    ),
    "losses": Case(replay_losses, _loss_outputs, unread=UNREAD),
    "train_step": Case(replay_train_step, (*_STEP, "grad/*", "param_after/*")),
}
