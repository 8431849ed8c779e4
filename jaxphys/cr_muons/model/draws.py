"""Random numbers that depend on the event and the muon, not on where they are made.

Noise of a muon is keyed by (key, slot of its event in the global batch, number of the
muon in the event). So neither the budget of places nor the cut of a batch into parts
changes what a muon gets.
"""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

# what a draw is for; folded into the key of a step
COUNTS, Z_GLOBAL, Z_LOCAL, ALPHA, PAIRS, ANGLE = range(6)
stopped = jax.lax.stop_gradient


def muon_bits(
    key: jax.Array, slot: jax.Array, within: jax.Array, words: int
) -> jax.Array:
    """Returns random uint32 words of muons, [F, W].

    Args:
        key: of the draw.
        slot: [F] int32, event in the global batch.
        within: [F] int32, muon in the event.
        words: W per muon.
    """
    blocks = -(-words // 2)
    pair = jax.random.bits(key, (2,), jnp.uint32)
    block = jnp.arange(blocks, dtype=jnp.uint32)
    second = within.astype(jnp.uint32)[:, None] * blocks + block[None]  # [F, blocks]
    first = jnp.broadcast_to(slot.astype(jnp.uint32)[:, None], second.shape)
    counter = jnp.concatenate([first.reshape(-1), second.reshape(-1)])
    found = threefry_2x32(pair, counter).reshape(2, *second.shape)
    return jnp.concatenate([found[0], found[1]], axis=1)[:, :words]


def uniform_of(bits: jax.Array) -> jax.Array:
    """Returns numbers in [0, 1), multiples of 2^-23."""
    mantissa = (bits >> 9) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1


def normal_of(bits: jax.Array) -> jax.Array:
    """Returns normal numbers of mean 0 and variance 1."""
    # symmetric and never at the ends, where the inverse is infinite
    centred = 2 * uniform_of(bits) - (1 - 2.0**-23)
    return jnp.sqrt(2.0).astype(jnp.float32) * jax.lax.erf_inv(centred)


def event_normal(key: jax.Array, slots: jax.Array, width: int) -> jax.Array:
    """Returns normal noise of events, [D, B, W], for their slots [D, B]."""
    return normal_of(_event_bits(key, slots, width))


def event_uniform(key: jax.Array, slots: jax.Array) -> jax.Array:
    """Returns a number in [0, 1) for every event, [D, B], for their slots [D, B]."""
    return uniform_of(_event_bits(key, slots, 1)[..., 0])


def _event_bits(key: jax.Array, slots: jax.Array, words: int) -> jax.Array:
    """Returns random uint32 words of events, [D, B, W].

    They follow from the slot and not from the place in the array: a pass over some
    parts of a batch draws what a pass over all of them draws.
    """
    slot = slots.reshape(-1)
    bits = muon_bits(key, slot, jnp.zeros_like(slot), words)
    return bits.reshape(*slots.shape, words)
