"""Small networks and batches for the tests of model and step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.training import step

ATOMS, NEIGHBOURS = 6, 4
TYPES = np.array([3, 16, 16, 3, 8, 16])
TARGETS = np.array([0, 3])


def network(**changes):
    """Returns a small network."""
    settings = {
        "atom_fea_len": 8,
        "n_conv": 2,
        "state_len": 3,
        "num_gaussians": 6,
        "cutoff": 4.0,
        "variant": "ferro",
    }
    return GDyNet(**{**settings, **changes})


def frames(count, seed=0, masked=False):
    """Returns random frames with weights 1."""
    rng = np.random.default_rng(seed)
    shape = (count, ATOMS, NEIGHBOURS)
    found = {
        "nbr_lists": rng.integers(0, ATOMS, shape).astype(np.int32),
        "nbr_dists": np.sort(rng.uniform(1, 5, shape), -1).astype(np.float32),
        "directions": rng.normal(size=(count, ATOMS, 3)).astype(np.float32),
        "weight": np.ones(count, np.float32),
    }
    if masked:
        found["nbr_mask"] = np.arange(NEIGHBOURS) < rng.integers(1, 4, (*shape[:2], 1))
    return jax.tree.map(jnp.asarray, found)


def variables(model, seed=0):
    """Returns weights whose every array is random, running statistics too."""
    key = jax.random.key(seed)
    shapes = jax.eval_shape(
        lambda: model.init(key, frames(2), jnp.asarray(TYPES), jnp.asarray(TARGETS))
    )
    rng = np.random.default_rng(seed)
    drawn = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape) * 0.5, jnp.float32), shapes
    )
    positive = jax.tree.map(lambda a: jnp.abs(a) + 0.5, drawn["batch_stats"])
    return {**drawn, "batch_stats": positive}


def lobes(which="separate", **changes):
    """Returns the lobes of a small network."""
    return step.Lobes(network(**changes), TYPES, TARGETS, which)


def batch(count, seed=0, masked=False):
    """Returns a batch of pairs."""
    found = {}
    for number, which in enumerate("0t"):
        one = frames(count, 2 * seed + number, masked)
        found["weight"] = one.pop("weight")
        found |= {f"{name}_{which}": array for name, array in one.items()}
    return found
