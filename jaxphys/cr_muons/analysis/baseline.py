"""A regression baseline: what a generator has to be better than.

The number of muons is negative binomial with mean and fluctuation from a network, lg E
and lg r of a muon are normal with mean and width from another. No muon knows of the
others and no distribution has a shape of its own.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import gammaln

from jaxphys.cr_muons.analysis.metrics import log_energy, radius
from jaxphys.cr_muons.physics.events import Events, make_events
from jaxphys.cr_muons.physics.normalise import normalise_conditions
from jaxphys.nn.mlp import MLP

_COUNTS = MLP((64, 64, 2), "silu")  # log of mean and of k
_MUONS = MLP((64, 64, 4), "silu")  # means and log widths of lg E and lg r
_LIMITS = {"mean": (-12.0, 9.0), "k": (-4.0, 9.0), "width": (-5.0, 2.0)}
_BATCH, _RATE = 4096, 3e-3
_MIN_RADIUS_M = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted regression of bundles.

    Attributes:
        params: {"counts", "muons"} weights.
        centre: [4] mean of the normalised conditions.
        spread: [4] their standard deviation.
        losses: [steps, 2] negative log likelihoods of an event and of a muon.
    """

    params: Any
    centre: np.ndarray
    spread: np.ndarray
    losses: np.ndarray

    def moments(self, primaries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean number of muons [N] and k [N] of its fluctuation."""
        found = np.asarray(self._apply(_COUNTS, "counts", primaries), np.float64)
        mean, k = (
            np.exp(np.clip(found[:, i], *_LIMITS[name]))
            for i, name in enumerate(("mean", "k"))
        )
        return mean, k

    def sample(self, primaries: np.ndarray, seed: int = 0) -> Events:
        """Generates one event for each row.

        Args:
            primaries: [N, 4] energy GeV, zenith rad, mass GeV, depth m.
            seed: Of the random numbers.
        """
        random = np.random.default_rng([seed, 4])
        mean, k = self.moments(primaries)
        num_muons = random.poisson(random.gamma(k, mean / k))
        values = np.asarray(self._apply(_MUONS, "muons", primaries), np.float64)
        values = np.repeat(values, num_muons, axis=0)
        width = np.exp(np.clip(values[:, 2:], *_LIMITS["width"]))
        drawn = values[:, :2] + width * random.standard_normal(width.shape)
        angle = random.uniform(0, 2 * np.pi, len(drawn))
        energy, distance = 10.0 ** np.clip(drawn, -6.0, 9.0).T
        muons = np.stack(
            [energy, distance * np.cos(angle), distance * np.sin(angle)], axis=1
        )
        return make_events(primaries, num_muons, muons)

    def _apply(self, network, name, primaries):
        conditions = normalise_conditions(np.asarray(primaries, np.float32))
        scaled = ((conditions - self.centre) / self.spread).astype(np.float32)
        return _forward(network, self.params[name], scaled)


@functools.partial(jax.jit, static_argnums=0)
def _forward(network, params, inputs):
    return network.apply({"params": params}, inputs)


def fit_baseline(events: Events, steps: int = 2000, seed: int = 0) -> Baseline:
    """Fits the regression by maximum likelihood.

    Args:
        events: Of all kinds, those without muons too.
        steps: Updates with 4096 events and 4096 muons each.
        seed: Of the weights and the order.

    Raises:
        ValueError: If there are no events or no muons.
    """
    if not len(events) or not len(events.muons):
        raise ValueError(
            f"fit_baseline: expected events with muons, got {len(events)} events with "
            f"{len(events.muons)} muons"
        )
    conditions = normalise_conditions(events.primaries)
    centre = conditions.mean(0, dtype=np.float64)
    spread = conditions.std(0, dtype=np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)
    distance = np.maximum(radius(events), _MIN_RADIUS_M)
    data = {
        "conditions": ((conditions - centre) / spread).astype(np.float32),
        "num_muons": events.num_muons.astype(np.float32),
        "event": events.event_of_muon(),
        "muons": np.stack([log_energy(events), np.log10(distance)], 1),
    }
    data["muons"] = data["muons"].astype(np.float32)
    params, losses = _fit(jax.tree.map(jnp.asarray, data), jax.random.key(seed), steps)
    return Baseline(
        jax.tree.map(np.asarray, params), centre, spread, np.asarray(losses)
    )


@functools.partial(jax.jit, static_argnums=2)
def _fit(data, key, steps):
    first = jnp.zeros((1, 4))
    params = {
        "counts": _COUNTS.init(jax.random.fold_in(key, 0), first)["params"],
        "muons": _MUONS.init(jax.random.fold_in(key, 1), first)["params"],
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, steps))

    def update(carry, step):
        params, state = carry
        events, muons = (
            jax.random.randint(jax.random.fold_in(key, 2 * step + i), (_BATCH,), 0, n)
            for i, n in ((2, len(data["num_muons"])), (3, len(data["muons"])))
        )
        (_, losses), gradient = jax.value_and_grad(_loss, has_aux=True)(
            params, data, events, muons
        )
        change, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), losses

    carry = params, optimizer.init(params)
    (params, _), losses = jax.lax.scan(update, carry, jnp.arange(steps))
    return params, losses


def _loss(params, data, events, muons):
    found = _COUNTS.apply({"params": params["counts"]}, data["conditions"][events])
    counts = _count_loss(found, data["num_muons"][events]).mean()
    inputs = data["conditions"][data["event"][muons]]
    found = jnp.asarray(_MUONS.apply({"params": params["muons"]}, inputs))
    log_width = jnp.clip(found[:, 2:], *_LIMITS["width"])
    pull = (data["muons"][muons] - found[:, :2]) * jnp.exp(-log_width)
    normal = jnp.sum(0.5 * pull**2 + log_width, axis=1).mean()
    return counts + normal, jnp.stack([counts, normal])


def _count_loss(found, number):
    log_mean = jnp.clip(found[:, 0], *_LIMITS["mean"])
    log_k = jnp.clip(found[:, 1], *_LIMITS["k"])
    k = jnp.exp(log_k)
    log_sum = jnp.logaddexp(log_mean, log_k)
    likelihood = gammaln(number + k) - gammaln(k) - gammaln(number + 1)
    likelihood += k * (log_k - log_sum) + number * (log_mean - log_sum)
    return -likelihood
