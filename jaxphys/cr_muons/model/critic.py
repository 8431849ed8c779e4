"""The critic: a vector per muon, pooled to one per event, and a score.

Reference: the ScalableCritic of briedel/cr_muons, in its three versions.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model.event_max import event_max, event_max_of
from jaxphys.cr_muons.model.layers import Dense, NormedDense
from jaxphys.cr_muons.model.multiplicity import finite_or_zero, log_count_of
from jaxphys.cr_muons.model.settings import GanSettings

PyTree = Any
EMPTY = -1e9
WIDTHS = (64, 128)
EMA_DECAY = 0.99
EMA_LEAST = 0.1
_WORTHWHILE = 0.75  # of the rows, below which leaving out empty events pays
_BLOCK = 4096  # muons whose layers stay in the cache of a CPU


def pooled_width(settings: GanSettings) -> int:
    """Returns the width of an event's pooled vector."""
    return 3 * WIDTHS[-1] + 1 if settings.critic_pooling == "meanmaxsum" else WIDTHS[-1]


def event_sum(values: jax.Array, event: jax.Array, num_events: int) -> jax.Array:
    """Returns the sums over the muons of each event, [B, K]; rows of B are padding."""
    total = jnp.zeros((num_events + 1, values.shape[1]), values.dtype)
    return total.at[event].add(values, mode="promise_in_bounds")[:-1]


def pool(
    values: jax.Array, event: jax.Array, number: jax.Array, pooling: str
) -> jax.Array:
    """Returns one vector per event.

    Args:
        values: [M, K], of every muon.
        event: [M] int32, B for padding.
        number: [B] int32, muons of each event.
        pooling: "mean": the sum over n + 1. "meanmaxsum": largest (0 for no muon),
            mean, sum over sqrt(n + 1), and log10(n + 1).

    Returns:
        [B, K], or [B, 3 K + 1].
    """
    n = number.astype(values.dtype)[:, None]
    total = event_sum(values, event, number.shape[0])
    if pooling == "mean":
        return total / (n + 1)
    top: Any = event_max(values, event, number.shape[0], EMPTY)
    return jnp.concatenate(
        [
            jnp.where(n > 0, top, 0),
            total / jnp.maximum(n, 1),
            total * jax.lax.rsqrt(n + 1),
            log_count_of(number)[:, None],
        ],
        axis=1,
    )


class PointNet(nn.Module):
    """Features of a muon and condition of its event, in one row -> a vector."""

    settings: GanSettings

    def setup(self) -> None:
        s = self.settings
        widths = (s.feat_dim + s.cond_dim, *WIDTHS)
        how = (s.normed_critic, s.init_weights, s.layer_dtype)
        self.layer_0 = NormedDense(widths[0], widths[1], *how)
        self.layer_1 = NormedDense(widths[1], widths[2], *how)

    def __call__(self, muons: jax.Array) -> jax.Array:
        """Returns the vectors [M, 128] of muons [M, K + C]."""
        return finite_or_zero(self.layer_1(self.layer_0(muons)))


class DecisionNet(nn.Module):
    """Pooled vector and condition of an event -> raw score [B]."""

    settings: GanSettings

    def setup(self) -> None:
        s = self.settings
        widths = (pooled_width(s) + s.cond_dim, *s.decision_widths)
        for i in range(len(widths) - 1):
            layer = NormedDense(
                widths[i], widths[i + 1], s.normed_critic, s.init_weights, s.layer_dtype
            )
            setattr(self, f"layer_{i}", layer)
        self.out = Dense(widths[-1], 1, s.init_weights, s.layer_dtype)

    def __call__(self, pooled: jax.Array, conditions: jax.Array) -> jax.Array:
        """Returns the raw scores for pooled vectors [B, P] and conditions [B, C]."""
        x = jnp.concatenate([pooled, conditions], axis=1)
        for i in range(len(self.settings.decision_widths)):
            x = getattr(self, f"layer_{i}")(x)
        return self.out(x)[:, 0]


class Critic(nn.Module):
    """Both networks and the pooling between them."""

    settings: GanSettings

    def setup(self) -> None:
        self.point_net = PointNet(self.settings)
        self.decision_net = DecisionNet(self.settings)

    def __call__(
        self,
        features: jax.Array,
        event: jax.Array,
        number: jax.Array,
        conditions: jax.Array,
    ) -> jax.Array:
        """Returns the raw scores of the events of a part, [B].

        Args:
            features: [M, K] of the muons.
            event: [M] int32, event of every muon; B for padding.
            number: [B] int32, muons of every event.
            conditions: [B, C].
        """
        of_muon = jnp.take(conditions, event, axis=0, mode="clip")
        muons = jnp.concatenate([features, of_muon], axis=1)
        pooling, num_events = self.settings.critic_pooling, number.shape[0]
        if pooling != "amax":
            vectors = self.point_net(muons)
            pooled = pool(vectors, event, number, pooling)
            return self.decision_net(pooled, conditions)
        rows = min(features.shape[0], num_events)
        if self.settings.normed_critic and rows < _WORTHWHILE * num_events:
            return self._scores_of_filled(muons, event, number, conditions, rows)
        pooled = self._largest(muons, event, num_events)
        return self.decision_net(pooled, conditions)

    def _largest(
        self, muons: jax.Array, event: jax.Array, num_events: int
    ) -> jax.Array:
        """Returns the largest vectors of events, -1e9 for no muon, [B, 128]."""
        cpu = jax.default_backend() == "cpu"
        few = muons.shape[0] <= 2 * _BLOCK  # they are in the cache as they are
        if few or not cpu or self.is_initializing():
            vectors = self.point_net(muons)
            return event_max(vectors, event, num_events, EMPTY)
        network = PointNet(self.settings, parent=None)

        def vectors_of(params: PyTree, rows: jax.Array) -> Any:
            return network.apply({"params": params}, rows)

        return event_max_of(
            vectors_of,
            self.point_net.variables["params"],
            muons,
            event,
            num_events,
            EMPTY,
            _BLOCK,
        )

    def _scores_of_filled(
        self,
        muons: jax.Array,
        event: jax.Array,
        number: jax.Array,
        conditions: jax.Array,
        rows: int,
    ) -> jax.Array:
        """Scores the events with muons, and one in the place of all empty ones.

        Beside entries of -1e9 a condition is nothing in float32 once it is normalised,
        so that empty events are equal. The one that stands for them has their mean
        condition, which makes the gradients equal too, to first order in the 1e-9 that
        a condition is worth there.
        """
        num_events = number.shape[0]
        filled = number > 0
        place = jnp.where(filled, jnp.cumsum(filled) - 1, rows)  # [B]
        chosen = jnp.nonzero(filled, size=rows, fill_value=num_events - 1)[0]
        row = jnp.append(place, rows + 1)[event]  # [M], padding beyond all rows
        pooled = self._largest(muons, row, rows + 1)
        weight = (~filled).astype(conditions.dtype)
        mean = weight @ conditions / jnp.maximum(jnp.sum(weight), 1)
        of_row = jnp.concatenate([conditions[chosen], mean[None]])
        return self.decision_net(pooled, of_row)[place]


def initial_params(key: jax.Array, settings: GanSettings) -> PyTree:
    """Draws the weights of the critic."""
    arrays = (
        jnp.zeros((2, settings.feat_dim)),
        jnp.zeros(2, jnp.int32),
        jnp.ones(2, jnp.int32),
        jnp.zeros((2, settings.cond_dim)),
    )
    return Critic(settings).init(key, *arrays)["params"]


def updated_ema(
    ema: jax.Array, raw: jax.Array, weight: jax.Array, total: jax.Array
) -> jax.Array:
    """Returns the running mean of |raw| after one more look at it.

    Args:
        ema: scalar.
        raw: [D, B] raw scores.
        weight: [D, B], 0 for what does not count.
        total: sum of the weights.
    """
    raw = jax.lax.stop_gradient(raw)
    magnitude = jnp.sum(jnp.abs(raw) * weight) / jnp.maximum(total, 1)
    return EMA_DECAY * ema + (1 - EMA_DECAY) * magnitude


def score(
    raw: jax.Array, ema: jax.Array, num_events: jax.Array, head: str
) -> jax.Array:
    """Returns the scores that losses are made of, of the shape of `raw`.

    Args:
        raw: output of the critic.
        ema: running mean of |raw|, for "ema_tanh".
        num_events: events that are scored together, for "sqrt_tanh", "sqrt_clamp".
        head: see `GanSettings`.
    """
    if head == "ema_tanh":
        u = raw / jnp.maximum(ema, EMA_LEAST)
        return 10 * jnp.tanh(jnp.clip(u, -5, 5) / 5)
    root = jnp.maximum(jnp.sqrt(num_events), 1)
    if head == "sqrt_tanh":
        return 100 * jnp.tanh(raw / root / 100)
    if head == "sqrt_clamp":
        return jnp.clip(raw / root, -1000, 1000)
    return raw
