"""A critic step: scores of real and generated events, gradient penalty, one update."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxphys.cr_muons.model import critic, parts
from jaxphys.cr_muons.model.parts import Muons
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import passes, penalty, updates
from jaxphys.cr_muons.training.latents import Latents
from jaxphys.cr_muons.training.passes import Pass
from jaxphys.cr_muons.training.penalty import Pairs

PyTree = Any
Batch = Mapping[str, jax.Array]
PairsOf = Callable[[], tuple[Pairs, jax.Array]]


class Looks(NamedTuple):
    """The running mean of |raw| and what has been seen since it was last changed.

    With several passes per step the mean stays as it is during the step.

    Attributes:
        ema: the running mean.
        total: sum of |raw| of events seen while it was kept.
        weight: their number.
    """

    ema: jax.Array
    total: jax.Array
    weight: jax.Array

    def seen(self, raw: jax.Array, weight: jax.Array, kept: bool) -> "Looks":
        """Returns what it is after a look at raw scores [D, B]."""
        number = jnp.sum(weight)
        if not kept:
            ema = critic.updated_ema(self.ema, raw, weight, number)
            return self._replace(ema=ema)
        raw = jax.lax.stop_gradient(raw)
        total = self.total + jnp.sum(jnp.abs(raw) * weight)
        return self._replace(total=total, weight=self.weight + number)

    def plus(self, other: "Looks") -> "Looks":
        """Returns these looks and those of some passes, the mean as it is."""
        total, weight = self.total + other.total, self.weight + other.weight
        return self._replace(total=total, weight=weight)

    def folded(self) -> "Looks":
        """Returns what it is when a step is over."""
        mean = self.total / jnp.maximum(self.weight, 1)
        new = critic.EMA_DECAY * self.ema + (1 - critic.EMA_DECAY) * mean
        zero = jnp.zeros_like(self.total)
        return Looks(jnp.where(self.weight > 0, new, self.ema), zero, zero)


def looks_of(ema: jax.Array) -> Looks:
    """Returns the looks of a step that begins."""
    return Looks(ema, jnp.zeros_like(ema), jnp.zeros_like(ema))


class CriticState(NamedTuple):
    """What the critic steps of a batch carry on.

    Attributes:
        params: of the critic.
        opt_state: of its optimizer.
        looks: of the running mean.
        metrics: of the last step: c_loss, w_gap, gp, grad_norm_crit, num_fake,
            overflow.
    """

    params: PyTree
    opt_state: PyTree
    looks: Looks
    metrics: Mapping[str, jax.Array]


METRICS = ("c_loss", "w_gap", "gp", "grad_norm_crit", "num_fake", "overflow")


def begin(params: PyTree, opt_state: PyTree, ema: jax.Array) -> CriticState:
    """Returns the state of the critic before its first step in a batch."""
    zeros = {str(name): jnp.zeros(()) for name in METRICS}
    return CriticState(params, opt_state, looks_of(ema), zeros)


def gradient(
    state: CriticState,
    number: jax.Array | int,
    latents: Latents,
    pairs_of: PairsOf,
    batch: Batch,
    gen_params: PyTree,
    lambda_gp: jax.Array | float,
    settings: GanSettings,
) -> tuple[PyTree, Looks, dict[str, jax.Array]]:
    """Returns the clipped gradient of the critic's loss, the looks and the metrics.

    Args:
        state: before the step.
        number: of the step within the batch, from 0.
        latents: of its generated events.
        pairs_of: returns the pairs of the penalty and alpha [A, B]; what it computes
            is computed in steps with a penalty only.
        batch: see `jaxphys.cr_muons.training.step`.
        gen_params: of the generator.
        lambda_gp: weight of the penalty.
        settings: of the model.
    """
    slope, found = _scores(state, latents, batch, gen_params, settings)
    loss, looks, fakes = found["loss"], found["looks"], found["fakes"]
    gp = jnp.zeros_like(loss)
    if settings.penalised:

        def with_penalty(looks):
            return _penalty(
                state.params,
                looks,
                latents,
                pairs_of(),
                batch,
                fakes,
                gen_params,
                settings,
            )

        def without(looks):
            zeros = jax.tree.map(jnp.zeros_like, state.params)
            return jnp.zeros_like(loss), zeros, looks

        due = number % settings.gp_every == 0
        if isinstance(due, bool):
            gp, more, looks = (with_penalty if due else without)(looks)
        else:
            gp, more, looks = jax.lax.cond(due, with_penalty, without, looks)
        slope = jax.tree.map(lambda g, p: g + lambda_gp * p, slope, more)
    slope, norm = updates.clipped(slope, settings.grad_clip_norm)
    metrics = {
        "c_loss": loss + lambda_gp * gp,
        "w_gap": -loss,
        "gp": gp,
        "grad_norm_crit": norm,
        "num_fake": jnp.sum(latents.plan.places.number).astype(jnp.float32),
        "overflow": latents.plan.overflow,
    }
    return slope, looks, metrics


def update(
    state: CriticState,
    found: tuple[PyTree, Looks, dict[str, jax.Array]],
    optimizer: optax.GradientTransformation,
    factor: jax.Array | None = None,
) -> CriticState:
    """Takes one optimizer step of the critic.

    Args:
        state: before.
        found: what `gradient` returned.
        optimizer: of the critic.
        factor: of the learning rate, or None.
    """
    slope, looks, metrics = found
    params, opt_state = updates.apply(
        optimizer, state.params, slope, state.opt_state, factor
    )
    return CriticState(params, opt_state, looks, metrics)


def _scores(
    state: CriticState,
    latents: Latents,
    batch: Batch,
    gen_params: PyTree,
    settings: GanSettings,
):
    """Returns the gradient of mean(fake) - mean(real), and what comes with it."""
    several = settings.grad_accum_steps > 1
    head_kind, total = settings.score_head, jnp.maximum(latents.plan.total, 1)

    def one_pass(one: Pass):
        fakes = jax.lax.stop_gradient(passes.generated(one, gen_params, settings))
        conditions, weight = one.batch["conditions"], one.plan.weight

        def loss(params):
            looks = looks_of(state.looks.ema)
            means = []
            for muons in (parts.real_muons(one.batch), fakes):
                raw = parts.raw_scores(params, muons, conditions, settings)
                looks = looks.seen(raw, weight, several)
                score = critic.score(raw, looks.ema, total, head_kind)
                means.append(jnp.sum(score * weight) / total)
            return means[1] - means[0], looks

        (value, looks), slope = jax.value_and_grad(loss, has_aux=True)(state.params)
        kept = None if several else fakes
        return slope, {"loss": value, "looks": looks, "fakes": kept}

    stacked = passes.passes_of(batch, latents, settings)
    slope, found = passes.sum_passes(one_pass, stacked)
    if several:
        found = {**found, "looks": state.looks.plus(found["looks"])}
    return slope, found


def _penalty(
    params: PyTree,
    looks: Looks,
    latents: Latents,
    drawn: tuple[Pairs, jax.Array],
    batch: Batch,
    fakes: Muons | None,
    gen_params: PyTree,
    settings: GanSettings,
):
    """Returns the penalty, its gradient and the looks after it."""
    pairs, alpha = drawn
    flat = settings.gp_mode == "flat"
    if flat:
        number = jnp.sum(pairs.event < batch["num_muons"].shape[1])
    else:
        number = jnp.sum(pairs.number > 0)
    divisor = jnp.maximum(number, 1).astype(jnp.float32)

    def one_pass(one: Any):  # a Pass with pairs
        muons = fakes
        if muons is None:
            muons = passes.generated(one, gen_params, settings)
        points = penalty.between(
            one.batch["features"], muons.features, one.alpha, one.pairs
        )

        def mean(params):
            total, _, after = penalty_value(
                params,
                points,
                one.pairs,
                one.batch["conditions"],
                one.plan.weight,
                latents.plan.total,
                looks,
                settings,
            )
            return total / divisor, after

        (found, after), slope = jax.value_and_grad(mean, has_aux=True)(params)
        return found, slope, after

    stacked = passes.passes_of(batch, latents, settings, pairs, alpha)
    found, slope, after = passes.sum_passes(one_pass, stacked)
    if settings.grad_accum_steps > 1:
        return found, slope, looks
    # without a pair the critic of the original is not called
    after = jax.tree.map(lambda a, b: jnp.where(number > 0, a, b), after, looks)
    return found, slope, after


def penalty_value(
    params: PyTree,
    points: jax.Array,
    pairs: Pairs,
    conditions: jax.Array,
    weight: jax.Array,
    num_events: jax.Array,
    looks: Looks,
    settings: GanSettings,
) -> tuple[jax.Array, jax.Array, Looks]:
    """Returns the sum of (norm - 1)^2, the norms, and the looks after it.

    Args:
        params: of the critic.
        points: [D, P, K] between real and generated muons.
        pairs: [D, P] each.
        conditions: [D, B, C].
        weight: [D, B] of the events in the running mean of |raw|.
        num_events: that are scored together, of all passes.
        looks: of the running mean; mode "flat" adds one.
        settings: of the model.
    """
    rows = parts.over_parts(lambda c, row: c[row], conditions, pairs.row)

    def total(points):
        muons = Muons(points, pairs.event, pairs.number)
        raw = parts.raw_scores(params, muons, rows, settings)
        if settings.gp_mode == "event":
            return jnp.sum(raw), looks
        after = looks.seen(raw, weight, settings.grad_accum_steps > 1)
        scored = critic.score(raw, after.ema, num_events, settings.score_head)
        return jnp.sum(scored), after

    slope, after = jax.grad(total, has_aux=True)(points)
    if settings.gp_mode == "event":
        found, _, norms = penalty.event_penalty(slope, pairs, settings.gp_metric)
    else:
        found, _, norms = penalty.flat_penalty(slope, pairs)
    return found, norms, after
