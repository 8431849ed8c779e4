"""Layers equal PyTorch's, in values and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.model.layers import Dense, NormedDense, normed_leaky_relu

torch = pytest.importorskip("torch")


def test_normalisation_keeps_digits_of_huge_entries():
    rng = np.random.default_rng(0)
    x = (1e9 * rng.normal(size=(5, 16)) - 1e10).astype(np.float32)
    got = normed_leaky_relu(jnp.asarray(x), jnp.ones(16), jnp.zeros(16))
    reference = torch.nn.functional.layer_norm(torch.as_tensor(x), (16,))
    reference = torch.nn.functional.leaky_relu(reference, 0.2)
    np.testing.assert_allclose(got, reference.numpy(), atol=1e-5)


def test_a_normed_layer_equals_pytorch():
    x = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    layer = NormedDense(5, 12)
    params = layer.init(jax.random.key(0), jnp.asarray(x))["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)
    linear, norm = torch.nn.Linear(5, 12), torch.nn.LayerNorm(12)
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(np.array(params["dense"]["kernel"]).T))
        linear.bias.copy_(torch.as_tensor(np.array(params["dense"]["bias"])))
        norm.weight.copy_(torch.as_tensor(np.array(params["scale"])))
        norm.bias.copy_(torch.as_tensor(np.array(params["shift"])))
        reference = torch.nn.functional.leaky_relu(
            norm(linear(torch.as_tensor(x))), 0.2
        )
    got = layer.apply({"params": params}, jnp.asarray(x))
    np.testing.assert_allclose(np.asarray(got), reference.numpy(), atol=1e-5)


@pytest.mark.parametrize(("kind", "spread"), [("xavier", None), ("torch", None)])
def test_initial_weights_have_the_spread_of_the_original(kind, spread):
    params = Dense(300, 100, kind).init(jax.random.key(0), jnp.zeros((1, 300)))
    kernel, bias = (np.asarray(params["params"][n]) for n in ("kernel", "bias"))
    if kind == "xavier":
        spread = 0.5 * np.sqrt(2 / 400)
        assert np.all(bias == 0)
    else:
        spread = 1 / np.sqrt(3 * 300)
        assert np.abs(kernel).max() <= 1 / np.sqrt(300)
        assert 0 < np.abs(bias).max() <= 1 / np.sqrt(300)
    assert kernel.std() == pytest.approx(spread, rel=0.02)


def test_both_derivatives_equal_pytorch():
    rng = np.random.default_rng(2)
    x, scale, shift, weight = (
        rng.normal(size=s).astype(np.float32) for s in ((6, 9), 9, 9, (6, 9))
    )

    def ours(x, scale, shift):
        return jnp.sum(normed_leaky_relu(jnp.sin(x), scale, shift) ** 2 * weight)

    def slope_square(*arrays):
        return jnp.sum(jax.grad(ours)(*arrays) ** 2)

    arrays = tuple(map(jnp.asarray, (x, scale, shift)))
    first = jax.grad(ours, (0, 1, 2))(*arrays)
    second = jax.grad(slope_square, (0, 1, 2))(*arrays)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, scale, shift)]
    hidden = torch.nn.functional.layer_norm(
        torch.sin(tensors[0]), (9,), tensors[1], tensors[2]
    )
    total = torch.nn.functional.leaky_relu(hidden, 0.2) ** 2 * torch.tensor(weight)
    theirs = torch.autograd.grad(total.sum(), tensors, create_graph=True)
    twice = torch.autograd.grad((theirs[0] ** 2).sum(), tensors)
    for got, reference in zip(first + second, theirs + twice, strict=True):
        reference = reference.detach().numpy()
        scale = np.abs(reference).max()
        np.testing.assert_allclose(got, reference, atol=2e-5 * scale)
