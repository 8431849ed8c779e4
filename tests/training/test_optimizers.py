"""Optimizers follow PyTorch's on the same gradients; rates change without compiling."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxphys.training import optimizers

STEPS = 100
SHAPES = {"kernel": (4, 3), "bias": (3,)}
# (ours, PyTorch's class, PyTorch's settings)
CASES = {
    "adam": (
        {"name": "adam", "learning_rate": 3e-3},
        torch.optim.Adam,
        {"lr": 3e-3},
    ),
    "adam with decay": (
        {"name": "adam", "learning_rate": 3e-3, "weight_decay": 0.1},
        torch.optim.Adam,
        {"lr": 3e-3, "weight_decay": 0.1},
    ),
    "adam without first moment": (
        {"name": "adam", "learning_rate": 3e-3, "betas": (0.0, 0.9)},
        torch.optim.Adam,
        {"lr": 3e-3, "betas": (0.0, 0.9)},
    ),
    "adam with large eps": (
        {"name": "adam", "learning_rate": 3e-3, "eps": 1e-2},
        torch.optim.Adam,
        {"lr": 3e-3, "eps": 1e-2},
    ),
    "adamw": (
        {"name": "adamw", "learning_rate": 3e-3, "weight_decay": 0.1},
        torch.optim.AdamW,
        {"lr": 3e-3, "weight_decay": 0.1},
    ),
    "adamw without decay": (
        {"name": "adamw", "learning_rate": 3e-3},
        torch.optim.AdamW,
        {"lr": 3e-3, "weight_decay": 0.0},
    ),
    "sgd": (
        {"name": "sgd", "learning_rate": 3e-3},
        torch.optim.SGD,
        {"lr": 3e-3},
    ),
    "sgd with momentum and decay": (
        {"name": "sgd", "learning_rate": 3e-3, "momentum": 0.9, "weight_decay": 0.1},
        torch.optim.SGD,
        {"lr": 3e-3, "momentum": 0.9, "weight_decay": 0.1},
    ),
}


def draw(dtype):
    rng = np.random.default_rng(1)
    start = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    gradients = {}
    for name, shape in SHAPES.items():
        # over six orders of magnitude, so that eps and clipping matter
        sizes = 10 ** rng.uniform(-4, 2, (STEPS,) + (1,) * len(shape))
        gradients[name] = (sizes * rng.normal(size=(STEPS, *shape))).astype(dtype)
    return start, gradients


def path_of(optimizer, start, gradients):
    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    params = jax.tree.map(jnp.asarray, start)
    _, path = jax.lax.scan(step, (params, optimizer.init(params)), gradients)
    return jax.tree.map(np.asarray, path)


def torch_path_of(build, settings, start, gradients, grad_clip_norm=0.0):
    params = {
        k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in start.items()
    }
    optimizer = build(list(params.values()), **settings)
    path = {k: [] for k in start}
    for i in range(STEPS):
        for name, param in params.items():
            param.grad = torch.from_numpy(gradients[name][i].copy())
        if grad_clip_norm:
            torch.nn.utils.clip_grad_norm_(list(params.values()), grad_clip_norm)
        optimizer.step()
        for name, param in params.items():
            path[name].append(param.detach().numpy().copy())
    return {k: np.stack(v) for k, v in path.items()}


def assert_close(got, expected, atol):
    for name, path in expected.items():
        np.testing.assert_allclose(got[name], path, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_hundred_steps_equal_pytorch_in_float32(case):
    settings, build, theirs = CASES[case]
    start, gradients = draw(np.float32)
    got = path_of(optimizers.make_optimizer(**settings), start, gradients)
    expected = torch_path_of(build, theirs, start, gradients)
    scale = max(np.abs(path).max() for path in expected.values())
    assert_close(got, expected, atol=2e-6 * max(scale, 2))


@pytest.mark.parametrize("case", CASES)
def test_hundred_steps_equal_pytorch_in_float64(case):
    settings, build, theirs = CASES[case]
    start, gradients = draw(np.float64)
    with jax.enable_x64(True):
        got = path_of(optimizers.make_optimizer(**settings), start, gradients)
    assert got["kernel"].dtype == np.float64
    assert_close(got, torch_path_of(build, theirs, start, gradients), atol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_clipping_equals_pytorch_before_and_after_it_bites(name):
    start, gradients = draw(np.float32)
    squares = [(g**2).reshape(STEPS, -1).sum(axis=1) for g in gradients.values()]
    norms = np.sqrt(np.sum(squares, axis=0))
    clip = float(np.median(norms))
    settings, build, theirs = CASES[name]
    got = path_of(
        optimizers.make_optimizer(**settings, grad_clip_norm=clip), start, gradients
    )
    assert_close(got, torch_path_of(build, theirs, start, gradients, clip), atol=2e-6)


def test_clipping_of_a_zero_gradient_is_zero():
    clip = optimizers.clip_by_global_norm(1.0)
    updates, _ = clip.update({"w": jnp.zeros(3)}, clip.init({}))
    np.testing.assert_array_equal(jax.tree.leaves(updates), np.zeros((1, 3)))


def test_rate_that_is_set_applies_from_the_next_step_without_compiling_again():
    optimizer = optimizers.make_optimizer("sgd", 1.0)
    params = {"w": jnp.ones(2)}

    traced = []

    @jax.jit
    def step(state, rate):
        traced.append(1)
        state = optimizers.set_learning_rate(state, rate)
        return optimizer.update(params, state, params)

    state = optimizer.init(params)
    for rate in (0.5, 0.25, 0.125):
        updates, state = step(state, jnp.float32(rate))
        np.testing.assert_array_equal(updates["w"], -rate)
    assert traced == [1]


def test_rate_of_a_schedule_cannot_be_set():
    optimizer = optimizers.make_optimizer("adam", optax.constant_schedule(0.1))
    with pytest.raises(ValueError, match="follows a schedule"):
        optimizers.set_learning_rate(optimizer.init({"w": jnp.ones(1)}), jnp.float32(1))


def test_schedule_is_evaluated_at_the_number_of_the_step():
    rates = optax.piecewise_constant_schedule(1.0, {2: 0.1})
    optimizer = optimizers.make_optimizer("sgd", rates)
    gradients = {"w": np.ones((4, 1), np.float32)}
    path = path_of(optimizer, {"w": np.zeros(1, np.float32)}, gradients)
    np.testing.assert_allclose(path["w"][:, 0], [-1, -2, -2.1, -2.2], rtol=1e-6)


def test_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'rmsprop': expected one of adam, adamw"):
        optimizers.make_optimizer("rmsprop", 0.1)


@pytest.mark.parametrize(("kind", "middle"), [("cosine", 0.5), ("linear", 0.5)])
def test_rate_rises_linearly_then_falls_to_the_final_rate(kind, middle):
    rate = optimizers.warmup_schedule(kind, 2.0, 1000, warmup_steps=50, final=0.1)
    assert float(rate(0)) == 0
    assert float(rate(25)) == pytest.approx(1.0)
    assert float(rate(50)) == pytest.approx(2.0)
    halfway = 0.1 + 1.9 * middle
    assert float(rate(525)) == pytest.approx(halfway, rel=1e-5)
    assert float(rate(1000)) == pytest.approx(0.1)
    assert float(rate(5000)) == pytest.approx(0.1)


def test_constant_rate_stays_at_its_peak_after_the_rise():
    rate = optimizers.warmup_schedule("constant", 2.0, 1000, warmup_steps=10)
    assert [float(rate(s)) for s in (0, 5, 10, 999)] == [0.0, 1.0, 2.0, 2.0]


def test_warmup_takes_at_most_a_twentieth_of_the_steps():
    rate = optimizers.warmup_schedule("cosine", 1.0, 100, warmup_steps=500)
    assert float(rate(5)) == pytest.approx(1.0)
    assert float(optimizers.warmup_schedule("cosine", 1.0, 10, warmup_steps=9)(0)) == 1


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_rate_of_zero_stays_zero(kind):
    rate = optimizers.warmup_schedule(kind, 0.0, 100, warmup_steps=5)
    assert [float(rate(s)) for s in (0, 3, 50, 100)] == [0.0] * 4


def test_muon_learns_and_its_rate_can_be_set():
    optimizer = optimizers.make_optimizer("muon", 0.02, weight_decay=0.01)
    target = jax.random.normal(jax.random.key(0), (4, 3))
    params = {"w": jnp.zeros((4, 3)), "b": jnp.zeros(3)}

    def loss(params):
        return jnp.mean((params["w"] + params["b"][None] - target) ** 2)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(150):
        moved, state = step(params, state)
        params = moved
    assert loss(params) < 0.1 * jnp.mean(target**2)
    frozen = optimizers.set_learning_rate(state, jnp.float32(0))
    same, _ = step(params, frozen)
    np.testing.assert_array_equal(same["w"], params["w"])
