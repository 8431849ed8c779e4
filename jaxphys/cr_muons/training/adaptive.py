"""Holds the critic back or lets it loose, by the gap of its mean scores."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model.settings import GanSettings

WINDOW = 500
FACTOR_DOWN = 0.9
State = Mapping[str, jax.Array]


def initial(settings: GanSettings) -> dict[str, jax.Array]:
    """Returns the adaptive scalars of step 0 and an empty window of gaps."""
    return {
        "critic_steps": jnp.int32(most_critic_steps(settings)),
        "lambda_gp": jnp.float32(settings.lambda_gp),
        "w_gap_window": jnp.zeros(WINDOW, jnp.float32),
        "w_gap_count": jnp.int32(0),
    }


def most_critic_steps(settings: GanSettings) -> int:
    """Returns the number of critic updates to begin with; it only falls."""
    if settings.adaptive_critic:
        return min(settings.critic_steps, settings.critic_steps_max)
    return settings.critic_steps


def after_batch(
    state: State, w_gap: jax.Array, settings: GanSettings
) -> dict[str, jax.Array]:
    """Returns the scalars for the next batch.

    Args:
        state: see `initial`.
        w_gap: mean score of the real minus that of the generated events.
        settings: thresholds and bounds.
    """
    count = state["w_gap_count"] + 1
    window = state["w_gap_window"].at[(count - 1) % WINDOW].set(w_gap)
    new = {**state, "w_gap_window": window, "w_gap_count": count}
    if not settings.adaptive_critic:
        return new
    mean = jnp.sum(window) / jnp.minimum(count, WINDOW)
    steps, weight = state["critic_steps"], state["lambda_gp"]
    due = count % settings.adaptive_interval == 0
    low = due & (mean < settings.w_ma_low)
    fewer = jnp.maximum(steps - 1, settings.critic_steps_min)
    most = settings.lambda_gp_max or weight
    heavier = jnp.minimum(most, weight * settings.gp_adapt_factor)
    new["critic_steps"] = jnp.where(low, fewer, steps).astype(jnp.int32)
    new["lambda_gp"] = jnp.where(low, heavier, weight)
    if settings.adaptive_mode == "two_sided":
        high = due & ~low & (mean > settings.w_ma_high)
        lighter = jnp.maximum(settings.lambda_gp_min or 1.0, weight * FACTOR_DOWN)
        new["lambda_gp"] = jnp.where(high, lighter, new["lambda_gp"])
    return new
