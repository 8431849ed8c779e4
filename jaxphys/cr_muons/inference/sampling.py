"""Generates muons for any table of conditions, in chunks, with no event cut short.

Numbers of muons are drawn first, then the events are laid out in calls of few static
shapes. What an event gets depends on (seed, row, number of the muon), not on the
chunks.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.cr_muons.model import draws, multiplicity
from jaxphys.cr_muons.model.generator import Generator, MultiplicityNet
from jaxphys.cr_muons.model.parts import rotated
from jaxphys.cr_muons.model.settings import GanSettings

PyTree = Any
MOST_PER_EVENT = 1_000_000  # a law without bound must not fill the memory
_SMALLEST_CALL = 1024


def sample(
    params: PyTree,
    conditions: np.ndarray,
    *,
    settings: GanSettings,
    seed: int = 0,
    num_muons: np.ndarray | None = None,
    max_muons_per_event: int = 0,
    events_per_call: int = 16384,
    muons_per_call: int = 65536,
) -> tuple[np.ndarray, np.ndarray]:
    """Generates all muons of all events.

    Args:
        params: of the generator.
        conditions: [N, C], normalised.
        settings: of the model.
        seed: of all draws.
        num_muons: [N] numbers of muons; None draws or predicts them.
        max_muons_per_event: cap on all of these numbers; 0: none.
        events_per_call: events whose networks run together.
        muons_per_call: places for muons of a call; an event may lie in several.

    Returns:
        Number of muons of each event, [N] int32, and features of all muons in the
        order of the events, [M, K] float32, normalised.

    Raises:
        ValueError: shapes or numbers that do not fit.
    """
    conditions = np.asarray(conditions, np.float32)
    if conditions.ndim != 2 or conditions.shape[1] != settings.cond_dim:
        raise ValueError(
            f"conditions: expected [N, {settings.cond_dim}], got {conditions.shape}"
        )
    counts_key, noise_key = jax.random.split(jax.random.key(seed))
    call = _padded_size(len(conditions), events_per_call)
    if num_muons is None:
        number = _draw_numbers(params, conditions, counts_key, call, settings)
    else:
        number = _checked(num_muons, len(conditions))
    if max_muons_per_event:
        number = np.minimum(number, np.int32(max_muons_per_event))
    features = np.empty((int(number.sum(dtype=np.int64)), settings.feat_dim), "f4")
    ends = np.cumsum(number, dtype=np.int64)
    filled = np.flatnonzero(number)  # an event without muons needs no network
    for start in range(0, len(filled), call):
        rows = filled[start : start + call]
        of_call = number[rows]
        first = int(ends[rows[0]] - number[rows[0]])
        total = int(of_call.sum(dtype=np.int64))
        of_event = _event_arrays(conditions, of_call, rows, call)
        context = _contexts(params, *of_event, noise_key, settings)
        places = _padded_size(total, muons_per_call)
        event = np.repeat(np.arange(len(rows), dtype=np.int32), of_call)
        begin = np.cumsum(of_call, dtype=np.int64) - of_call
        within = np.arange(total, dtype=np.int64) - np.repeat(begin, of_call)
        for low in range(0, total, places):
            high = min(low + places, total)
            pad = (0, places - (high - low))
            found = _features(
                params,
                context,
                of_event[2],
                np.pad(event[low:high], pad),
                np.pad(within[low:high].astype(np.int32), pad),
                noise_key,
                settings,
            )
            features[first + low : first + high] = np.asarray(found)[: high - low]
    return number, features


def _padded_size(needed: int, most: int) -> int:
    """Returns a power of two times 1024 that holds what is needed, at most `most`."""
    size = _SMALLEST_CALL
    while size < min(needed, most):
        size *= 2
    return min(size, most)


def _checked(num_muons, events):
    number = np.asarray(num_muons)
    if number.shape != (events,) or number.dtype.kind not in "iu" or (number < 0).any():
        raise ValueError(
            f"num_muons: expected {events} integers from 0, got {number.dtype} "
            f"{number.shape}"
        )
    return number.astype(np.int32)


def _event_arrays(conditions, number, rows, call):
    """Returns conditions, numbers of muons and rows of a call, padded."""
    pad = call - len(rows)
    return (
        np.pad(conditions[rows], ((0, pad), (0, 0))),
        np.pad(number, (0, pad)),
        np.pad(rows.astype(np.int32), (0, pad)),
    )


def _draw_numbers(params, conditions, key, call, settings):
    found = [np.zeros(0, np.int32)]
    for i, start in enumerate(range(0, len(conditions), call)):
        chunk = conditions[start : start + call]
        padded = np.pad(chunk, ((0, call - len(chunk)), (0, 0)))
        number = _numbers(params, padded, jax.random.fold_in(key, i), settings)
        found.append(np.asarray(number)[: len(chunk)])
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnames="settings")
def _numbers(params, conditions, key, settings):
    net = {"params": params["multiplicity_net"]}
    head: Any = MultiplicityNet(settings).apply(net, conditions)
    if settings.multiplicity == "negative_binomial":
        return multiplicity.draw_counts(key, head, MOST_PER_EVENT)
    return multiplicity.rounded_counts(head[:, 0], MOST_PER_EVENT)


@functools.partial(jax.jit, static_argnames="settings")
def _contexts(params, conditions, number, rows, key, settings):
    """Returns the context of every event, [B, H]."""
    log_count = multiplicity.log_count_of(number)
    if settings.multiplicity == "deterministic":
        # a prediction enters as it is, before it is rounded, unless it was overruled
        head: Any = MultiplicityNet(settings).apply(
            {"params": params["multiplicity_net"]}, conditions
        )
        predicted = multiplicity.rounded_counts(head[:, 0], MOST_PER_EVENT)
        log_count = jnp.where(predicted == number, head[:, 0], log_count)
    width = settings.latent_dim_global
    bits = draws.muon_bits(
        jax.random.fold_in(key, draws.Z_GLOBAL), rows, jnp.zeros_like(rows), width
    )
    return Generator(settings).apply(
        {"params": params},
        conditions,
        log_count,
        draws.normal_of(bits),
        method="context",
    )


@functools.partial(jax.jit, static_argnames="settings")
def _features(params, context, rows, event, within, key, settings):
    """Returns the features of the muons of a call, [F, K]."""
    slot = rows[event]
    width = settings.latent_dim_local
    bits = draws.muon_bits(jax.random.fold_in(key, draws.Z_LOCAL), slot, within, width)
    features: Any = Generator(settings).apply(
        {"params": params}, context, draws.normal_of(bits), event, method="local"
    )
    if settings.rotate_output:
        words = draws.muon_bits(jax.random.fold_in(key, draws.ANGLE), slot, within, 1)
        features = rotated(features, draws.uniform_of(words[:, 0]))
    return features
