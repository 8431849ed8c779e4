"""Small random batches and first states for the tests of the muon GAN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.training import step, updates

SMALL = GanSettings(
    latent_dim_global=4, latent_dim_local=3, hidden_dim=8, fake_muon_budget=64
)


def first_state(settings, seed=0):
    """Returns the state of step 0."""
    params = step.initial_params(jax.random.key(seed), settings)
    return step.initial_state(
        params,
        objective=step.Objective(settings),
        optimizer=updates.optimizers(settings),
    )


def train_step_of(settings, phase="train", multiplicity_steps=0):
    """Returns the compiled step: (state, batch, key) -> state, metrics."""
    objective = step.Objective(settings, multiplicity_steps)
    optimizer = updates.optimizers(settings)
    take = functools.partial(step.train_step, objective=objective, optimizer=optimizer)
    return jax.jit(lambda state, batch, key: take(state, batch, key, phase))


def make_batch(seed=0, events=24, places=80, mean=2.0, features=3):
    """Returns one part with events of 0 to many muons, as a step sees it."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(mean * rng.gamma(1, 1, events)).astype(np.int32)
    while number.sum() > places:
        number[np.argmax(number)] -= 1
    return batch_of(rng, number, places, features)


def batch_of(rng, number, places, features=3):
    """Returns one part with these numbers of muons."""
    events = len(number)
    event = np.full(places, events, np.int32)
    event[: number.sum()] = np.repeat(np.arange(events), number)
    muons = rng.normal(size=(places, features)).astype(np.float32)
    batch = {
        "conditions": rng.normal(size=(events, 4)).astype(np.float32),
        "features": muons,
        "num_muons": np.asarray(number, np.int32),
        "muon_event": event,
        "event_mask": np.ones(events, np.float32),
    }
    return {name: jnp.asarray(array)[None] for name, array in batch.items()}


def cut(batch, parts, places):
    """Returns a batch of one part as several, each with some places for muons."""
    whole = {name: np.asarray(array)[0] for name, array in batch.items()}
    number = whole["num_muons"]
    size = len(number) // parts
    ends = np.concatenate([[0], np.cumsum(number)])
    found = []
    for part in range(parts):
        rows = slice(part * size, (part + 1) * size)
        muons = slice(ends[part * size], ends[(part + 1) * size])
        pad = places - (muons.stop - muons.start)
        event = whole["muon_event"][muons] - part * size
        found.append(
            {
                "conditions": whole["conditions"][rows],
                "features": np.pad(whole["features"][muons], ((0, pad), (0, 0))),
                "num_muons": number[rows],
                "muon_event": np.pad(event, (0, pad), constant_values=size),
                "event_mask": whole["event_mask"][rows],
            }
        )
    return jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *found)


def largest_difference(one, other):
    """Returns the largest difference of two trees, relative to the largest entry."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    worst = 0.0
    for a, b in pairs:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = max(np.abs(b).max(initial=0), 1e-6)
        worst = max(worst, np.abs(a - b).max(initial=0) / scale)
    return worst
