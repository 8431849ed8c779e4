"""The generator: number of muons, context of an event, features of every muon.

Reference: the ScalableGenerator of briedel/cr_muons.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxphys.cr_muons.model import draws, multiplicity
from jaxphys.cr_muons.model.layers import Dense, NormedDense, leaky_relu
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.nn.rounded_matmul import matmul

PyTree = Any
_MULTIPLICITY_WIDTHS = (64, 128, 64)


class MultiplicityNet(nn.Module):
    """Condition -> log10(N + 1) [..., 1], or mean and shape of a law [..., 2]."""

    settings: GanSettings

    def setup(self) -> None:
        s = self.settings
        heads = 1 if s.multiplicity == "deterministic" else 2
        widths = (s.cond_dim, *_MULTIPLICITY_WIDTHS, heads)
        for i in range(len(widths) - 1):
            layer = Dense(widths[i], widths[i + 1], s.init_weights, s.layer_dtype)
            setattr(self, f"dense_{i}", layer)

    def __call__(self, conditions: jax.Array) -> jax.Array:
        """Returns the head of every event for conditions [..., C]."""
        x = conditions
        for i in range(len(_MULTIPLICITY_WIDTHS)):
            x = jax.nn.elu(getattr(self, f"dense_{i}")(x))
        return getattr(self, f"dense_{len(_MULTIPLICITY_WIDTHS)}")(x)


class GlobalNet(nn.Module):
    """Noise, condition and log10(N + 1) of an event -> its context [B, H]."""

    settings: GanSettings

    def setup(self) -> None:
        s = self.settings
        fan_in = s.latent_dim_global + s.cond_dim + 1
        how = (True, s.init_weights, s.layer_dtype)
        self.layer_0 = NormedDense(fan_in, 128, *how)
        self.layer_1 = NormedDense(128, s.hidden_dim, *how)

    def __call__(
        self, z_global: jax.Array, conditions: jax.Array, log_count: jax.Array
    ) -> jax.Array:
        """Returns the context of events with noise [B, Zg] and log10(N + 1) [B]."""
        x = jnp.concatenate([z_global, conditions, log_count[:, None]], axis=1)
        return self.layer_1(self.layer_0(x))


class LocalNet(nn.Module):
    """Context of the event and noise of a muon -> its features [F, K]."""

    settings: GanSettings

    def setup(self) -> None:
        s = self.settings
        fan_in = s.hidden_dim + s.latent_dim_local
        how = (s.init_weights, s.layer_dtype)
        self.dense_0 = Dense(fan_in, 128, *how)
        self.dense_1 = Dense(128, 64, *how)
        self.dense_2 = Dense(64, s.feat_dim, *how)

    def __call__(
        self, context: jax.Array, z_local: jax.Array, event: jax.Array
    ) -> jax.Array:
        """Returns the features for context [B, H], noise [F, Zl] and event [F]."""
        kernel, width = self.dense_0.kernel, context.shape[1]
        # what an event adds is multiplied once, not once per muon
        dtype = self.settings.layer_dtype
        of_event = matmul(context, kernel[:width], dtype)
        of_event = of_event + self.dense_0.bias[None]
        x = matmul(z_local, kernel[width:], dtype)
        x = x + jnp.take(of_event, event, axis=0, mode="clip")
        x = leaky_relu(self.dense_1(leaky_relu(x)))
        return self.dense_2(x)


class Generator(nn.Module):
    """All three networks; what a caller needs are its methods."""

    settings: GanSettings

    def setup(self) -> None:
        self.multiplicity_net = MultiplicityNet(self.settings)
        self.global_net = GlobalNet(self.settings)
        self.local_net = LocalNet(self.settings)

    def __call__(
        self,
        conditions: jax.Array,
        z_global: jax.Array,
        z_local: jax.Array,
        event: jax.Array,
    ) -> jax.Array:
        """Runs all layers once, to initialise them."""
        log_count = self.head(conditions)[:, 0]
        return self.muons(conditions, log_count, z_global, z_local, event)

    def head(self, conditions: jax.Array) -> jax.Array:
        """Returns the output of the multiplicity network, [..., 1 or 2]."""
        return self.multiplicity_net(conditions)

    def context(
        self, conditions: jax.Array, log_count: jax.Array, z_global: jax.Array
    ) -> jax.Array:
        """Returns the context of every event, [B, H]."""
        return self.global_net(z_global, conditions, log_count)

    def local(
        self, context: jax.Array, z_local: jax.Array, event: jax.Array
    ) -> jax.Array:
        """Returns the features of every muon, [F, K], for contexts [B, H]."""
        return self.local_net(context, z_local, event)

    def muons(
        self,
        conditions: jax.Array,
        log_count: jax.Array,
        z_global: jax.Array,
        z_local: jax.Array,
        event: jax.Array,
    ) -> jax.Array:
        """Returns the features of every muon, [F, K].

        Args:
            conditions: [B, C].
            log_count: [B], log10(N + 1).
            z_global: [B, Zg] noise.
            z_local: [F, Zl] noise.
            event: [F], of every muon; padding may point anywhere.
        """
        context = self.context(conditions, log_count, z_global)
        return self.local(context, z_local, event)


class Counts(NamedTuple):
    """Numbers of muons of generated events.

    Attributes:
        number: [D, B] int32.
        log_count: [D, B], log10(N + 1) as the generator sees it; differentiable
            where the number is a rounded prediction.
    """

    number: jax.Array
    log_count: jax.Array


class Places(NamedTuple):
    """Where the muons of a part lie within its budget.

    Attributes:
        event: [F] int32, ascending; B in empty places.
        within: [F] int32, number of the muon in its event.
        kept: [B] bool, whether the muons of the event have places.
        number: [B] int32, muons that have places.
    """

    event: jax.Array
    within: jax.Array
    kept: jax.Array
    number: jax.Array


def place(number: jax.Array, budget: int) -> Places:
    """Puts the muons of events one after the other into F places.

    Args:
        number: [B] int32.
        budget: F; the events from the first that does not fit have no places.
    """
    # a sum beyond int32 would come back as a small number
    number = jnp.minimum(number, budget + 1)
    ends = jnp.cumsum(number.astype(jnp.float32))
    kept = ends <= budget
    number = jnp.where(kept, number, 0)
    starts = jnp.cumsum(number) - number
    marks = jnp.zeros(budget + 1, jnp.int32).at[starts].add(1)
    event = jnp.cumsum(marks)[:budget] - 1
    position = jnp.arange(budget, dtype=jnp.int32)
    real = position < jnp.sum(number)
    within = jnp.where(real, position - starts[event], 0)
    return Places(jnp.where(real, event, number.shape[0]), within, kept, number)


def predicted_log_count(head: jax.Array, settings: GanSettings) -> jax.Array:
    """Returns log10(N + 1) as the generator sees a prediction, [D, B].

    Args:
        head: [D, B, 1] of the multiplicity network.
        settings: of the model.
    """
    log_count = multiplicity.finite_or_zero(head[..., 0])
    log_count = jnp.minimum(log_count, math.log10(settings.max_fake_per_event + 1.0))
    return draws.stopped(log_count) if settings.detach_multiplicity else log_count


def counts_of(
    head: jax.Array, mask: jax.Array, key: jax.Array | None, settings: GanSettings
) -> Counts:
    """Returns the numbers of muons of generated events.

    Args:
        head: [D, B, 1 or 2] of the multiplicity network.
        mask: [D, B], 0 for padding, which has no muon.
        key: of a law's draw; may be None for a rounded prediction.
        settings: of the model.
    """
    most = settings.max_fake_per_event
    if settings.multiplicity == "negative_binomial":
        if key is None:
            raise ValueError("key: expected one to draw numbers of muons, got None")
        number = draws.stopped(multiplicity.draw_counts(key, head, most))
        log_count = multiplicity.log_count_of(number)
    else:
        number = draws.stopped(multiplicity.rounded_counts(head[..., 0], most))
        log_count = predicted_log_count(head, settings)
    return Counts(jnp.where(mask > 0, number, 0), log_count)


def initial_params(key: jax.Array, settings: GanSettings) -> PyTree:
    """Draws the weights; the last bias of the multiplicity is `head_bias`."""
    s = settings
    arrays = (
        jnp.zeros((2, s.cond_dim)),
        jnp.zeros((2, s.latent_dim_global)),
        jnp.zeros((2, s.latent_dim_local)),
        jnp.zeros(2, jnp.int32),
    )
    params = Generator(settings).init(key, *arrays)["params"]
    last = params["multiplicity_net"][f"dense_{len(_MULTIPLICITY_WIDTHS)}"]
    last["bias"] = jnp.array(multiplicity.head_bias(settings), jnp.float32)
    return params
