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
from jaxphys.equivalence.golden import Golden

Outputs = Mapping[str, Any]
_SETTINGS = (
    "cond_dim",
    "feat_dim",
    "latent_dim_global",
    "latent_dim_local",
    "hidden_dim",
    "score_head",
    "critic_pooling",
    "train_recipe",
    "optimizer",
    "lr",
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


def settings_of(config: Mapping[str, Any], **changes: Any) -> GanSettings:
    """Returns the settings that a file's config names; the rest are the defaults."""
    found = {name: config[name] for name in _SETTINGS if config.get(name) is not None}
    return GanSettings(**{"max_fake_per_event": 1_000_000, **found, **changes})


def replay_generator(golden: Golden) -> Outputs:
    """The generator on given noise, with predicted or given numbers of muons."""
    inputs, settings = golden.inputs, settings_of(golden.config)
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


def muons_of(arrays: Mapping[str, Any], num_events: int, prefix: str = "") -> Any:
    """Returns the muons of a recorded batch as one part."""
    event = np.asarray(arrays[f"{prefix}batch_index"], np.int32)
    number = np.bincount(event, minlength=num_events).astype(np.int32)
    features = jnp.asarray(arrays[f"{prefix}muons"])
    return parts.Muons(
        features[None], jnp.asarray(event)[None], jnp.asarray(number)[None]
    )


def replay_critic(golden: Golden) -> Outputs:
    """Calls of the critic, one after the other."""
    config, settings = golden.config, settings_of(golden.config)
    params = from_state_dict(golden.params, settings)["critic"]
    ema = jnp.asarray(golden.params.get(EMA_NAME, np.float32(1)))
    outputs = {}

    @jax.jit
    def call_critic(params, ema, muons, conditions) -> Any:
        raw = parts.raw_scores(params, muons, conditions, settings)
        total = jnp.float32(conditions.shape[1])
        ema = critic.updated_ema(ema, raw, jnp.ones_like(raw), total)
        return raw, ema, critic.score(raw, ema, total, settings.score_head)

    for call in range(config["n_calls"]):
        name = f"call/{call}"
        names = ("muons", "batch_index", "conditions")
        arrays = {n: golden.inputs[f"{name}/{n}"] for n in names}
        conditions = jnp.asarray(arrays["conditions"])[None]
        events = conditions.shape[1]
        muons = muons_of(arrays, events)
        raw, ema, score = call_critic(params, ema, muons, conditions)
        outputs[f"{name}/raw"] = raw[0, :, None]
        outputs[f"{name}/score"] = score[0, :, None]
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
    inputs, settings = golden.inputs, settings_of(golden.config, gp_mode="flat")
    params = from_state_dict(golden.params, settings)["critic"]
    conditions = jnp.asarray(inputs["conditions"])[None]
    events = conditions.shape[1]
    ema = jnp.asarray(golden.params.get(EMA_NAME, np.float32(1)))
    numbers = [
        np.bincount(inputs[f"{name}_batch_index"], minlength=events)
        for name in ("real", "fake")
    ]
    outputs: dict[str, Any] = {"n_pairs_before_subsampling": np.minimum(*numbers).sum()}
    if not len(inputs["pair_real_index"]):
        zeros = jax.tree.map(np.zeros_like, params)
        return outputs | _named_penalty(np.float32(0), [], zeros, ema, settings)
    pairs = jax.tree.map(lambda a: jnp.asarray(a)[None], pairs_of(inputs, events))
    real, fake = (jnp.asarray(inputs[f"{n}_muons"])[None] for n in ("real", "fake"))
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
    return {
        "gp": gp,
        "grad_norm": norms,
        "ema_after": ema,
        **{f"grad/{name}": array for name, array in named.items()},
    }


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


CASES = {
    "generator_forward": replay_generator,
    "critic_forward": replay_critic,
    "gradient_penalty": replay_penalty,
    "adaptive_critic": replay_adaptive,
}
