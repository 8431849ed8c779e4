"""Adam follows PyTorch's digit by digit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxphys.training.adam import scale_by_adam
from jaxphys.training.optimizers import make_optimizer


@pytest.mark.parametrize("b1", [0.9, 0.0])
def test_many_steps_equal_torch_adamw(b1):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 3)).astype(np.float32)
    gradients = rng.normal(size=(100, 5, 3)).astype(np.float32)
    weights = torch.nn.Parameter(torch.from_numpy(start.copy()))
    other = torch.optim.AdamW([weights], 1e-3, (b1, 0.999), weight_decay=0.1)
    optimizer = make_optimizer("adamw", 1e-3, weight_decay=0.1, betas=(b1, 0.999))

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    first = jnp.asarray(start)
    _, path = jax.lax.scan(step, (first, optimizer.init(first)), gradients)
    path = np.asarray(path)
    for index, gradient in enumerate(gradients):
        weights.grad = torch.from_numpy(gradient)
        other.step()
        np.testing.assert_allclose(
            path[index], weights.detach().numpy(), rtol=0, atol=5e-6
        )


@pytest.mark.parametrize("count", [1, 2, 10, 1000, 100_000])
def test_bias_correction_is_exact_to_float32(count):
    transform = scale_by_adam()
    state = optax.ScaleByAdamState(
        count=jnp.int32(count - 1), mu=jnp.float32(0), nu=jnp.float32(0)
    )
    moved: Any
    moved, _ = transform.update(jnp.float32(1), state)
    expected = (0.1 / (1 - 0.9**count)) / np.sqrt(0.001 / (1 - 0.999**count))
    assert float(moved) == pytest.approx(expected, rel=5e-7)


def test_state_is_that_of_optax():
    params = {"w": jnp.ones((2, 2))}
    got, expected = scale_by_adam().init(params), optax.scale_by_adam().init(params)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
