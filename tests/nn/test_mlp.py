"""The multilayer perceptron equals `torch.nn.Sequential` on the same weights."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxphys.nn.initializers import linear_bias, linear_kernel
from jaxphys.nn.mlp import ACTIVATIONS, MLP, check_activation

TORCH = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "silu": torch.nn.SiLU,
    "gelu": torch.nn.GELU,
    "sigmoid": torch.nn.Sigmoid,
}


def grad_of(parameter):
    return parameter.grad.numpy()


def twin_of(params, widths, activation):
    modules = []
    for index, (rows, columns) in enumerate(itertools.pairwise(widths)):
        if index:
            modules.append(TORCH[activation]())
        layer = torch.nn.Linear(rows, columns)
        dense = params[f"dense_{index}"]
        layer.weight.data = torch.from_numpy(np.array(dense["kernel"]).T.copy())
        layer.bias.data = torch.from_numpy(np.array(dense["bias"]))
        modules.append(layer)
    return torch.nn.Sequential(*modules)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_equals_torch_in_value_and_gradients(activation):
    x = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    model: Any = MLP((7, 6, 3), activation, linear_kernel(), linear_bias)
    params = model.init(jax.random.key(1), x)["params"]
    twin = twin_of(params, (5, 7, 6, 3), activation)

    def loss(params):
        return jnp.sum(jnp.square(model.apply({"params": params}, x)))

    y = twin(torch.from_numpy(x))
    y.square().sum().backward()
    np.testing.assert_allclose(
        model.apply({"params": params}, x), y.detach().numpy(), rtol=1e-5, atol=1e-6
    )
    gradients = jax.grad(loss)(params)
    for index, layer in enumerate(m for m in twin if isinstance(m, torch.nn.Linear)):
        got = gradients[f"dense_{index}"]
        expected = grad_of(layer.weight).T
        np.testing.assert_allclose(got["kernel"], expected, rtol=1e-4, atol=1e-5)
        bias = grad_of(layer.bias)
        np.testing.assert_allclose(got["bias"], bias, rtol=1e-4, atol=1e-5)


def test_single_layer_is_linear():
    model: Any = MLP((2,), "tanh")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    variables = model.init(jax.random.key(0), x)
    doubled = model.apply(variables, 2 * x)
    np.testing.assert_allclose(doubled, 2 * model.apply(variables, x), rtol=1e-5)


def test_default_bias_is_zero():
    params = MLP((4, 2)).init(jax.random.key(0), jnp.ones((1, 3)))["params"]
    assert not any(np.any(layer["bias"]) for layer in params.values())


def test_float64_parameters_compute_in_float64():
    with jax.enable_x64(True):
        model: Any = MLP((4, 2))
        x = jnp.ones((1, 3))
        params = jax.tree.map(
            lambda a: a.astype("float64"), model.init(jax.random.key(0), x)
        )
        assert model.apply(params, x).dtype == "float64"


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"flag: expected one of tanh.* got 'mish'"):
        check_activation("mish", "flag")
    with pytest.raises(ValueError, match="got 'mish'"):
        MLP((4, 2), "mish").init(jax.random.key(0), jnp.ones((1, 3)))
