"""Optimizers against PyTorch, decay groups, frozen weights."""

from typing import Any, cast

import jax
import numpy as np
import optax
import pytest

from jaxphys.hypertrack.training.optimizer import (
    NAMES,
    freeze,
    is_decayed,
    make_optimizer,
)
from tests.hypertrack.net_graphs import SMALL, drawn_variables

PARAMS = {
    "net": {
        "w": {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}
    }
}


@pytest.mark.parametrize("name", NAMES)
def test_updates_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weights = {
        k: np.float32(rng.normal(size=s)) for k, s in (("kernel", (2, 3)), ("bias", 3))
    }
    values = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in weights.items()}
    groups = [
        {"params": [values["kernel"]], "weight_decay": 0.1},
        {"params": [values["bias"]], "weight_decay": 0.0},
    ]
    eps = {} if name == "SGD" else {"eps": 1e-6}
    theirs = getattr(torch.optim, name)(groups, lr=0.05, **eps)
    ours = make_optimizer(name, 0.05, weight_decay_w=0.1)
    params = {"net": {"w": weights}}
    state = ours.init(params)
    for _ in range(4):
        grads = {k: np.float32(rng.normal(size=v.shape)) for k, v in weights.items()}
        for k, value in values.items():
            value.grad = torch.tensor(grads[k])
        torch.nn.utils.clip_grad_norm_(values.values(), 1.0)
        theirs.step()
        updates, state = ours.update({"net": {"w": grads}}, state, params)
        params = cast(Any, optax.apply_updates(params, updates))
    for k, value in values.items():
        got = params["net"]["w"][k]
        np.testing.assert_allclose(got, value.detach(), rtol=2e-5, atol=2e-6)


def test_biases_and_layer_norms_are_not_decayed_but_batch_norms_are():
    params = drawn_variables(SMALL)["params"]
    found = {
        tuple(e.key for e in path): None
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    decayed = {path for path in found if is_decayed(path)}
    assert ("net", "conv_0", "edge", "norm_0", "scale") in decayed
    assert ("transformer", "cross", "norm_0", "scale") not in decayed
    assert ("thr", "value") in decayed
    assert not any(path[-1] == "bias" for path in decayed)
    assert all(path in decayed for path in found if path[-1] == "kernel")


def test_layer_norms_of_the_fast_net_are_not_decayed():
    assert not is_decayed(("net", "layer_0", "edge_norm", "scale"))


def test_frozen_weights_and_moments_stay():
    params = {"net": PARAMS["net"], "other": {"kernel": np.ones(2, np.float32)}}
    optimizer = make_optimizer("Adam", 0.1, weight_decay_w=0.1)
    grads = jax.tree.map(np.ones_like, params)
    state = optimizer.init(params)
    updates, state = optimizer.update(
        freeze(grads, ("net",)), state, freeze(params, ("net",))
    )
    found = cast(Any, updates)
    np.testing.assert_array_equal(found["other"]["kernel"], 0)
    assert np.all(found["net"]["w"]["kernel"] != 0)
    moments = jax.tree.leaves(optax.tree.get(state, "mu")["other"])
    assert all(np.all(m == 0) for m in moments)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer: expected one of"):
        make_optimizer("Lion", 0.1)
