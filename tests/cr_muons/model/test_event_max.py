"""The largest row of every event and both of its derivatives."""

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.model.event_max import event_max, event_max_of

torch = pytest.importorskip("torch")
EVENT = np.array([0, 0, 0, 2, 2, 3, 5, 5], np.int32)  # 5: padding


def values(seed=0, ties=True):
    x = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    if ties:
        x[1] = x[0]
        x[4, :2] = x[3, :2]
    return x


def test_events_without_rows_keep_the_empty_value():
    x = values()
    got = np.asarray(event_max(jnp.asarray(x), jnp.asarray(EVENT), 5, -1e9))
    assert np.all(got[[1, 4]] == -1e9)
    np.testing.assert_array_equal(got[0], x[:3].max(axis=0))
    np.testing.assert_array_equal(got[3], x[5])


def test_both_derivatives_equal_pytorch_where_entries_tie():
    x, weight = values(), values(1, ties=False)[:5]

    def ours(x):
        top = cast(jax.Array, event_max(jnp.tanh(x), jnp.asarray(EVENT), 5, -1e9))
        real = jnp.asarray([[1.0], [0], [1], [1], [0]])
        return jnp.sum(jnp.where(real > 0, top**3 * weight, 0))

    slope = jax.grad(ours)
    second = jax.grad(lambda x: jnp.sum(slope(x) ** 2))(jnp.asarray(x))
    t = torch.as_tensor(x).requires_grad_(True)
    start = torch.full((6, 4), -1e9)
    index = torch.as_tensor(EVENT.astype(np.int64))[:, None].expand(8, 4)
    top = start.scatter_reduce(0, index, torch.tanh(t), reduce="amax")
    rows = [0, 2, 3]
    total = (top[rows] ** 3 * torch.as_tensor(weight[rows])).sum()
    (first,) = torch.autograd.grad(total, t, create_graph=True)
    (twice,) = torch.autograd.grad((first**2).sum(), t)
    np.testing.assert_allclose(slope(jnp.asarray(x)), first.detach(), atol=1e-6)
    np.testing.assert_allclose(second, twice, atol=1e-5)


def test_padding_has_no_gradient():
    def total(x):
        top = cast(jax.Array, event_max(x, jnp.asarray(EVENT), 5, -1e9))
        return jnp.sum(top[jnp.array([0, 3])])

    slope = jax.grad(total)
    assert np.all(np.asarray(slope(jnp.asarray(values())))[6:] == 0)


@pytest.mark.parametrize("block", [1, 3, 4, 16])
def test_blocks_of_a_network_equal_the_whole_in_value_and_both_derivatives(block):
    x = jnp.asarray(values())  # equal entries, also across the blocks' borders
    weight = jnp.asarray(values(1, ties=False)[:5])
    params = {"kernel": jnp.asarray(values(2)[:4])}
    real = jnp.asarray([[1.0], [0], [1], [1], [0]])

    def network(params, rows):
        return jnp.tanh(rows @ params["kernel"])

    def whole(params, x):
        return event_max(network(params, x), jnp.asarray(EVENT), 5, -1e9)

    def blocks(params, x):
        event = jnp.asarray(EVENT)
        return event_max_of(network, params, x, event, 5, -1e9, block)

    def derivatives(function):
        def total(params, x):
            top = function(params, x)
            return jnp.sum(jnp.where(real > 0, top**3 * weight, 0))

        def norm(params, x):
            return jnp.sum(jax.grad(total, 1)(params, x) ** 2)

        first = jax.grad(total, (0, 1))(params, x)
        return function(params, x), first, jax.grad(norm, (0, 1))(params, x)

    got, wanted = derivatives(blocks), derivatives(whole)
    assert np.any(np.asarray(wanted[2][0]["kernel"]) != 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, wanted)
