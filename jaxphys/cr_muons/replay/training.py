"""Replays the golden files that record training steps."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.model.torch_weights import (
    EMA_NAME,
    from_state_dict,
    to_state_dict,
)
from jaxphys.cr_muons.replay.model import pairs_of, settings_of
from jaxphys.cr_muons.training import step, updates
from jaxphys.equivalence.golden import Golden
from jaxphys.training.task import TrainState

Outputs = Mapping[str, Any]


def replay_training(golden: Golden) -> Outputs:
    """Some steps with recorded batches and random numbers."""
    config = golden.config
    inputs = nested(golden.inputs)
    sizes = _sizes(inputs, config["n_steps"])
    settings = settings_of(config, fake_muon_budget=sizes["fakes"])
    params = from_state_dict(golden.params, settings)
    state = step.state_of(jax.tree.map(jnp.asarray, params), settings)
    ema = jnp.asarray(golden.params.get(EMA_NAME, np.float32(1)))
    state = state.replace(extra={**state.extra, "score_ema": ema})
    key = jax.random.key(0)
    run = jax.jit(functools.partial(step.step_and_gradients, settings=settings))
    rows, outputs = [], {}
    for k in range(config["n_steps"]):
        batch = padded_batch(inputs["batch"][str(k)], sizes["muons"])
        draws = padded_draws(inputs["draws"][str(k)], sizes, settings)
        state, found, gradients = run(state, batch, key, draws=draws)
        rows.append({name: s / n for name, (s, n) in found.items()})
        if k == 0:
            named = to_state_dict(gradients, settings)
            outputs |= {f"grad/{name}": array for name, array in named.items()}
    for name in ("c_loss", "g_loss", "m_loss", "w_gap"):
        outputs[name] = np.array([row[name] for row in rows])
    # the weights enter as sums over events, and these were counted
    outputs["n_fake"] = np.array([int(row["num_fake"]) for row in rows])
    after = to_state_dict(state.params, settings)
    outputs |= {f"param_after/{name}": array for name, array in after.items()}
    outputs[f"param_after/{EMA_NAME}"] = state.extra["score_ema"]
    return {**outputs, **_optimizers(state, settings)}


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns arrays named a/b/c as nested dicts."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


def _sizes(inputs: Mapping[str, Any], steps: int) -> dict[str, int]:
    """Returns places for muons, generated muons and pairs that hold every step."""
    used = [str(k) for k in range(steps)]
    turns = [turn for k in used for turn in inputs["draws"][k].values()]
    pairs = [len(t["pair_real_index"]) for t in turns if "pair_real_index" in t]
    return {
        "muons": max(len(inputs["batch"][k]["muons"]) for k in used),
        "fakes": max(len(turn["z_local"]) for turn in turns),
        "pairs": max([1, *pairs]),
    }


def padded_batch(arrays: Mapping[str, np.ndarray], places: int) -> dict[str, Any]:
    """Returns a recorded batch as one part with some places for muons."""
    events = len(arrays["counts"])
    pad = places - len(arrays["muons"])
    event = np.pad(arrays["batch_index"], (0, pad), constant_values=events)
    batch = {
        "conditions": arrays["conditions"],
        "features": np.pad(arrays["muons"], ((0, pad), (0, 0))),
        "num_muons": arrays["counts"].astype(np.int32),
        "muon_event": event.astype(np.int32),
        "event_mask": np.ones(events, np.float32),
    }
    return {name: jnp.asarray(array)[None] for name, array in batch.items()}


def padded_draws(
    arrays: Mapping[str, Mapping[str, np.ndarray]],
    sizes: Mapping[str, int],
    settings: GanSettings,
) -> dict[str, Any]:
    """Returns the recorded random numbers of a step, with a leading axis of turns."""
    found: list[dict[str, Any]] = []
    for number in range(len(arrays)):
        turn = arrays[str(number)]
        events = len(turn["z_global"])
        pad = sizes["fakes"] - len(turn["z_local"])
        one: dict[str, Any] = {
            "z_global": turn["z_global"],
            "z_local": np.pad(turn["z_local"], ((0, pad), (0, 0))),
        }
        if settings.penalised:
            none = dict.fromkeys(
                [f"pair_{n}_index" for n in ("real", "fake", "batch")],
                np.zeros(0, np.int64),
            )
            one["alpha"] = turn.get("alpha", np.zeros((events, 1), np.float32))[:, 0]
            pairs = turn if "pair_real_index" in turn else none
            one["pairs"] = pairs_of(pairs, events, sizes["pairs"])
        found.append(one)
    return jax.tree.map(lambda *a: jnp.asarray(np.stack(a))[:, None], *found)


def _optimizers(state: TrainState, settings: GanSettings) -> Outputs:
    """Returns moments and counts of the optimizers under the recorded names."""
    muons, own = state.opt_state["muons"], state.opt_state["multiplicity"]
    moment = "nu" if settings.optimizer == "adam" else "trace"
    name = "exp_avg_sq" if settings.optimizer == "adam" else "momentum_buffer"
    groups = {
        "multiplicity": optax.tree.get(own, moment),
        "muons": optax.tree.get(muons, moment),
    }
    moments = {
        "generator": updates.from_groups(groups),
        "critic": optax.tree.get(state.opt_state["critic"], moment),
    }
    named = to_state_dict(moments, settings)
    outputs = {f"opt/{name}/{key}": array for key, array in named.items()}
    if settings.optimizer == "adam":
        # the multiplicity network holds the first parameter of the generator
        first = {"G": own, "C": state.opt_state["critic"]}
        last = {"G": muons, "C": state.opt_state["critic"]}
        for place, found in (("first", first), ("last", last)):
            for network, opt_state in found.items():
                count = _adam_count(opt_state)
                outputs[f"opt/step_{place}_param/{network}"] = count
    return outputs


def _adam_count(opt_state: Any) -> np.ndarray:
    is_adam = lambda s: isinstance(s, optax.ScaleByAdamState)  # noqa: E731
    states = jax.tree.leaves(opt_state, is_leaf=is_adam)
    return np.asarray(next(s.count for s in states if is_adam(s)), np.int64)


CASES = {"train_step": replay_training}
