"""Replays the golden files of both networks, the penalty and the adaptive critic."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.cr_muons.model import critic, parts
from jaxphys.cr_muons.model.generator import Generator, place
from jaxphys.cr_muons.model.multiplicity import log_count_of, rounded_counts
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.model.torch_weights import (
    EMA_NAME,
    from_state_dict,
    to_state_dict,
)
from jaxphys.cr_muons.training import adaptive, critic_step, penalty
from jaxphys.equivalence.cases import Case, Names
from jaxphys.equivalence.golden import Golden
from jaxphys.equivalence.watched import Under

Outputs = Mapping[str, Any]
EMA_TANH = "ema_tanh"  # the head that keeps a running mean of the scores
PERMUTED = "the pairs are recorded as they are after it"
SIZES = ("cond_dim", "feat_dim")
CRITIC = ("score_head", "critic_pooling")
GENERATOR = ("latent_dim_global", "latent_dim_local", "hidden_dim")


def settings_of(config: Mapping[str, Any], names: Names, **changes: Any) -> GanSettings:
    """Returns settings of a file's config; what is null there is the default."""
    found = {name: config[name] for name in names if config[name] is not None}
    return GanSettings(**{"max_fake_per_event": 1_000_000, **found, **changes})


def replay_generator(golden: Golden) -> Outputs:
    """The generator on given noise, with predicted or given numbers of muons."""
    inputs, settings = golden.inputs, settings_of(golden.config, SIZES + GENERATOR)
    variables = {"params": from_state_dict(golden.params, settings)["generator"]}
    network = Generator(settings)
    conditions = jnp.asarray(inputs["conditions"])
    outputs: dict[str, Any] = {}
    if golden.config["counts_mode"] == "predict":
        head: Any = network.apply(variables, conditions, method="head")
        outputs["multiplicity_log10"] = head
        number = rounded_counts(head[:, 0], settings.max_fake_per_event)
        log_count = jnp.where(jnp.isfinite(head[:, 0]), head[:, 0], 0)
    else:
        number = jnp.asarray(inputs["counts"], jnp.int32)
        log_count = log_count_of(number)
    places = place(number, len(inputs["z_local"]))
    noise = jnp.asarray(inputs["z_global"])
    context = network.apply(variables, conditions, log_count, noise, method="context")
    muons = network.apply(
        variables,
        context,
        jnp.asarray(inputs["z_local"]),
        places.event,
        method="local",
    )
    return {
        **outputs,
        "counts": number,
        "context": context,
        "muons": muons,
        "batch_index": places.event,
    }


def score_ema(golden: Golden) -> jax.Array:
    """Returns the recorded running mean of scores, which not every head has."""
    kept = golden.config["score_head"] == EMA_TANH
    return jnp.asarray(golden.params[EMA_NAME] if kept else np.float32(1))


def muons_of(inputs: Mapping[str, Any], path: str, num_events: int) -> parts.Muons:
    """Returns the muons of the recorded batch below a path as one part.

    Raises:
        ValueError: the numbers of muons are not those of the events of the muons.
    """
    arrays = Under(inputs, path)
    event = np.asarray(arrays["batch_index"], np.int32)
    number = np.asarray(arrays["counts"], np.int32)
    if not np.array_equal(number, np.bincount(event, minlength=num_events)):
        raise ValueError(
            f"input/{path}/counts: expected how often an event is in batch_index"
        )
    found = (arrays["muons"], event, number)
    return parts.Muons(*(jnp.asarray(array)[None] for array in found))


def replay_critic(golden: Golden) -> Outputs:
    """Calls of the critic, one after the other."""
    config, settings = golden.config, settings_of(golden.config, SIZES + CRITIC)
    params = from_state_dict(golden.params, settings)["critic"]
    ema, outputs = score_ema(golden), {}

    @jax.jit
    def call_critic(params, ema, muons, conditions) -> Any:
        raw = parts.raw_scores(params, muons, conditions, settings)
        total = jnp.float32(conditions.shape[1])
        ema = critic.updated_ema(ema, raw, jnp.ones_like(raw), total)
        return raw, ema, critic.score(raw, ema, total, settings.score_head)

    for call in range(config["n_calls"]):
        name = f"call/{call}"
        conditions = jnp.asarray(golden.inputs[f"{name}/conditions"])[None]
        events = conditions.shape[1]
        muons = muons_of(golden.inputs, name, events)
        raw, ema, score = call_critic(params, ema, muons, conditions)
        outputs[f"{name}/raw"] = raw[0, :, None]
        outputs[f"{name}/score"] = score[0, :, None]
        if settings.score_head == EMA_TANH:
            outputs[f"{name}/ema_after"] = ema
    return outputs


def pairs_of(
    arrays: Mapping[str, np.ndarray], num_events: int, places: int | None = None
) -> penalty.Pairs:
    """Returns recorded pairs of one part, padded to some places."""
    names = ("real", "fake", "batch")
    real, fake, event = (arrays[f"pair_{n}_index"].astype(np.int32) for n in names)
    pad = (0, (len(event) if places is None else places) - len(event))
    found = (
        np.pad(real, pad),
        np.pad(fake, pad),
        np.pad(event, pad, constant_values=num_events),
        np.bincount(event, minlength=num_events).astype(np.int32),
        np.arange(num_events, dtype=np.int32),
    )
    return penalty.Pairs(*map(jnp.asarray, found))


def replay_penalty(golden: Golden) -> Outputs:
    """The gradient penalty and its gradient."""
    # which pairs the other settings choose is recorded
    inputs, settings = golden.inputs, settings_of(golden.config, CRITIC, gp_mode="flat")
    params = from_state_dict(golden.params, settings)["critic"]
    conditions = jnp.asarray(inputs["conditions"])[None]
    events = conditions.shape[1]
    ema = score_ema(golden)
    real, fake = (jnp.asarray(inputs[f"{n}_muons"])[None] for n in ("real", "fake"))
    numbers = [
        np.bincount(inputs[f"{name}_batch_index"], minlength=events)
        for name in ("real", "fake")
    ]
    pairs = jax.tree.map(lambda a: jnp.asarray(a)[None], pairs_of(inputs, events))
    outputs: dict[str, Any] = {"n_pairs_before_subsampling": np.minimum(*numbers).sum()}
    if not len(inputs["pair_real_index"]):
        zeros = jax.tree.map(np.zeros_like, params)
        return outputs | _named_penalty(np.float32(0), None, zeros, ema, settings)
    alpha = jnp.asarray(inputs["alpha"])[None, :, 0]
    points = penalty.between(real, fake, alpha, pairs)
    weight = jnp.ones(alpha.shape)

    def mean(params):
        total, norms, looks = critic_step.penalty_value(
            params,
            points,
            pairs,
            conditions,
            weight,
            jnp.float32(events),
            critic_step.looks_of(ema),
            settings,
        )
        return total / norms.size, (norms[0], looks.ema)

    (gp, (norms, ema)), gradient = jax.jit(jax.value_and_grad(mean, has_aux=True))(
        params
    )
    return outputs | _named_penalty(gp, norms, gradient, ema, settings)


def _named_penalty(gp, norms, gradient, ema, settings) -> dict[str, Any]:
    named = to_state_dict({"critic": gradient}, settings)
    outputs = {f"grad/{name}": array for name, array in named.items()}
    if norms is not None:
        outputs["grad_norm"] = norms
    if settings.score_head == EMA_TANH:
        outputs["ema_after"] = ema
    return {"gp": gp, **outputs}


def replay_adaptive(golden: Golden) -> Outputs:
    """Critic steps and weight of the penalty over many batches."""
    config = golden.config
    settings = GanSettings(
        adaptive_critic=True,
        adaptive_mode=config["adaptive_mode"],
        critic_steps=config["critic_steps"],
        critic_steps_min=config["critic_steps_min"],
        critic_steps_max=config["critic_steps"],
        lambda_gp=config["lambda_gp"],
        lambda_gp_min=config["lambda_gp_min"] or 0.0,
        lambda_gp_max=config["lambda_gp_max"] or 0.0,
        w_ma_low=config["w_ma_low"],
        w_ma_high=config["w_ma_high"],
        gp_adapt_factor=config["gp_adapt_factor"],
    )

    def batch(state, gap):
        used = (state["critic_steps"], state["lambda_gp"])
        return adaptive.after_batch(state, gap, settings), used

    gaps = jnp.asarray(golden.inputs["w_gap"], jnp.float32)
    _, (steps, weight) = jax.lax.scan(batch, adaptive.initial(settings), gaps)
    return {"critic_steps": steps, "lambda_gp": weight}


def _generator_outputs(golden: Golden) -> Names:
    predicted = golden.config["counts_mode"] == "predict"
    always = ("counts", "context", "muons", "batch_index")
    return (*always, "multiplicity_log10") if predicted else always


def _critic_outputs(golden: Golden) -> Names:
    kept = golden.config["score_head"] == EMA_TANH
    kinds = ("raw", "score", "ema_after") if kept else ("raw", "score")
    calls = range(golden.config["n_calls"])
    return tuple(f"call/{call}/{kind}" for call in calls for kind in kinds)


def _penalty_outputs(golden: Golden) -> Names:
    names = ["gp", "n_pairs_before_subsampling", "grad/*"]
    if len(golden.inputs["pair_real_index"]):
        names.append("grad_norm")
    if golden.config["score_head"] == EMA_TANH:
        names.append("ema_after")
    return tuple(names)


CASES = {
    "generator_forward": Case(replay_generator, _generator_outputs),
    "critic_forward": Case(replay_critic, _critic_outputs),
    "gradient_penalty": Case(
        replay_penalty, _penalty_outputs, unread={"perm": PERMUTED}
    ),
    "adaptive_critic": Case(replay_adaptive, ("critic_steps", "lambda_gp")),
}
