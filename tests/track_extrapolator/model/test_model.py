"""The network equals the recorded original and its PyTorch twin."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxphys.equivalence.torch_weights import to_torch
from jaxphys.track_extrapolator.model import model as track_model
from jaxphys.track_extrapolator.model.model import TrackMLP, input_jacobian
from jaxphys.track_extrapolator.model.surrogate import (
    entries_of_torch,
    variables_from_torch,
)
from jaxphys.training import optimizers
from tests.track_extrapolator.torch_twin import TorchTrackMLP, make_optimizer

FORWARD = ["small_tanh", "tiny_relu", "medium_silu", "one_track"]
TRAIN = ["small_tanh", "tiny_silu"]


class Recorded:
    """One recorded case: configuration, arrays and comparison by its own rules."""

    def __init__(self, path):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        self.config, self.tolerance = meta["config"], meta["tolerance"]
        self.arrays = arrays
        self.state_dict = self.under("param/")
        self.variables = variables_from_torch(self.state_dict)
        self.model: Any = TrackMLP(
            tuple(self.config["hidden"]), self.config["activation"]
        )

    def under(self, prefix):
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }

    def twin(self):
        twin = TorchTrackMLP(self.config["hidden"], self.config["activation"])
        tensors = {k: torch.from_numpy(v) for k, v in self.state_dict.items()}
        twin.load_state_dict(tensors)
        return twin

    def compare(self, name, got):
        expected = self.arrays[f"output/{name}"]
        rule = self.tolerance[name.split("/")[0]]
        atol = np.asarray(rule.get("atol_per_column", rule["atol"]), float)
        size = np.abs(expected)
        atol = atol + rule.get("atol_relative_to_max", 0.0) * size.max()
        if "atol_relative_to_column_max" in rule:
            column_max = size.reshape(-1, size.shape[-1]).max(axis=0)
            atol = atol + rule["atol_relative_to_column_max"] * column_max
        assert np.shape(got) == expected.shape
        error = np.abs(np.asarray(got, np.float64) - expected)
        assert (error <= atol + rule["rtol"] * size).all(), (name, error.max())


@pytest.fixture
def recorded(golden_dir):
    return lambda name: Recorded(golden_dir("track_extrapolator") / f"{name}.npz")


@pytest.mark.parametrize("variant", FORWARD)
def test_forward_and_jacobian_repeat_the_recorded_numbers(recorded, variant):
    case = recorded(f"mlp_forward__{variant}")
    x = case.arrays["input/x"]
    stats = case.variables["stats"]
    xn = (x - stats["input_mean"]) / stats["input_std"]
    case.compare("net", case.model.apply(case.variables, xn, method="net"))
    case.compare("y", case.model.apply(case.variables, x))
    case.compare("jacobian", input_jacobian(case.model, case.variables, x))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(np.float64), case.variables)
        case.compare("y_float64", case.model.apply(wide, x.astype(np.float64)))


@pytest.mark.parametrize("variant", TRAIN)
def test_ten_adamw_steps_repeat_the_recorded_numbers(recorded, variant):
    case = recorded(f"mlp_train__{variant}")
    optimizer = optimizers.make_optimizer(
        "adamw", case.config["lr"], weight_decay=case.config["weight_decay"]
    )
    stats = case.variables["stats"]

    def loss_of(params, x, y):
        prediction = case.model.apply({"params": params, "stats": stats}, x)
        return jnp.mean(jnp.square(prediction - y))

    @jax.jit
    def step(params, state, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss, gradients

    params = case.variables["params"]
    state = optimizer.init(params)
    losses = []
    entries = entries_of_torch(case.state_dict)
    for x, y in zip(case.arrays["input/x"], case.arrays["input/y"], strict=True):
        params, state, loss, gradients = step(params, state, x, y)
        if not losses:
            named = to_torch({"params": gradients, "stats": stats}, entries)
            for name in case.under("output/grad/"):
                case.compare(f"grad/{name}", named[name])
        losses.append(float(loss))
    case.compare("loss", np.array(losses))
    named = to_torch({"params": params, "stats": stats}, entries)
    for name, array in named.items():
        case.compare(f"param_after/{name}", array)


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu", "gelu", "sigmoid"])
def test_value_jacobian_and_gradients_equal_the_torch_twin(activation):
    torch.manual_seed(0)
    twin = TorchTrackMLP((12, 9), activation)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 6)).astype(np.float32)
    y = rng.normal(size=(20, 4)).astype(np.float32)
    twin.set_statistics(x, 3 * y + 1)
    named = {k: v.numpy() for k, v in twin.state_dict().items()}
    variables = variables_from_torch(named)
    model: Any = TrackMLP((12, 9), activation)

    inputs = torch.from_numpy(x)
    loss = torch.nn.functional.mse_loss(twin(inputs), torch.from_numpy(y))
    loss.backward()
    expected = twin(inputs).detach().numpy()
    np.testing.assert_allclose(model.apply(variables, x), expected, 1e-5, 1e-5)

    per_track = torch.func.vmap(torch.func.jacrev(twin))(inputs).detach().numpy()
    jacobian = input_jacobian(model, variables, x)
    np.testing.assert_allclose(jacobian, per_track, rtol=1e-4, atol=1e-5)

    def loss_of(params):
        prediction = model.apply({**variables, "params": params}, x)
        return jnp.mean(jnp.square(prediction - y))

    gradients = jax.grad(loss_of)(variables["params"])
    tree = {"params": gradients, "stats": variables["stats"]}
    got = to_torch(tree, entries_of_torch(named))
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(got[name], parameter.grad.numpy(), 1e-4, 1e-5)


def variables_of(twin):
    return variables_from_torch({k: v.numpy() for k, v in twin.state_dict().items()})


def test_one_optimizer_step_equals_the_torch_twin():
    torch.manual_seed(0)
    twin = TorchTrackMLP((8,))
    variables = jax.tree.map(jnp.array, variables_of(twin))
    model: Any = TrackMLP((8,), "tanh")
    optimizer = optimizers.make_optimizer("adamw", 1e-3, weight_decay=1e-5)
    x = np.random.default_rng(1).normal(size=(16, 6)).astype(np.float32)
    y = x[:, :4] * 2

    def loss_of(params):
        prediction = model.apply({**variables, "params": params}, x)
        return jnp.mean(jnp.square(prediction - y))

    params = variables["params"]
    gradients = jax.grad(loss_of)(params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    other = make_optimizer(twin)
    loss = torch.nn.functional.mse_loss(twin(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    other.step()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        optax.apply_updates(params, updates),
        variables_of(twin)["params"],
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [("tiny", 1412), ("small", 6820), ("medium", 25924), ("base", 108996)]
    + [("large", 430980), ("xlarge", 696708), ("deep", 232580), ("wide", 2769668)]
    + [("ultra", 1746308), ("deep4", 200196), ("deep6", 83972), ("wide3", 530948)]
    + [("wider", 1583620), ("production/large", 108996), ("production/ultra", 2769668)],
)
def test_architectures_have_their_real_parameter_counts(name, count):
    hidden = track_model.architecture(name)
    assert track_model.parameter_count(hidden) == count
    assert track_model.parameter_count(hidden, n_in=5) == count - hidden[0]


def test_parameter_count_is_that_of_the_initialised_network():
    variables: Any = TrackMLP((7, 5)).init(jax.random.key(0), jnp.ones((2, 5)))
    sizes = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert sizes == track_model.parameter_count((7, 5), n_in=5)
    assert variables["stats"]["input_mean"].shape == (5,)


def test_initialised_statistics_change_nothing():
    x = jnp.ones((2, 5))
    model: Any = TrackMLP((7,))
    variables = model.init(jax.random.key(0), x)
    expected = model.apply(variables, x, method="net")
    np.testing.assert_array_equal(model.apply(variables, x), expected)


def test_empty_hidden_is_a_linear_model():
    model: Any = TrackMLP(track_model.architecture("custom", []))
    x = jnp.ones((1, 5))
    variables = model.init(jax.random.key(0), x)
    assert list(variables["params"]["network"]) == ["dense_0"]
    np.testing.assert_allclose(
        model.apply(variables, 2 * x), 2 * model.apply(variables, x), rtol=1e-6
    )


def test_architecture_names_are_checked():
    with pytest.raises(ValueError, match="--model: expected one of tiny"):
        track_model.architecture("huge")
    with pytest.raises(ValueError, match="expected --hidden"):
        track_model.architecture("custom")
    with pytest.raises(ValueError, match="widths of at least 1"):
        track_model.architecture("custom", [3, 0])


def test_statistics_of_a_constant_column_are_exact_for_many_rows():
    values = np.zeros((140_000, 2), np.float32)
    values[:, 0] = 4000.0
    values[:, 1] = np.random.default_rng(0).normal(7, 3, 140_000)
    mean, std = track_model.statistics(values)
    assert (mean[0], std[0]) == (4000.0, 1.0)
    assert std[1] == pytest.approx(values[:, 1].astype(np.float64).std())
    constant = track_model.statistics(np.full((1000, 1), 0.1))
    assert constant == (np.array([0.1]), np.array([1.0]))
