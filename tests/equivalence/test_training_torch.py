"""A hundred AdamW steps under a plateau, through the loop, equal PyTorch's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxphys.data.batches import ArrayBatches, sequential
from jaxphys.track_extrapolator.model.model import STATS, TrackMLP
from jaxphys.track_extrapolator.model.surrogate import variables_from_torch
from jaxphys.track_extrapolator.training import step
from jaxphys.training import optimizers, phases
from jaxphys.training.loop import fit
from jaxphys.training.mesh import make_mesh
from jaxphys.training.task import Interval, Task
from tests.track_extrapolator import torch_twin

HIDDEN, STEPS, EVERY, BATCH = (32, 32), 100, 5, 64
RATE, DECAY, PATIENCE = 0.03, 1e-2, 3


def tracks(seed, count):
    """Returns inputs [N, 6] and smooth targets [N, 4] with noise, in mm and slopes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    clean = np.stack(
        [np.sin(x[:, 0]) + x[:, 1], x[:, 2] * x[:, 3], x[:, 4], np.cos(x[:, 5])], axis=1
    )
    return x, (clean + rng.normal(size=clean.shape) / 2).astype(np.float32)


# so few that it overfits: the validation loss stops falling and the rate follows
BATCHES = 2
TRAIN, VAL = tracks(0, BATCHES * BATCH), tracks(1, 200)


def torch_run():
    """Returns (weights of step 0, losses, validation losses, rates, last weights)."""
    torch.manual_seed(0)
    model = torch_twin.TorchTrackMLP(HIDDEN, "tanh")
    model.set_statistics(*TRAIN)
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    optimizer = torch_twin.make_optimizer(model, RATE, DECAY)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=PATIENCE
    )
    criterion = torch.nn.MSELoss()
    batches = [
        map(torch.from_numpy, pair) for pair in zip(*map(split, TRAIN), strict=True)
    ]
    batches = [tuple(pair) for pair in batches]
    losses, val_losses, rates = [], [], []
    for i in range(STEPS):
        x, y = batches[i % len(batches)]
        losses.append(torch_twin.train_step(model, optimizer, criterion, x, y))
        if (i + 1) % EVERY == 0:
            with torch.no_grad():
                x, y = map(torch.from_numpy, VAL)
                val_losses.append(criterion(model(x), y).item())
            scheduler.step(val_losses[-1])
            rates.append(optimizer.param_groups[0]["lr"])
    last = {k: v.numpy() for k, v in model.state_dict().items()}
    return start, losses, val_losses, rates, last


def split(array):
    return [array[i : i + BATCH] for i in range(0, len(array), BATCH)]


def jax_run(start, mesh, steps_per_call=0):
    """Returns (losses of every step, result of `fit`)."""
    variables = variables_from_torch(start)
    stats = {name: jnp.asarray(variables["stats"][name]) for name in STATS}
    objective = step.Objective(TrackMLP(HIDDEN, "tanh"), stats, raw=True)
    optimizer = optimizers.make_optimizer("adamw", RATE, weight_decay=DECAY)

    def train_step(state, batch, key, phase):
        state, metrics = step.train_step(
            state, batch, objective=objective, optimizer=optimizer
        )
        value, weight = metrics["loss"]
        # one metric per step of the interval, so that each loss can be seen
        place = state.step % EVERY
        each = {f"loss_{i}": (value * (place == i), weight) for i in range(EVERY)}
        return state, each

    task = Task(
        init=lambda key: step.initial_state(
            jax.tree.map(jnp.asarray, variables["params"]),
            objective=objective,
            optimizer=optimizer,
        ),
        train_step=train_step,
        eval_step=functools.partial(step.eval_step, objective=objective),
        summarize=functools.partial(step.summarize, objective=objective),
        train_data=arrays(TRAIN, BATCH),
        eval_data=arrays(VAL, len(VAL[0])),
        advance=phases.Plateau("val_loss", RATE, patience=PATIENCE),
        after_eval=phases.apply_learning_rate,
    )
    result = fit(
        task,
        mesh=mesh,
        rounds=STEPS // BATCHES,
        eval_every=Interval(EVERY, "steps"),
        steps_per_call=steps_per_call,
    )
    losses = [
        h[f"train_loss_{i}"] * EVERY
        for h in result.progress.history
        for i in range(EVERY)
    ]
    return losses, result


def arrays(pair, size):
    inputs, target = pair
    source = {"inputs": inputs, "target": target}
    return ArrayBatches(source, size, sequential(len(inputs)))


@functools.cache
def recorded():
    return torch_run()


@pytest.mark.parametrize(("mesh", "steps_per_call"), [("data:1", 0), ("data:4", 2)])
def test_hundred_steps_with_a_falling_rate_equal_pytorch(mesh, steps_per_call):
    start, losses, val_losses, rates, last = recorded()
    assert len(set(rates)) >= 3  # it falls at least twice
    got, result = jax_run(start, make_mesh(mesh), steps_per_call)
    history = result.progress.history
    assert [h["step"] for h in history] == list(range(EVERY, STEPS + 1, EVERY))
    assert [h["learning_rate"] for h in history] == rates
    np.testing.assert_allclose(got, losses, rtol=1e-4)
    np.testing.assert_allclose([h["val_loss"] for h in history], val_losses, rtol=1e-4)
    expected = variables_from_torch(last)["params"]
    found = jax.tree.map(np.asarray, result.last.params)
    assert jax.tree.structure(found) == jax.tree.structure(dict(expected))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    rate = result.last.opt_state.hyperparams["learning_rate"]
    assert float(rate) == np.float32(rates[-1])
    assert losses[-1] < 0.7 * losses[0]
