"""Replays the golden files of the track extrapolator with the library's functions."""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.batches import ArrayBatches, sequential
from jaxphys.equivalence import torch_weights
from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.track_extrapolator import simulation
from jaxphys.track_extrapolator.analysis import metrics
from jaxphys.track_extrapolator.data import field_files
from jaxphys.track_extrapolator.data.field_files import make_field
from jaxphys.track_extrapolator.inference.export import binary
from jaxphys.track_extrapolator.model.model import (
    STATS,
    TrackMLP,
    input_jacobian,
    parameter_count,
    statistics,
)
from jaxphys.track_extrapolator.model.surrogate import Surrogate, variables_from_torch
from jaxphys.track_extrapolator.physics.field import Field, GridField
from jaxphys.track_extrapolator.physics.propagate import propagate
from jaxphys.track_extrapolator.training import step
from jaxphys.training import optimizers, phases
from jaxphys.training.loop import fit
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Progress, Task

Outputs = Mapping[str, Any]


def _field(golden: Golden) -> Field:
    config = golden.config
    polarity = float(config.get("polarity", 1))
    if config["field"] == "grid":
        return GridField.from_map(
            golden.inputs["B"],
            config["min"],
            config["d"],
            polarity,
            config.get("outside", "clamp"),
        )
    return make_field(config["field"], polarity=polarity)


def replay_propagate(golden: Golden) -> Outputs:
    """RK4 transport of states, with the Jacobian of the first tracks."""
    config, field = golden.config, _field(golden)
    arguments = (config["z0"], config["z1"], config["step"], config["dtype"])
    outputs = {"state": propagate(field, golden.inputs["state"], *arguments)}
    first = config.get("jacobian_first", 0)
    if first:
        states = golden.inputs["state"][:first]
        found = propagate(field, states, *arguments, return_jacobian=True)
        outputs["jacobian"] = found[1]
    return outputs


def replay_field_file(golden: Golden) -> Outputs:
    """The readers of field maps."""
    ending = ".bin" if "bin" in golden.config["format"] else ".txt"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"field{ending}"
        path.write_bytes(golden.inputs["bytes"].tobytes())
        found = field_files.read_map(path)
    shape = np.array(found.values.shape[2::-1])
    return {
        "B": found.values,
        "min": np.asarray(found.minimum),
        "inv_d": np.asarray(found.inverse_spacing),
        "N": shape.astype(np.int64),
        **dict(zip("xyz", found.axes, strict=True)),
    }


def replay_field_eval(golden: Golden) -> Outputs:
    """Trilinear interpolation, clamped and with zero outside."""
    config, points = golden.config, golden.inputs["points"]
    grid = GridField.from_map(golden.inputs["B"], config["min"], config["d"])
    x, y, z = jnp.asarray(points.T, jnp.float32)
    return {
        "B": grid.evaluate(points),
        "B_zero_outside": dataclasses.replace(grid, outside="zero").evaluate(points),
        "B_float32": np.stack([np.asarray(b) for b in grid(x, y, z)], axis=-1),
        "inside": grid.contains(points),
    }


def replay_generate_sample(golden: Golden) -> Outputs:
    """The original's sampling, one legacy seed per track."""
    found = simulation.sample_legacy(
        golden.inputs["seed"], golden.config["z_in"], golden.config["z_out"]
    )
    return dict(zip("XYP", found, strict=True))


def _in_float64(model: TrackMLP, variables: Mapping, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        return np.asarray(model.apply(wide, jnp.asarray(x, jnp.float64)))


def replay_mlp_forward(golden: Golden) -> Outputs:
    """The network's output, normalised and in mm, and its input Jacobian."""
    config, x = golden.config, jnp.asarray(golden.inputs["x"])
    model = TrackMLP(tuple(config["hidden"]), config["activation"])
    variables = variables_from_torch(golden.params)
    stats = variables["stats"]
    xn = (x - stats["input_mean"][None]) / stats["input_std"][None]
    return {
        "net": model.apply({"params": variables["params"]}, xn, method="net"),
        "y": model.apply(variables, x),
        "y_float64": _in_float64(model, variables, golden.inputs["x"]),
        "jacobian": input_jacobian(model, variables, x),
    }


def _torch_names(golden: Golden, params: Mapping) -> dict[str, np.ndarray]:
    """Names the weights, or their gradients, as the PyTorch program does."""
    path = ("network",)
    entries = torch_weights.sequential(golden.params, "network", path, bias=True)
    return torch_weights.to_torch(params, entries)


def _after(golden: Golden, params: Mapping, stats: Mapping) -> dict[str, np.ndarray]:
    named = {**_torch_names(golden, params), **stats}
    return {f"param_after/{name}": np.asarray(a) for name, a in named.items()}


def _setup(golden: Golden, stats: Mapping):
    config = golden.config
    model = TrackMLP(tuple(config["hidden"]), config["activation"])
    params = variables_from_torch(golden.params)["params"]
    optimizer = optimizers.make_optimizer(
        "adamw",
        config["lr"],
        weight_decay=config["weight_decay"],
        betas=tuple(config.get("betas", (0.9, 0.999))),
        eps=config.get("eps", 1e-8),
    )
    return step.Objective(model, stats, raw=True), params, optimizer


def replay_mlp_train(golden: Golden) -> Outputs:
    """Some AdamW steps on given batches: losses, first gradients, last weights."""
    stats = variables_from_torch(golden.params)["stats"]
    objective, params, optimizer = _setup(golden, stats)
    state = step.initial_state(params, objective=objective, optimizer=optimizer)
    batches = [
        {"inputs": x, "target": y, "weight": np.ones(len(x), np.float32)}
        for x, y in zip(golden.inputs["x"], golden.inputs["y"], strict=True)
    ]
    grads = jax.grad(lambda p: step.loss(objective, p, batches[0])[0])(params)
    update = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, objective=objective, optimizer=optimizer
        )
    )
    losses = []
    for batch in batches:
        state, found = update(state, batch)
        losses.append(float(found["loss"][0] / found["loss"][1]))
    named = _torch_names(golden, grads)
    return {
        "loss": np.array(losses),
        **{f"grad/{name}": value for name, value in named.items()},
        **_after(golden, state.params, stats),
    }


def replay_train_loop(golden: Golden) -> Outputs:
    """Whole epochs through the library's training loop, in the recorded order."""
    config, inputs = golden.config, golden.inputs
    found = [*statistics(inputs["x_train"]), *statistics(inputs["y_train"])]
    stats = {n: jnp.asarray(v, jnp.float32) for n, v in zip(STATS, found, strict=True)}
    objective, params, optimizer = _setup(golden, stats)
    plateau = phases.Plateau(
        "val_loss",
        config["lr"],
        factor=config["factor"],
        patience=config["patience"],
        threshold=config["threshold"],
    )

    def batches(part: str, size: int, order) -> ArrayBatches:
        arrays = {"inputs": inputs[f"x_{part}"], "target": inputs[f"y_{part}"]}
        return ArrayBatches(arrays, size, order)

    bound = {"objective": objective, "optimizer": optimizer}
    count = len(inputs["x_val"])
    permutation = inputs["permutation"]
    task = Task(
        init=lambda key: step.initial_state(params, **bound),
        train_step=functools.partial(step.train_step, **bound),
        eval_step=functools.partial(step.eval_step, objective=objective),
        summarize=functools.partial(step.summarize, objective=objective),
        train_data=batches("train", config["batch"], lambda e: permutation[e]),
        eval_data=batches("val", count, sequential(count)),
        advance=plateau,
        after_eval=phases.apply_learning_rate,
    )
    result = fit(task, mesh=make_mesh("data:1"), rounds=len(permutation))
    history = result.progress.history
    return {
        "train_loss": np.array([h["train_loss"] for h in history]),
        "val_loss": np.array([h["val_loss"] for h in history]),
        "lr": np.array([h["learning_rate"] for h in history]),
        "best_val_loss": np.array(min(h["val_loss"] for h in history)),
        **_after(golden, result.last.params, stats),
    }


def replay_lr_plateau(golden: Golden) -> Outputs:
    """The learning-rate schedule alone."""
    config = golden.config
    settings = {**config, "factor": config["factor"], "patience": config["patience"]}
    settings.pop("threshold_mode", None)
    rate = settings.pop("lr")
    plateau = phases.Plateau("metric", rate, **settings)
    progress, rates = Progress(), []
    for value in golden.inputs["metric"]:
        progress = plateau(progress, {"metric": float(value)})
        rates.append(progress.extra["learning_rate"])
    return {"lr": np.array(rates)}


def replay_metrics(golden: Golden) -> Outputs:
    """Accuracy of a prediction, under the original's two sets of names."""
    inputs = golden.inputs
    found = metrics.accuracy(inputs["prediction"], inputs["y"], inputs["p_gev"])
    found["total_params"] = parameter_count(golden.config["hidden"])
    return {name: np.asarray(value) for name, value in found.items()}


def replay_bin_export(golden: Golden) -> Outputs:
    """Both layouts of the original's binary file, byte by byte, and reading them."""
    surrogate = Surrogate.from_state_dict(golden.params, golden.config["activation"])
    outputs = {
        "bytes_A": binary.to_bytes(surrogate, "A"),
        "bytes_cpp_colmajor": binary.to_bytes(surrogate, "cpp_colmajor"),
    }
    again = binary.from_bytes(
        outputs["bytes_cpp_colmajor"], activation=golden.config["activation"]
    )
    arrays = {k: np.frombuffer(v, np.uint8) for k, v in outputs.items()}
    for name, found in (("y_float64", surrogate), ("y_cpp", again)):
        model = TrackMLP(found.hidden, found.activation)
        arrays[name] = _in_float64(
            model, found.variables("float64"), golden.inputs["x"]
        )
    return arrays


def replay_legacy_checkpoint(golden: Golden) -> Outputs:
    """A published checkpoint: what it predicts, and its errors on published tracks."""
    inputs = golden.inputs
    found = binary.from_bytes(
        inputs["bytes"].tobytes(), activation=golden.config["activation"]
    )
    model = TrackMLP(found.hidden, found.activation)
    prediction = model.apply(found.variables(), jnp.asarray(inputs["x"]))
    errors = metrics.accuracy(np.asarray(prediction), inputs["y"], inputs["p_gev"])
    return {"y": prediction, **errors}


def _field_file_outputs(golden: Golden) -> Names:
    header = "bin" in golden.config["format"]
    return ("B", "min", "inv_d", "N") if header else ("B", "x", "y", "z")


def _propagate_outputs(golden: Golden) -> Names:
    jacobian = golden.config.get("jacobian_first", 0)
    return ("state", "jacobian") if jacobian else ("state",)


ERRORS = (
    "mean_error",
    "std_error",
    "max_error",
    "p50_error",
    "p95_error",
    "p99_error",
)
# of the original; a momentum bin without tracks has no number
METRICS = (
    *ERRORS,
    "pos_mean",
    "pos_mean_*GeV",
    "pos_std",
    "pos_median",
    "pos_p95",
    "pos_p99",
    "pos_max",
    "slope_mean",
    "slope_p95",
    "total_params",
)
CASES = {
    "propagate": Case(replay_propagate, _propagate_outputs),
    "field_file": Case(replay_field_file, _field_file_outputs),
    "field_eval": Case(
        replay_field_eval, ("B", "B_zero_outside", "B_float32", "inside")
    ),
    "generate_sample": Case(replay_generate_sample, ("X", "Y", "P")),
    "mlp_forward": Case(replay_mlp_forward, ("net", "y", "y_float64", "jacobian")),
    "mlp_train": Case(replay_mlp_train, ("loss", "grad/*", "param_after/*")),
    "train_loop": Case(
        replay_train_loop,
        ("train_loss", "val_loss", "lr", "best_val_loss", "param_after/*"),
    ),
    "lr_plateau": Case(replay_lr_plateau, ("lr",)),
    "metrics": Case(replay_metrics, METRICS),
    "bin_export": Case(
        replay_bin_export, ("bytes_A", "bytes_cpp_colmajor", "y_float64", "y_cpp")
    ),
    "legacy_checkpoint": Case(replay_legacy_checkpoint, ("y", *ERRORS)),
}
