"""How many muons an event has: a rounded prediction, or a negative binomial law."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxphys.cr_muons.model.settings import GanSettings

# bounds within which the law is evaluated; gradients vanish outside
_LOG_MEAN = (-16.0, 12.0)
_LOG_SHAPE = (-7.0, 9.0)
LOG10 = math.log(10.0)


def head_bias(settings: GanSettings) -> tuple[float, ...]:
    """Returns the last bias to begin with: two muons, or a mean of 1 and a shape of e.

    The original sets 0.5: 10^0.5 - 1 = 2.16 muons in every event.
    """
    return (0.5,) if settings.multiplicity == "deterministic" else (0.0, 1.0)


def rounded_counts(log_count: jax.Array, most: int) -> jax.Array:
    """Returns round(10^l - 1), half to even, at least 0 and at most `most`, int32.

    Args:
        log_count: predicted log10(N + 1), any shape; what is not finite counts as 0.
        most: largest number of muons, applied before the power so that it is finite.
    """
    clean = finite_or_zero(log_count)
    clean = jnp.minimum(clean, math.log10(most + 1.0))
    number = jnp.round(jnp.maximum(jnp.power(10.0, clean) - 1, 0))
    return jnp.minimum(number, most).astype(jnp.int32)


def finite_or_zero(x: jax.Array) -> jax.Array:
    """Returns x, with 0 for infinities and NaN (and no gradient there)."""
    return jnp.where(jnp.isfinite(x), x, 0)


def log_count_of(number: jax.Array) -> jax.Array:
    """Returns log10(N + 1) as the networks see it."""
    return jnp.log10(number.astype(jnp.float32) + 1)


def law(head: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the logarithms of mean and shape, both [...], from a head [..., 2].

    The variance is mean + mean^2 / shape.
    """
    head = finite_or_zero(head)
    return jnp.clip(head[..., 0], *_LOG_MEAN), jnp.clip(head[..., 1], *_LOG_SHAPE)


def negative_log_likelihood(head: jax.Array, number: jax.Array) -> jax.Array:
    """Returns -log P(N) of the negative binomial law, [...].

    Args:
        head: [..., 2], see `law`.
        number: [...] int32.
    """
    log_mean, log_shape = law(head)
    shape, n = jnp.exp(log_shape), number.astype(jnp.float32)
    difference = log_mean - log_shape
    log_choose = gammaln(n + shape) - gammaln(shape) - gammaln(n + 1)
    return -(
        log_choose
        - shape * jax.nn.softplus(difference)
        - n * jax.nn.softplus(-difference)
    )


def draw_counts(key: jax.Array, head: jax.Array, most: int) -> jax.Array:
    """Draws N from the law, int32 [...], at most `most`: a Poisson of a gamma.

    Args:
        key: of this draw.
        head: [..., 2], see `law`.
        most: upper bound.
    """
    gamma_key, poisson_key = jax.random.split(key)
    log_mean, log_shape = law(head)
    # flat, so that the cut into parts does not matter
    log_mean, log_shape = log_mean.reshape(-1), log_shape.reshape(-1)
    drawn = jax.random.loggamma(gamma_key, jnp.exp(log_shape))
    rate = jnp.exp(jnp.minimum(drawn - log_shape + log_mean, math.log(2.0 * most)))
    number = jax.random.poisson(poisson_key, rate)
    return jnp.clip(number, 0, most).astype(jnp.int32).reshape(head.shape[:-1])


def loss(head: jax.Array, number: jax.Array, settings: GanSettings) -> jax.Array:
    """Returns the loss of each event, [...].

    Args:
        head: [..., 1] or [..., 2], output of the multiplicity network.
        number: [...] int32, true numbers of muons.
        settings: of the model.
    """
    if settings.multiplicity == "negative_binomial":
        return negative_log_likelihood(head, number)
    return (head[..., 0] - log_count_of(number)) ** 2
