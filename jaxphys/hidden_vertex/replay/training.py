"""Replays the golden files of the hidden vertex that record training steps."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.equivalence import torch_weights
from jaxphys.equivalence.cases import Case
from jaxphys.equivalence.golden import Golden
from jaxphys.equivalence.watched import Under
from jaxphys.hidden_vertex.model.model import (
    NodeAutoencoder,
    SeedAutoencoder,
    node_entries,
    seed_entries,
    standardised,
)
from jaxphys.hidden_vertex.replay.packing import EdgeListBatches, Part, pad
from jaxphys.hidden_vertex.training import losses, step
from jaxphys.training import optimizers, phases
from jaxphys.training.loop import fit
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Task, TrainState

Outputs = Mapping[str, Any]
UNLABELLED = "the models learn without labels"
LOSSES = {"chamfer_graph": "chamfer"}  # name in the files -> ours, where they differ


def unpadded(arrays: Mapping[str, np.ndarray], features: str = "x") -> Part:
    """Returns a part of a batch (see `hidden_vertex.model.model`) without padding.

    Args:
      arrays: of the batch.
      features: name of the array of features.
    """
    part: Part = {}
    for name in ("senders", "receivers", "graph_index", "n_node"):
        part[name] = np.asarray(arrays[name], np.int32)
    for name in (features, "edge_weight"):
        if name == features or name in arrays:
            part[name] = np.asarray(arrays[name])
    part["weight"] = np.ones(len(part["n_node"]), np.float32)
    return part


def named(prefix: str, tree: Any, entries: Sequence[torch_weights.Entry]) -> dict:
    """Returns the leaves of a tree as prefix/<PyTorch name>."""
    named = torch_weights.to_torch(tree, entries)
    return {f"{prefix}/{name}": array for name, array in named.items()}


def seed_model(golden: Golden) -> tuple[SeedAutoencoder, Any, list]:
    """Returns the seed model of a file, its weights, and how its names pair."""
    config = golden.config
    model = SeedAutoencoder(
        tuple(config["hidden"]), config["latent_dim"], (config["decoder_hidden"],)
    )
    entries = seed_entries(len(config["hidden"]))
    return model, torch_weights.to_flax(golden.params, entries), entries


def _equal_sizes(parts: Sequence[Part]) -> list[Part]:
    """Pads parts to one shape, so that one compilation serves all; adds the axis D."""
    nodes = max(len(p["x"]) for p in parts) + 1
    edges = max(len(p["senders"]) for p in parts)
    number = max(len(p["n_node"]) for p in parts) + 1
    padded = [pad(p, nodes, edges, number) for p in parts]
    return [jax.tree.map(lambda a: a[None], p) for p in padded]


def _optimizer(config: Mapping[str, Any]) -> optax.GradientTransformation:
    return optimizers.make_optimizer(
        config.get("optimizer", "AdamW").lower(),
        config["lr"],
        weight_decay=config["weight_decay"],
        grad_clip_norm=config["clip_norm"] or 0.0,
        betas=tuple(config.get("betas", (0.9, 0.999))),
        eps=config.get("eps", 1e-8),
    )


def _loss(config: Mapping[str, Any]) -> str:
    name = config.get("loss", "mse")
    return str(LOSSES.get(name, name))


def _batches(golden: Golden, prefix: str) -> list[Mapping[str, np.ndarray]]:
    """Returns the arrays prefix/0/*, prefix/1/*, ..."""
    numbers = Under(golden.inputs, prefix).numbers
    return [Under(golden.inputs, f"{prefix}/{number}") for number in numbers]


def _train(golden: Golden, dtype: Any) -> tuple[Any, TrainState, dict[str, np.ndarray]]:
    """Returns the first gradients, the last state and the metrics of every step."""
    config = golden.config
    model, params, _ = seed_model(golden)
    loss = _loss(config)
    objective = step.Objective(step.GraphObjective(model, loss))
    optimizer = _optimizer(config)

    def cast(tree):
        wide = lambda a: a.astype(dtype) if a.dtype.kind == "f" else a  # noqa: E731
        return jax.tree.map(lambda a: jnp.asarray(wide(np.asarray(a))), tree)

    parts = [unpadded(batch) for batch in _batches(golden, "batch")]
    batches = [cast(batch) for batch in _equal_sizes(parts)]
    state = step.initial_state(cast(params), objective=objective, optimizer=optimizer)
    order = golden.inputs["batch_order"]
    value = lambda p: step.mean_loss(objective.evaluate(p, batches[order[0]], None))  # noqa: E731
    grads = jax.jit(jax.grad(value))(state.params)
    update = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, objective=objective, optimizer=optimizer
        )
    )
    rows = []
    for number in order:
        state, found = update(state, batches[number])
        rows.append({name: float(s / n) for name, (s, n) in found.items()})
    metrics = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return grads, state, metrics


def replay_train(golden: Golden) -> Outputs:
    """Some steps of the seed model on given batches."""
    entries = seed_entries(len(golden.config["hidden"]))
    grads, state, metrics = _train(golden, np.float32)
    with jax.enable_x64(True):
        wide = _train(golden, np.float64)[2]
    moments = {
        "exp_avg": optax.tree.get(state.opt_state, "mu"),
        "exp_avg_sq": optax.tree.get(state.opt_state, "nu"),
    }
    trees = {"grad": grads, "param_after": state.params, **moments}
    outputs = {"loss": metrics["loss"], "grad_norm": metrics["grad_norm"]}
    for prefix, tree in trees.items():
        outputs |= named(prefix, tree, entries)
    return {**outputs, "loss_float64": wide["loss"]}


def replay_train_loop(golden: Golden) -> Outputs:
    """Whole epochs with early stopping through the library's loop."""
    config, order = golden.config, golden.inputs["order"]
    model, params, entries = seed_model(golden)
    loss = _loss(config)
    objective = step.Objective(step.GraphObjective(model, loss), batch_mean=True)
    bound = {"objective": objective, "optimizer": _optimizer(config)}
    train, val = ([unpadded(b) for b in _batches(golden, n)] for n in ("train", "val"))
    size, forward = config["batch_graphs"], np.arange(len(val))
    task = Task(
        init=lambda key: step.initial_state(jax.tree.map(jnp.array, params), **bound),
        train_step=functools.partial(step.train_step, **bound),
        eval_step=functools.partial(step.eval_step, objective=objective),
        summarize=functools.partial(step.summarize, objective=objective),
        train_data=EdgeListBatches(train, size, lambda epoch: order[epoch]),
        eval_data=EdgeListBatches(val, size, lambda epoch: forward),
        advance=phases.stop_when_impatient("val_loss", "min", config["patience"]),
        best=("val_loss", "min"),
    )
    result = fit(task, mesh=make_mesh("data:1"), rounds=config["epochs"])
    history = result.progress.history
    val_loss = np.array([entry["val_loss"] for entry in history])
    return {
        "train_loss": np.array([entry["train_loss"] for entry in history]),
        "val_loss": val_loss,
        "best_epoch": np.array(np.argmin(val_loss)),
        "epochs_run": np.array(len(history)),
        "stopped": np.array(int(bool(result.progress.stop))),
        **named("param_after", result.last.params, entries),
        **named("best_param", result.best.params, entries),
    }


def node_model(golden: Golden) -> tuple[NodeAutoencoder, Any]:
    """Returns the per-node model of a file and its weights."""
    config = golden.config
    hidden = tuple(config["hidden"])
    model = NodeAutoencoder(hidden, config["latent_dim"], config["dropout"])
    return model, torch_weights.to_flax(golden.params, node_entries())


def node_part(golden: Golden, arrays: Mapping[str, np.ndarray]) -> Part:
    """Returns `unpadded` with standardised features."""
    part = unpadded(arrays, "x_raw")
    raw = jnp.asarray(part.pop("x_raw"))
    config = golden.config
    x = np.asarray(standardised(raw, config["mean"], config["std"]))
    return {**part, "x": x}


def _recorded_masks(golden: Golden, step: int, nodes: int) -> list[np.ndarray]:
    """Returns the masks of both layers that drop, for padded nodes."""
    found = []
    for side, width in zip(
        ("encoder", "decoder"), golden.config["hidden"], strict=True
    ):
        packed = golden.inputs[f"keep/{step}/{side}"]
        mask = np.unpackbits(packed, axis=1)[:, :width] > 0
        found.append(np.pad(mask, ((0, nodes - len(mask)), (0, 0))))
    return found


def replay_node_train(golden: Golden) -> Outputs:
    """Some steps of the per-node model with recorded dropout masks."""
    config, inputs = golden.config, golden.inputs
    model, params = node_model(golden)
    weights = config.get("loss_weights", losses.FEATURE_WEIGHTS)
    graphs = step.GraphObjective(model, config["loss_mode"], tuple(weights))
    optimizer = _optimizer(config)
    parts = _equal_sizes([node_part(golden, b) for b in _batches(golden, "batch")])
    nodes = parts[0]["x"].shape[1]

    def evaluate(params, batch, key):
        del key
        part = jax.tree.map(lambda a: a[0], batch["part"])
        return graphs.part(params, part, None, batch["keep"])

    bound = {"objective": step.Objective(evaluate), "optimizer": optimizer}
    state = step.initial_state(jax.tree.map(jnp.asarray, params), **bound)
    update = jax.jit(lambda state, batch: step.train_step(state, batch, None, **bound))
    values, grads = [], None
    for t, number in enumerate(inputs["batch_order"]):
        keep = _recorded_masks(golden, t, nodes) if config["dropout"] else None
        batch = {"part": parts[number], "keep": keep}
        if grads is None:
            value = lambda p, b=batch: step.mean_loss(evaluate(p, b, None))  # noqa: E731
            grads = jax.jit(jax.grad(value))(state.params)
        state, found = update(state, batch)
        values.append(float(found["loss"][0] / found["loss"][1]))
    return {
        "loss": np.array(values),
        **named("grad", grads, node_entries()),
        **named("param_after", state.params, node_entries()),
    }


CASES = {
    "train": Case(
        replay_train,
        (
            *("loss", "loss_float64", "grad_norm", "grad/*"),
            *("param_after/*", "exp_avg/*", "exp_avg_sq/*"),
        ),
        unread={"batch/*/label": UNLABELLED},
    ),
    "train_loop": Case(
        replay_train_loop,
        (
            *("train_loss", "val_loss", "best_epoch", "epochs_run", "stopped"),
            *("param_after/*", "best_param/*"),
        ),
        unread={"train/*/label": UNLABELLED, "val/*/label": UNLABELLED},
    ),
}
