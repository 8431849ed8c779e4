"""Replays the golden files of the graph dynamical network that hold its weights."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Arrays, Golden
from jaxphys.gdynet.model.convolution import centres, expand
from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.model.torch_weights import (
    params_to_torch,
    variables_from_torch,
    variables_to_torch,
)
from jaxphys.gdynet.training import step
from jaxphys.training.optimizers import make_optimizer
from jaxphys.training.task import TrainState

Outputs = Mapping[str, Any]
_COUNTER = "num_batches_tracked"
# names of the arrays of a frame: ours -> in the files
_FRAME = {
    "nbr_lists": "nbr_lists",
    "nbr_dists": "nbr_dists",
    "directions": "atom_directions",
}


def model_of(golden: Golden) -> GDyNet:
    """Returns the model that a file's settings describe."""
    config = golden.config
    return GDyNet(
        atom_fea_len=config["atom_fea_len"],
        n_conv=config["n_conv"],
        state_len=config["state_len"],
        num_gaussians=config["num_gaussians"],
        cutoff=config["cutoff"],
        variant=config["model"].removeprefix("gdynet_"),
        bn_eps=config.get("bn_eps", 1e-5),
        bn_momentum=config.get("bn_momentum", 0.1),
    )


def _frame_of(golden: Golden) -> dict[str, str]:
    """Returns the names of the arrays of a frame of a file's model."""
    ferro = golden.config["model"] == "gdynet_ferro"
    return {k: v for k, v in _FRAME.items() if ferro or k != "directions"}


def replay_gaussian_expansion(golden: Golden) -> Outputs:
    """Distances to Gaussian features."""
    config = golden.config
    distances = golden.inputs["distances"]
    mu, factor = centres(config["num_gaussians"], config["stop"] - config["start"])
    shifted = jnp.asarray(distances - np.float32(config["start"]))
    return {"features": expand(shifted, mu, factor)}


def _counters(golden: Golden, steps: int) -> Arrays:
    """Returns the counters of batches, which only PyTorch keeps."""
    names = [name for name in golden.params if name.endswith(_COUNTER)]
    return {name: golden.params[name] + steps for name in names}


def _buffers(golden: Golden, tree: Mapping, model: GDyNet, steps: int) -> dict:
    """Returns the running statistics of a lobe under PyTorch's names."""
    named = {**variables_to_torch(tree, model), **_counters(golden, steps)}
    return {n: a for n, a in named.items() if "running_" in n or n.endswith(_COUNTER)}


def replay_forward(golden: Golden) -> Outputs:
    """One lobe in evaluation and in training, with gradients."""
    inputs, model = golden.inputs, model_of(golden)
    variables = variables_from_torch(golden.params, model)
    frames = {
        ours: jnp.asarray(inputs[name]) for ours, name in _frame_of(golden).items()
    }
    constants = inputs["atom_types"], inputs["target_index"]
    found: Any = model.apply(variables, frames, *constants)
    outputs = {"eval/probs": found.probs, "eval/logits": found.logits}
    if golden.config["eval_only"]:
        return outputs

    def value(params):
        tree = {**variables, "params": params}
        arguments = (tree, frames, *constants, True)
        found, changed = model.apply(*arguments, mutable=["batch_stats"])
        return jnp.sum(inputs["cotangent"] * found.probs), (found, changed)

    grads, (found, changed) = jax.jit(jax.grad(value, has_aux=True))(
        variables["params"]
    )
    outputs |= {"train/probs": found.probs, "train/logits": found.logits}
    atoms, _ = model.apply(
        variables,
        frames,
        inputs["atom_types"],
        True,
        method="atoms",
        mutable=["batch_stats"],
    )
    for number, h in enumerate(atoms[1:]):
        outputs[f"train/conv_{number}"] = h.reshape(-1, h.shape[-1])
    after = _buffers(golden, {**variables, **changed}, model, 1)
    outputs |= {f"train/buffer_after/{name}": a for name, a in after.items()}
    named = params_to_torch(grads, model)
    return {**outputs, **{f"grad/{name}": a for name, a in named.items()}}


def replay_train_step(golden: Golden) -> Outputs:
    """Some optimizer steps of both lobes, in the precision of the file."""
    with jax.enable_x64(golden.config["dtype"] == "float64"):
        return jax.tree.map(np.asarray, _train(golden))


def _train(golden: Golden) -> Outputs:
    config, model = golden.config, model_of(golden)
    dtype = jnp.dtype(config["dtype"])
    lobes = step.Lobes(
        model,
        golden.inputs["atom_types"],
        golden.inputs["target_index"],
        epsilon=config["epsilon"],
        vamp_mode=config["mode"],
    )
    optimizer = make_optimizer(
        "adam",
        config["learning_rate"],
        betas=tuple(config["adam_betas"]),
        eps=config["adam_eps"],
    )
    variables: Any = jax.tree.map(
        lambda a: jnp.asarray(a, dtype), variables_from_torch(golden.params, model)
    )
    both: Any = dict.fromkeys(lobes.names, variables)
    state = step.initial_state(both, objective=lobes, optimizer=optimizer)
    batches = [_batch(golden, k, dtype) for k in range(config["steps"])]
    phase = config["loss"]

    @jax.jit
    def look(state: TrainState, batch):
        return step.gradients(lobes, state, batch, phase)[::2]

    @jax.jit
    def update(state: TrainState, batch):
        return step.train_step(
            state, batch, None, phase, objective=lobes, optimizer=optimizer
        )

    grads, _ = look(state, batches[0])
    rows = []
    for batch in batches:
        _, pair = look(state, batch)
        state, metrics = update(state, batch)
        row = {name: total / weight for name, (total, weight) in metrics.items()}
        rows.append({**row, "probs_0": pair.chi0, "probs_t": pair.chit})
    outputs: dict[str, Any] = {
        name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]
    }
    last = step.evaluate(
        lobes, state.params, state.extra["batch_stats"], batches[-1], False
    )
    outputs |= {"eval_probs_lobe_0": last.chi0, "eval_probs_lobe_t": last.chit}
    for name in lobes.names:
        named = params_to_torch(grads[name], model)
        outputs |= _with_columns(f"grad_step0/{name}", named, model)
        tree = step.variables_of(state, name)
        counters = _counters(golden, config["steps"])
        after = {**variables_to_torch(tree, model), **counters}
        outputs |= _with_columns(f"param_after/{name}", after, model)
    return outputs


def _batch(golden: Golden, number: int, dtype: Any) -> dict[str, jax.Array]:
    found = {"weight": jnp.ones(golden.config["batch"], dtype)}
    for which in ("0", "t"):
        for ours, name in _frame_of(golden).items():
            array = golden.inputs[f"batch/{name}_{which}"]
            found[f"{ours}_{which}"] = jnp.asarray(array[number])
    return found


def _with_columns(prefix: str, named: Arrays, model: GDyNet) -> dict[str, Any]:
    """Returns prefix/<name>, and the part of lin_filter that has a gradient."""
    found = {f"{prefix}/{name}": array for name, array in named.items()}
    for name, array in named.items():
        if name.endswith("lin_filter.weight"):
            columns = array[:, model.atom_fea_len :]
            found[f"{prefix}/{name}_columns_from_A"] = columns
    return found


def _forward_outputs(golden: Golden) -> Names:
    evaluated = ("eval/probs", "eval/logits")
    if golden.config["eval_only"]:
        return evaluated
    return (*evaluated, "train/probs", "train/logits", "train/*", "grad/*")


_TRAIN = (
    *("loss", "vamp1", "vamp2", "probs_0", "probs_t"),
    *("eval_probs_lobe_0", "eval_probs_lobe_t", "grad_step0/*", "param_after/*"),
)
CASES = {
    "gaussian_expansion": Case(replay_gaussian_expansion, ("features",)),
    "forward_vanilla": Case(replay_forward, _forward_outputs),
    "forward_ferro": Case(replay_forward, _forward_outputs),
    "train_step": Case(replay_train_step, _TRAIN),
}
