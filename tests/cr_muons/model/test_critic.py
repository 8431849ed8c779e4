"""The critic equals PyTorch's, and padding and order do not matter."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.cr_muons.model import critic
from jaxphys.cr_muons.model.parts import real_muons
from jaxphys.cr_muons.model.torch_weights import to_state_dict
from tests.cr_muons.gan_batches import SMALL, largest_difference, make_batch

POOLINGS = ("amax", "mean", "meanmaxsum")


def raw_of(settings, params, batch) -> Any:
    network = critic.Critic(settings)
    muons = [leaf[0] for leaf in real_muons(batch)]
    return network.apply({"params": params}, *muons, batch["conditions"][0])


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_order_within_an_event_do_not_matter(pooling):
    settings = SMALL.replace(critic_pooling=pooling)
    params = critic.initial_params(jax.random.key(0), settings)
    batch = make_batch()
    reference = raw_of(settings, params, batch)
    used = int(batch["num_muons"].sum())
    features = np.array(batch["features"])
    features[:, used:] = 1e6
    order = np.lexsort((np.random.default_rng(0).random(80), batch["muon_event"][0]))
    moved = {**batch, "features": jnp.asarray(features[:, order])}
    np.testing.assert_allclose(raw_of(settings, params, moved), reference, atol=2e-5)


def test_only_amax_cannot_see_how_many_equal_muons_there_are():
    features = jnp.ones((4, 3))
    conditions = jnp.ones((2, 4))
    event, number = jnp.asarray([0, 1, 1, 1]), jnp.asarray([1, 3])
    for pooling in POOLINGS:
        settings = SMALL.replace(critic_pooling=pooling)
        params = critic.initial_params(jax.random.key(0), settings)
        variables = {"params": params}
        network = critic.Critic(settings)
        raw = network.apply(variables, features, event, number, conditions)
        assert (abs(float(raw[0] - raw[1])) < 1e-6) == (pooling == "amax")


def test_raw_scores_equal_pytorch():
    pytest.importorskip("torch")
    import torch

    from tests.cr_muons import torch_twin

    params = critic.initial_params(jax.random.key(1), SMALL)
    batch = make_batch(1)
    twin = torch_twin.ScalableCritic()
    named = to_state_dict({"critic": params}, SMALL)
    state = {name.removeprefix("crit."): torch.tensor(a) for name, a in named.items()}
    twin.load_state_dict(state, strict=False)
    used = int(batch["num_muons"].sum())
    inputs = [np.asarray(batch[n][0]) for n in ("features", "muon_event", "conditions")]
    muons, event, conditions = map(torch.tensor, inputs)
    with torch.no_grad():
        reference = twin.raw(muons[:used], event[:used].long(), conditions, 24)[:, 0]
    got = raw_of(SMALL, params, batch)
    np.testing.assert_allclose(got, reference, atol=1e-5)


@pytest.mark.parametrize("empty", [False, True])
def test_blocks_of_muons_equal_all_at_once(monkeypatch, empty):
    params = critic.initial_params(jax.random.key(1), SMALL)
    batch = make_batch(1)
    if not empty:  # else the events that stand for the empty ones
        monkeypatch.setattr(critic, "_WORTHWHILE", 0.0)

    def loss(params, features):
        raw = raw_of(SMALL, params, {**batch, "features": features})
        return jnp.sum(raw**2)

    slopes = jax.value_and_grad(loss, (0, 1))
    whole = slopes(params, batch["features"])
    monkeypatch.setattr(critic, "_BLOCK", 16)
    calls, found = [], critic.event_max_of

    def counted(*arguments):
        calls.append(arguments)
        return found(*arguments)

    monkeypatch.setattr(critic, "event_max_of", counted)
    blocks = slopes(params, batch["features"])
    assert len(calls) == 1
    assert largest_difference(blocks, whole) < 1e-4


def test_heads_saturate_where_the_original_does():
    raw = jnp.asarray([[-1e9, -30.0, 0.0, 30.0, 1e9]])
    one, many = jnp.float32(1), jnp.float32(100)
    bound = 10 * np.tanh(1)
    ema = critic.score(raw, jnp.float32(0.01), many, "ema_tanh")  # least 0.1
    np.testing.assert_allclose(ema[0], [-bound, -bound, 0, bound, bound], rtol=1e-6)
    root = critic.score(raw, one, many, "sqrt_tanh")
    assert float(root[0, 3]) == pytest.approx(100 * np.tanh(0.03), rel=1e-5)
    clamp = critic.score(raw, one, many, "sqrt_clamp")
    np.testing.assert_allclose(clamp[0], [-1000, -3, 0, 3, 1000], rtol=1e-6)
    np.testing.assert_array_equal(critic.score(raw, one, many, "none"), raw)


def test_the_running_mean_counts_weights_and_has_no_gradient():
    raw, weight = jnp.asarray([[2.0, -4.0, 100.0]]), jnp.asarray([[1.0, 1.0, 0.0]])

    def ema(raw):
        return critic.updated_ema(jnp.float32(1), raw, weight, jnp.sum(weight))

    assert float(ema(raw)) == pytest.approx(0.99 + 0.03)
    assert np.all(jax.grad(ema)(raw) == 0)


@pytest.mark.slow
def test_one_empty_event_stands_for_all():
    batch = make_batch(2, events=60, places=30, mean=0.3)
    assert (batch["num_muons"] == 0).sum() > 20
    params = critic.initial_params(jax.random.key(0), SMALL)
    features, event, number = (leaf[0] for leaf in real_muons(batch))
    # as many places as events: all of them are scored one by one
    pad = ((0, 30), (0, 0))
    every = (
        jnp.pad(features, pad),
        jnp.pad(event, (0, 30), constant_values=60),
        number,
    )
    weight = jnp.asarray(np.random.default_rng(0).normal(size=60), jnp.float32)

    def loss(params, muons):
        network = critic.Critic(SMALL)
        variables, conditions = {"params": params}, batch["conditions"][0]
        raw = cast(jax.Array, network.apply(variables, *muons, conditions))
        return jnp.sum(raw * weight), raw

    found = [
        jax.value_and_grad(loss, has_aux=True)(params, muons)
        for muons in ((features, event, number), every)
    ]
    np.testing.assert_allclose(found[0][0][1], found[1][0][1], atol=1e-5)
    assert largest_difference(found[0][1], found[1][1]) < 1e-4
