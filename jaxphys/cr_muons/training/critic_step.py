"""One update of the critic: scores of real and generated events, gradient penalty."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import critic, parts
from jaxphys.cr_muons.model.parts import Muons
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import penalty, turns, updates
from jaxphys.cr_muons.training.penalty import Pairs
from jaxphys.cr_muons.training.turns import Pass, Turn

PyTree = Any
Batch = Mapping[str, jax.Array]


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
    """What critic updates of a batch carry on.

    Attributes:
        params: of the critic.
        opt_state: of its optimizer.
        looks: of the running mean.
        metrics: of the last update: c_loss, w_gap, gp, grad_norm_crit, num_fake,
            overflow.
    """

    params: PyTree
    opt_state: PyTree
    looks: Looks
    metrics: Mapping[str, jax.Array]


METRICS = ("c_loss", "w_gap", "gp", "grad_norm_crit", "num_fake", "overflow")


def gradient(
    state: CriticState,
    turn: Turn,
    number: jax.Array | int,
    batch: Batch,
    gen_params: PyTree,
    head: jax.Array,
    lambda_gp: jax.Array,
    settings: GanSettings,
) -> tuple[PyTree, Looks, dict[str, jax.Array]]:
    """Returns the clipped gradient of the critic's loss, the looks and the metrics.

    Args:
        state: before the update.
        turn: its random numbers.
        number: of the update within the batch, from 0.
        batch: see `jaxphys.cr_muons.training.step`.
        gen_params: of the generator.
        head: output of its multiplicity network, [A, B, 1 or 2].
        lambda_gp: weight of the penalty.
        settings: of the model.
    """
    plan = turns.plan(turn, head, batch, settings)
    slope, found = _scores(state, turn, batch, plan, gen_params, settings)
    loss, looks, fakes = found["loss"], found["looks"], found["fakes"]
    gp = jnp.zeros_like(loss)
    if settings.penalised:
        due = number % settings.gp_every == 0

        def with_penalty(looks):
            return _penalty(
                state.params, looks, turn, batch, plan, fakes, gen_params, settings
            )

        def without(looks):
            zeros = jax.tree.map(jnp.zeros_like, state.params)
            return jnp.zeros_like(loss), zeros, looks

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
        "num_fake": jnp.sum(plan.places.number).astype(jnp.float32),
        "overflow": plan.overflow,
    }
    return slope, looks, metrics


def update(
    state: CriticState,
    found: tuple[PyTree, Looks, dict[str, jax.Array]],
    settings: GanSettings,
    factor: jax.Array | None = None,
) -> CriticState:
    """Takes one optimizer step of the critic.

    Args:
        state: before.
        found: what `gradient` returned.
        settings: of the model.
        factor: of the learning rate, or None.
    """
    slope, looks, metrics = found
    params, opt_state = updates.apply(
        "critic", state.params, slope, state.opt_state, settings, factor
    )
    return CriticState(params, opt_state, looks, metrics)


def _scores(
    state: CriticState,
    turn: Turn,
    batch: Batch,
    plan: turns.Plan,
    gen_params: PyTree,
    settings: GanSettings,
):
    """Returns the gradient of mean(fake) - mean(real), and what comes with it."""
    passes = settings.grad_accum_steps
    head_kind, total = settings.score_head, jnp.maximum(plan.total, 1)

    def one_pass(one: Pass):
        fakes = turns.generated(turn, one, gen_params, settings).muons
        fakes = jax.lax.stop_gradient(fakes)
        conditions, weight = one.batch["conditions"], one.plan.weight

        def loss(params):
            looks = looks_of(state.looks.ema)
            means = []
            for muons in (parts.real_muons(one.batch), fakes):
                raw = parts.raw_scores(params, muons, conditions, settings)
                looks = looks.seen(raw, weight, passes > 1)
                score = critic.score(raw, looks.ema, total, head_kind)
                means.append(jnp.sum(score * weight) / total)
            return means[1] - means[0], looks

        (value, looks), slope = jax.value_and_grad(loss, has_aux=True)(state.params)
        kept = fakes if passes == 1 else None
        return slope, {"loss": value, "looks": looks, "fakes": kept}

    slope, found = turns.sum_passes(one_pass, turns.passes_of(batch, plan, settings))
    if passes > 1:
        found = {**found, "looks": state.looks.plus(found["looks"])}
    return slope, found


def _penalty(
    params: PyTree,
    looks: Looks,
    turn: Turn,
    batch: Batch,
    plan: turns.Plan,
    fakes: Muons | None,
    gen_params: PyTree,
    settings: GanSettings,
):
    """Returns the penalty, its gradient and the looks after it."""
    passes = settings.grad_accum_steps
    pairs, alpha = turns.pairs_of(turn, plan, batch, settings)
    flat = settings.gp_mode == "flat"
    if flat:
        number = jnp.sum(pairs.event < batch["num_muons"].shape[1])
    else:
        number = jnp.sum(pairs.number > 0)
    divisor = jnp.maximum(number, 1).astype(jnp.float32)

    def one_pass(one: Any):  # a Pass with pairs
        muons = fakes
        if muons is None:
            muons = turns.generated(turn, one, gen_params, settings).muons
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
                plan.total,
                looks,
                settings,
            )
            return total / divisor, after

        (found, after), slope = jax.value_and_grad(mean, has_aux=True)(params)
        return found, slope, after

    stacked = turns.passes_of(batch, plan, settings, pairs, alpha)
    found, slope, after = turns.sum_passes(one_pass, stacked)
    if passes > 1:
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
