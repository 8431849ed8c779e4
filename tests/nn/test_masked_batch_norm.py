"""Batch normalisation: PyTorch's numbers, weights, devices, a constant left out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxphys.nn.masked_batch_norm import MaskedBatchNorm, moments
from jaxphys.training.mesh import make_mesh

NORM = MaskedBatchNorm()
RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (6, 5, 4)).astype(np.float32)
VARIABLES = {
    "params": {"scale": jnp.array([1.0, 2, 0.5, -1]), "bias": jnp.arange(4.0)},
    "batch_stats": {"mean": jnp.arange(4.0), "var": jnp.arange(1.0, 5)},
}


def train(x, weight=None, variables: Any = VARIABLES) -> Any:
    found: Any = NORM.apply(variables, x, True, weight, mutable=["batch_stats"])
    y, changed = found
    return y, changed["batch_stats"]


def assert_trees_close(a, b, **tolerance):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, **tolerance), a, b)


def test_outputs_gradients_and_running_statistics_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    twin = torch.nn.BatchNorm1d(4).double()
    stats, params = VARIABLES["batch_stats"], VARIABLES["params"]
    twin.load_state_dict(
        {
            "weight": torch.tensor(np.asarray(params["scale"])),
            "bias": torch.tensor(np.asarray(params["bias"])),
            "running_mean": torch.tensor(np.asarray(stats["mean"])),
            "running_var": torch.tensor(np.asarray(stats["var"])),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    x = torch.tensor(X.reshape(-1, 4), dtype=torch.float64, requires_grad=True)
    cotangent = RNG.normal(size=(30, 4))
    y = twin(x)
    (y * torch.tensor(cotangent)).sum().backward()
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), VARIABLES)

        def value(params, x):
            found, stats = train(x, variables={**wide, "params": params})
            return jnp.sum(found.reshape(-1, 4) * cotangent), (found, stats)

        grads, (found, stats) = jax.grad(value, (0, 1), has_aux=True)(
            wide["params"], jnp.asarray(X, jnp.float64)
        )
        after: Any = NORM.apply({**wide, "batch_stats": stats}, jnp.asarray(X), False)
        near: Any = {"rtol": 1e-10, "atol": 1e-11}
        np.testing.assert_allclose(found.reshape(-1, 4), y.detach(), **near)
        np.testing.assert_allclose(grads[1].reshape(-1, 4), x.grad, **near)
        np.testing.assert_allclose(grads[0]["scale"], twin.weight.grad, **near)
        np.testing.assert_allclose(stats["mean"], twin.running_mean, **near)
        np.testing.assert_allclose(stats["var"], twin.running_var, **near)
        twin.eval()
        expected = twin(x).detach()
        np.testing.assert_allclose(after.reshape(-1, 4), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 1), (6, 5)])
def test_rows_of_weight_zero_count_nothing(shape):
    weight = np.ones(shape, np.float32)
    weight[4:] = 0
    other = X.copy()
    other[4:] = 1e6
    expected = train(X[:4])
    found, stats = train(other, jnp.asarray(weight))
    np.testing.assert_allclose(found[:4], expected[0], rtol=1e-5, atol=1e-5)
    assert_trees_close(stats, expected[1], rtol=1e-5)
    grad = jax.grad(lambda x: jnp.sum(train(x, jnp.asarray(weight))[0][:4] ** 3))(other)
    alone = jax.grad(lambda x: jnp.sum(train(x)[0] ** 3))(X[:4])
    np.testing.assert_allclose(grad[:4], alone, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(grad[4:], 0)


def test_a_batch_without_rows_gives_finite_numbers():
    y, stats = train(X, jnp.zeros((6, 1)))
    assert np.isfinite(y).all()
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(stats))


def test_a_large_mean_does_not_spoil_the_variance():
    found = moments(jnp.asarray(X + 1e4))
    np.testing.assert_allclose(found.var, X.var(axis=(0, 1)), rtol=2e-3)


def test_a_constant_that_is_left_out_changes_the_running_mean_only():
    constant = jnp.array([5.0, -3, 0, 1])
    whole, stats = train(X + constant[None, None])

    def parts(train) -> Any:
        return NORM.apply(
            {**VARIABLES, "batch_stats": stats if not train else stats_before},
            X,
            train,
            None,
            constant,
            method="scale_and_shift",
            mutable=["batch_stats"],
        )

    stats_before = VARIABLES["batch_stats"]
    (scale, shift), changed = parts(True)
    y = X * scale[None, None] + shift[None, None]
    np.testing.assert_allclose(y, whole, rtol=1e-4, atol=1e-4)
    assert_trees_close(changed["batch_stats"], stats, rtol=1e-5)
    (scale, shift), _ = parts(False)
    y = X * scale[None, None] + shift[None, None]
    later = {**VARIABLES, "batch_stats": stats}
    expected: Any = NORM.apply(later, X + constant[None, None], False)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_four_devices_have_the_statistics_of_one():
    x = jnp.asarray(np.concatenate([X, X[:2] * 7]))
    weight = jnp.array([1.0, 1, 0, 1, 1, 1, 1, 0])[:, None]
    expected = jax.jit(train)(x, weight)
    where = NamedSharding(make_mesh("data:4"), PartitionSpec("data"))
    found = jax.jit(train)(jax.device_put(x, where), jax.device_put(weight, where))
    assert_trees_close(found, expected, rtol=1e-5, atol=1e-6)


def test_one_row_cannot_be_trained_on():
    with pytest.raises(ValueError, match=r"expected two rows .* got x of shape \(1, 4"):
        train(X[0, :1])
