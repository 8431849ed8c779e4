"""Replays the golden files that record training steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.model.parts import Noise
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.model.torch_weights import (
    EMA_NAME,
    from_state_dict,
    to_state_dict,
)
from jaxphys.cr_muons.replay.model import (
    CRITIC,
    EMA_TANH,
    GENERATOR,
    PERMUTED,
    SIZES,
    pairs_of,
    score_ema,
    settings_of,
)
from jaxphys.cr_muons.training import (
    critic_step,
    generator_step,
    latents,
    step,
    updates,
)
from jaxphys.cr_muons.training.latents import Latents
from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.equivalence.watched import Under
from jaxphys.training.task import TrainState

Outputs = Mapping[str, Any]
_STEP = (
    "train_recipe",
    "optimizer",
    "momentum",
    "lambda_gp",
    "critic_steps",
    "gp_mode",
    "gp_every",
    "gp_max_pairs",
    "gp_sample_fraction",
    "grad_clip_norm",
    "grad_accum_steps",
)


def replay_training(golden: Golden) -> Outputs:
    """Some steps with recorded batches and random numbers."""
    config, inputs = golden.config, golden.inputs
    steps = range(config["n_steps"])
    recorded = [Under(inputs, f"batch/{k}") for k in steps]
    drawn = [_turns(inputs, k) for k in steps]
    sizes = _sizes(recorded, drawn)
    settings = settings_of(
        config,
        SIZES + GENERATOR + CRITIC + _STEP,
        learning_rate=config["lr"],
        fake_muon_budget=sizes["fakes"],
    )
    params = from_state_dict(golden.params, settings)
    params = jax.tree.map(jnp.asarray, params)
    state = step.initial_state(
        params,
        objective=step.Objective(settings),
        optimizer=updates.optimizers(settings),
    )
    state = state.replace(extra={**state.extra, "score_ema": score_ema(golden)})
    rows, outputs = [], {}
    take = recorded_step(settings)
    for k in steps:
        batch = padded_batch(recorded[k], sizes["muons"])
        draws = padded_draws(drawn[k], sizes, settings)
        state, found, gradients = take(state, batch, draws)
        rows.append(found)
        if k == 0:
            named = to_state_dict(gradients, settings)
            outputs |= {f"grad/{name}": array for name, array in named.items()}
    for name in ("c_loss", "g_loss", "m_loss", "w_gap"):
        outputs[name] = np.array([row[name] for row in rows])
    if settings.train_recipe == "joint":
        # the weights enter as sums over events, and these were counted
        outputs["n_fake"] = np.array([int(row["num_fake"]) for row in rows])
    after = to_state_dict(state.params, settings)
    outputs |= {f"param_after/{name}": array for name, array in after.items()}
    if settings.score_head == EMA_TANH:
        outputs[f"param_after/{EMA_NAME}"] = state.extra["score_ema"]
    return {**outputs, **_optimizers(state, settings)}


def recorded_step(settings: GanSettings) -> Callable[..., Any]:
    """Returns the step of `gan_step` with given noise, pairs and alpha.

    Its arguments are the state, the batch and the random numbers of each critic step
    and, in the recipe "joint", of the generator step; it returns the state, the metrics
    and the gradients of the first critic step and of the generator step.
    """
    optimizer = updates.optimizers(settings)
    split = settings.train_recipe == "split"

    def latents_of(generator, batch, drawn):
        head = parts.heads(generator, batch["conditions"], settings)
        # predicted numbers of muons are rounded: nothing is drawn with this key
        plan = latents.draw_plan(jax.random.key(0), head, batch, settings)
        return Latents(plan, Noise(drawn["z_global"], drawn["z_local"], None))

    @jax.jit
    def multiplicity(generator, opt_state, batch):
        own = optimizer["multiplicity"]
        return generator_step.update_multiplicity(
            generator, opt_state, batch, settings, own, None
        )

    @jax.jit
    def of_critic(state, number, generator, batch, drawn):
        found = critic_step.gradient(
            state,
            number,
            latents_of(generator, batch, drawn),
            lambda: (drawn["pairs"], drawn["alpha"]),
            batch,
            generator,
            settings.lambda_gp,
            settings,
        )
        return critic_step.update(state, found, optimizer["critic"]), found[0]

    @jax.jit
    def of_generator(params, opt_state, looks, batch, drawn):
        made = latents_of(params["generator"], batch, drawn)
        slope, looks, metrics = generator_step.gradient(
            params, looks, made, batch, settings
        )
        generator, states = generator_step.update(
            params["generator"], opt_state, slope, optimizer, None
        )
        return generator, states, slope, looks, metrics

    def take(state: TrainState, batch: Any, draws: Sequence[Any]) -> Any:
        params, opt_state, metrics = dict(state.params), dict(state.opt_state), {}
        if split:
            params["generator"], opt_state["multiplicity"], m_loss = multiplicity(
                params["generator"], opt_state["multiplicity"], batch
            )
            metrics["m_loss"] = m_loss
        critic = critic_step.begin(
            params["critic"], opt_state["critic"], state.extra["score_ema"]
        )
        slopes = []
        for number in range(settings.critic_steps):
            critic, slope = of_critic(
                critic, number, params["generator"], batch, draws[number]
            )
            slopes.append(slope)
        params["critic"], opt_state["critic"] = critic.params, critic.opt_state
        params["generator"], states, slope, looks, found = of_generator(
            params, opt_state, critic.looks, batch, draws[-1]
        )
        new = state.replace(
            params=params,
            opt_state={**opt_state, **states},
            extra={**state.extra, "score_ema": looks.ema},
        )
        gradients = {"critic": slopes[0], "generator": slope}
        return new, {**critic.metrics, **found, **metrics}, gradients

    return take


def _turns(inputs: Mapping[str, Any], step: int) -> list[Under]:
    """Returns the recorded random numbers of each call of the generator in a step."""
    calls = Under(inputs, f"draws/{step}").numbers
    return [Under(inputs, f"draws/{step}/{call}") for call in calls]


def _sizes(
    batches: Sequence[Mapping[str, Any]], draws: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, int]:
    """Returns places for muons, generated muons and pairs that hold every step."""
    turns = [turn for step in draws for turn in step]
    pairs = [len(t["pair_real_index"]) for t in turns if "pair_real_index" in t]
    return {
        "muons": max(len(batch["muons"]) for batch in batches),
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
    turns: Sequence[Mapping[str, np.ndarray]],
    sizes: Mapping[str, int],
    settings: GanSettings,
) -> list[dict[str, Any]]:
    """Returns the recorded random numbers of a step, one by one.

    They are those of each critic step and, in the recipe "joint", of the generator
    step: z_global [1, B, Zg], z_local [1, F, Zl] and, where there is a penalty, pairs
    and alpha [1, B].
    """
    found: list[dict[str, Any]] = []
    for turn in turns:
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
            # a turn without pairs is one without the penalty
            pairs = turn if any(name.startswith("pair_") for name in turn) else none
            one["pairs"] = pairs_of(pairs, events, sizes["pairs"])
            no_alpha = np.zeros((events, 1), np.float32)
            mixed = len(pairs["pair_real_index"]) > 0
            one["alpha"] = (turn["alpha"] if mixed else no_alpha)[:, 0]
        found.append(jax.tree.map(lambda a: jnp.asarray(a)[None], one))
    return found


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


def _outputs(golden: Golden) -> Names:
    names = ("c_loss", "g_loss", "m_loss", "w_gap", "param_after/*", "grad/*", "opt/*")
    joint = golden.config["train_recipe"] == "joint"
    return (*names, "n_fake") if joint else names


CASES = {
    "train_step": Case(replay_training, _outputs, unread={"draws/*/perm": PERMUTED})
}
