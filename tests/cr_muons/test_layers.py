"""Layers equal PyTorch's, in values and initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.layers import Dense, NormedDense, normalise

torch = pytest.importorskip("torch")


def test_normalisation_keeps_digits_beside_huge_entries():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 16)).astype(np.float32) - np.float32(1e9)
    x[0] = -1e9
    got = normalise(jnp.asarray(x), jnp.ones((1, 16)), jnp.zeros((1, 16)))
    reference = torch.nn.functional.layer_norm(torch.as_tensor(x), (16,))
    assert np.all(np.asarray(got[0]) == 0)
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
    np.testing.assert_allclose(got, reference.numpy(), atol=1e-5)


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
