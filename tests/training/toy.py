"""A small regression task on which the laws of the loop are tested."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.batches import ArrayBatches, sequential, shuffled
from jaxphys.training import optimizers
from jaxphys.training.task import Task, TrainState

ROWS, BATCH = 150, 32  # five batches, the last one padded


def toy_data(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    y = np.sin(x @ np.array([1.0, -2.0, 0.5], np.float32))[:, None]
    return {"x": x, "y": y}


def predict(params, x):
    hidden = jnp.tanh(x @ params["w0"] + params["b0"][None])
    return hidden @ params["w1"] + params["b1"][None]


def make_task(
    *,
    learning_rate=0.02,
    noise=0.1,
    on_device=True,
    width=16,
    poison_step=None,
    **changes,
):
    """Returns a task with dropout-like noise, so that keys matter."""
    optimizer = optimizers.make_optimizer("adam", learning_rate)

    def init(key):
        k0, k1 = jax.random.split(key)
        params = {
            "w0": jax.random.normal(k0, (3, width)) / 2,
            "b0": jnp.zeros(width),
            "w1": jax.random.normal(k1, (width, 1)) / 4,
            "b1": jnp.zeros(1),
        }
        return TrainState(
            step=jnp.int32(0),
            params=params,
            opt_state=optimizer.init(params),
            extra={"rounds": jnp.int32(0)},
        )

    def loss_fn(params, batch, key):
        # drawn per global slot: the mesh cannot change it
        jitter = noise * jax.random.normal(key, batch["y"].shape)
        error = predict(params, batch["x"]) - batch["y"] - jitter
        return jnp.sum(batch["weight"][:, None] * error**2) / jnp.sum(batch["weight"])

    def train_step(state, batch, key, phase):
        scale = 0.5 if phase == "slow" else 1.0
        loss, grads = jax.value_and_grad(loss_fn)(state.params, batch, key)
        if poison_step is not None:
            loss = jnp.where(state.step == poison_step, jnp.nan, loss)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = jax.tree.map(lambda p, u: p + scale * u, state.params, updates)
        weight = jnp.sum(batch["weight"])
        metrics = {"loss": (loss * weight, weight)}
        return state.replace(params=params, opt_state=opt_state), metrics

    def eval_step(state, batch, key, phase):
        del key, phase
        error = predict(state.params, batch["x"]) - batch["y"]
        return {"se": error[:, 0] ** 2, "weight": batch["weight"]}

    def summarize(batches):
        weight = np.concatenate([b["weight"] for b in batches])
        se = np.concatenate([b["se"] for b in batches])
        return {"val_loss": float(np.sum(se * weight, dtype=np.float64) / weight.sum())}

    train, val = toy_data(0), toy_data(1, 70)
    settings = {
        "init": init,
        "train_step": train_step,
        "eval_step": eval_step,
        "summarize": summarize,
        "train_data": ArrayBatches(train, BATCH, shuffled(ROWS, 5), on_device),
        "eval_data": ArrayBatches(val, BATCH, sequential(70), on_device),
        "best": ("val_loss", "min"),
    }
    return Task(**{**settings, **changes})
