"""Gradient penalties: between real and generated muons the critic has slope 1.

A pair is a real and a generated muon of one event; the critic is scored on points
between both, alpha of the way, where alpha is drawn per event.

Reference: Gulrajani et al., https://arxiv.org/abs/1704.00028, equation 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model.generator import place

NORM_MOST = 10.0
_GUARD = 1e-12
# primes beyond any number of muons: each is a step through all of them
_STRIDES = (32771, 40009, 49999, 65537)
_STRIDE_MOST = 32768


class Pairs(NamedTuple):
    """Pairs of muons of a part.

    Attributes:
        real: [P] int32, places of the real muons.
        fake: [P] int32, places of the generated ones.
        event: [P] int32, row of the event; the number of rows in empty places.
        number: [E] int32, pairs of each row.
        row: [E] int32, event that a row stands for.
    """

    real: jax.Array
    fake: jax.Array
    event: jax.Array
    number: jax.Array
    row: jax.Array


def _starts(number: jax.Array) -> jax.Array:
    return jnp.cumsum(number) - number


def flat_pairs(
    bits: jax.Array | None,
    num_real: jax.Array,
    num_fake: jax.Array,
    slots: int,
    most: int,
    fraction: float,
) -> Pairs:
    """Pairs the j-th real with the j-th generated muon of each event.

    Args:
        bits: [slots] uint32, random, for the choice where not all are taken.
        num_real: [B] int32.
        num_fake: [B] int32.
        slots: no part can have more pairs.
        most: pairs that are taken at most; 0: all.
        fraction: part that is taken, if within (0, 1).

    Returns:
        Pairs whose rows are the events.
    """
    num_events = num_real.shape[0]
    places = place(jnp.minimum(num_real, num_fake), slots)
    event, within = places.event, places.within
    partial = 0 < fraction < 1
    if (most and most < slots) or partial:
        if bits is None:
            raise ValueError("bits: expected some to choose pairs, got None")
        total = jnp.sum(places.number)
        target = jnp.minimum(total, most or slots)
        if partial:
            share = jnp.floor(total * jnp.float32(fraction)).astype(jnp.int32)
            target = jnp.minimum(target, jnp.maximum(share, 1))
        chosen = _random_subset(bits, event < num_events, target)
        budget = min(most or slots, slots)
        taken = jnp.nonzero(chosen, size=budget, fill_value=slots)[0]
        event = jnp.append(event, num_events)[taken]
        within = jnp.append(within, 0)[taken]
    inside = jnp.minimum(event, num_events - 1)
    ones = (event < num_events).astype(jnp.int32)
    number = jnp.zeros(num_events + 1, jnp.int32).at[event].add(ones)[:-1]
    return Pairs(
        _starts(num_real)[inside] + within,
        _starts(num_fake)[inside] + within,
        event,
        number,
        jnp.arange(num_events, dtype=jnp.int32),
    )


def _random_subset(bits: jax.Array, real: jax.Array, target: jax.Array) -> jax.Array:
    """Returns a mask of `target` entries of those that are real."""
    rank = jnp.where(real, bits >> 1, jnp.uint32(0xFFFFFFFF))
    last = jnp.sort(rank)[jnp.maximum(target - 1, 0)]
    return real & (rank <= last) & (target > 0)


def event_pairs(
    bits: jax.Array,
    num_real: jax.Array,
    num_fake: jax.Array,
    slots: int,
    most: int,
) -> Pairs:
    """Pairs all real muons of random events with random generated ones.

    Whole events are taken, in random order, until their pairs fill the budget; in an
    event the real muons are walked through in a random step from a random start.
    The generated ones are alike, in any order.

    Args:
        bits: [B, 3] uint32, random, for the choices.
        num_real: [B] int32.
        num_fake: [B] int32.
        slots: no part can have more pairs.
        most: pairs that are taken at most; 0: all.

    Returns:
        Pairs whose rows are the events that were taken, at most B.
    """
    num_events = num_real.shape[0]
    budget = min(most or slots, slots)
    k = jnp.minimum(jnp.minimum(num_real, num_fake), budget)
    rows = min(num_events, budget)
    if budget < slots or rows < num_events:
        rank = jnp.where(k > 0, bits[:, 0] >> 1, jnp.uint32(0xFFFFFFFF))
        row = jnp.argsort(rank)[:rows].astype(jnp.int32)
    else:
        row = jnp.arange(num_events, dtype=jnp.int32)
    places = place(k[row], budget)
    inside = jnp.minimum(places.event, rows - 1)
    of_real = jnp.maximum(num_real[row], 1)
    drawn = (bits[:, 1:] >> 2).astype(jnp.int32)[row]  # [E, 2], below 2^30
    start, choice = drawn[:, 0] % of_real, drawn[:, 1] % len(_STRIDES)
    stride = jnp.asarray(_STRIDES, jnp.int32)[choice] % of_real
    stride = jnp.where(of_real < _STRIDE_MOST, stride, 1)
    # below 2^30 + 2^15 for fewer than 2^15 muons
    step = (places.within * stride[inside] + start[inside]) % of_real[inside]
    return Pairs(
        _starts(num_real)[row][inside] + step,
        _starts(num_fake)[row][inside] + places.within,
        places.event,
        places.number,
        row,
    )


def between(
    real: jax.Array, fake: jax.Array, alpha: jax.Array, pairs: Pairs
) -> jax.Array:
    """Returns the points between, [D, P, K]; a real muon where there is no pair."""

    def part(real, fake, alpha, pairs):
        last = pairs.row.shape[0] - 1
        of_pair = alpha[pairs.row][jnp.minimum(pairs.event, last)][:, None]
        one = jnp.take(real, pairs.real, axis=0, mode="clip")
        other = jnp.take(fake, pairs.fake, axis=0, mode="clip")
        return of_pair * one + (1 - of_pair) * other

    return jax.vmap(part)(real, fake, alpha, pairs)


def guarded_root(square: jax.Array) -> jax.Array:
    """Returns the root, with 0 and not an infinity as its slope at 0."""
    there = square > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 1)), 0)


def flat_penalty(
    gradient: jax.Array, pairs: Pairs
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the sum of (norm - 1)^2 over pairs, their number, and the norms.

    Args:
        gradient: [D, P, K], of the sum of all scores.
        pairs: [D, P] each.
    """
    norm = guarded_root(jnp.sum(gradient * gradient, axis=-1))  # [D, P]
    clean = jnp.where(jnp.isnan(norm), 0, jnp.minimum(norm, NORM_MOST))
    real = pairs.event < pairs.row.shape[-1]
    total = jnp.sum(jnp.where(real, (clean - 1) ** 2, 0))
    return total, jnp.sum(real.astype(total.dtype)), norm


def event_penalty(
    gradient: jax.Array, pairs: Pairs, metric: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the sum of (norm - 1)^2 over events, their number, and the norms.

    The norm of an event is that of the gradient of its raw score with respect to all
    coordinates of its pairs.

    Args:
        gradient: [D, P, K], of the sum of all raw scores.
        pairs: [D, P] each.
        metric: "l2", or "rms", which divides by the root of the number of pairs.
    """
    square = jnp.sum(gradient * gradient, axis=-1)  # [D, P]

    def per_event(square, pairs):
        total = jnp.zeros(pairs.row.shape[0] + 1, square.dtype)
        return total.at[pairs.event].add(square, mode="promise_in_bounds")[:-1]

    square = jax.vmap(per_event)(square, pairs)  # [D, E]
    if metric == "rms":
        square = square / jnp.maximum(pairs.number, 1)
    norm = jnp.sqrt(square + _GUARD)
    real = pairs.number > 0
    total = jnp.sum(jnp.where(real, (norm - 1) ** 2, 0))
    return total, jnp.sum(real.astype(total.dtype)), norm
