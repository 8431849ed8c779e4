"""Optimizer steps follow PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.training import updates
from tests.cr_muons.gan_batches import SMALL

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_three_clipped_steps_equal_pytorch(optimizer):
    settings = SMALL.replace(
        optimizer=optimizer, learning_rate=0.01, momentum=0.5, grad_clip_norm=0.5
    )
    rng = np.random.default_rng(0)
    start = rng.normal(size=6).astype(np.float32)
    params = {"w": jnp.asarray(start)}
    ours = updates.optimizers(settings)["critic"]
    state = ours.init(params)
    t = torch.nn.Parameter(torch.as_tensor(start.copy()))
    if optimizer == "adam":
        theirs = torch.optim.Adam([t], lr=0.01, betas=(0.0, 0.9))
    else:
        theirs = torch.optim.SGD([t], lr=0.01, momentum=0.5)
    for scale in (0.01, 1.0, 100.0):
        slope = (scale * rng.normal(size=6)).astype(np.float32)
        clipped, norm = updates.clipped({"w": jnp.asarray(slope)}, 0.5)
        assert float(norm) == pytest.approx(np.linalg.norm(slope), rel=1e-5)
        params, state = updates.apply(ours, params, clipped, state)
        t.grad = torch.as_tensor(slope)
        torch.nn.utils.clip_grad_norm_([t], 0.5)
        theirs.step()
    np.testing.assert_allclose(params["w"], t.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_groups_have_rates_of_their_own():
    settings = SMALL.replace(
        optimizer="sgd", momentum=0.0, learning_rate=1.0, learning_rate_critic=0.5
    )
    one, zero = {"w": jnp.ones(1)}, {"w": jnp.zeros(1)}
    optimizers = updates.optimizers(settings)
    for group, rate in (("critic", 0.5), ("muons", 1.0), ("multiplicity", 1.0)):
        own = optimizers[group]
        moved, _ = updates.apply(own, zero, one, own.init(zero))
        assert float(moved["w"][0]) == -rate


def test_rates_fall_as_a_cosine():
    assert updates.rate_factor(jnp.int32(3), SMALL) is None
    settings = SMALL.replace(lr_decay_steps=100)
    found = [updates.rate_factor(jnp.int32(n), settings) for n in (0, 50, 100, 200)]
    np.testing.assert_allclose(np.array(found), [1, 0.5, 0, 0], atol=1e-6)


def test_groups_hold_the_generator_once():
    tree = {"multiplicity_net": 1, "global_net": 2, "local_net": 3}
    assert updates.from_groups(updates.groups_of(tree)) == tree


def test_the_averaged_weights_forget_the_start_quickly():
    mean = {"w": jnp.zeros(1)}
    for step in range(200):
        mean = updates.averaged(mean, {"w": jnp.ones(1)}, jnp.int32(step), 0.999)
    assert float(mean["w"][0]) > 0.99
    late = updates.averaged(
        {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}, jnp.int32(10**6), 0.9
    )
    assert float(jax.tree.leaves(late)[0][0]) == pytest.approx(0.1)
