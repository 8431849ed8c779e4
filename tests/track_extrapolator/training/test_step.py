"""The pure steps: losses against numpy, padding that counts nothing, averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxphys.track_extrapolator.model.model import TrackMLP, identity_stats
from jaxphys.track_extrapolator.training import step

ROWS, N_IN = 7, 5
MODEL = TrackMLP((8,), "tanh")


def batch_of(seed=0, rows=ROWS, **changes):
    rng = np.random.default_rng(seed)
    batch = {
        "inputs": rng.normal(size=(rows, N_IN)),
        "target": rng.normal(size=(rows, 4)),
        "weight": np.ones(rows),
    }
    return {k: jnp.asarray(v, jnp.float32) for k, v in {**batch, **changes}.items()}


def padded(batch, more=5):
    """Appends rows of rubbish with weight 0."""
    return {
        k: jnp.concatenate(
            [v, jnp.full((more, *v.shape[1:]), 0.0 if k == "weight" else 9.0)]
        )
        for k, v in batch.items()
    }


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0), jnp.zeros((1, N_IN)))["params"]


def numpy_net(params, x):
    dense = [params["network"][f"dense_{i}"] for i in range(2)]
    kernels = [
        (np.asarray(d["kernel"], float), np.asarray(d["bias"], float)) for d in dense
    ]
    return np.tanh(x @ kernels[0][0] + kernels[0][1]) @ kernels[1][0] + kernels[1][1]


def objective_of(raw=False, **settings):
    stats = identity_stats(N_IN) | {"output_std": jnp.arange(1.0, 5.0)} if raw else None
    return step.Objective(MODEL, stats, raw, **settings)


@pytest.mark.parametrize("raw", [False, True])
def test_loss_is_the_mean_square_of_numpy(params, raw):
    batch = batch_of()
    net = numpy_net(params, np.asarray(batch["inputs"], float))
    net = net * np.arange(1.0, 5.0) if raw else net
    expected = np.mean((net - np.asarray(batch["target"])) ** 2)
    value, count = step.loss(objective_of(raw), params, batch)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert float(count) == ROWS


@pytest.mark.parametrize(
    "settings", [{}, {"raw": True}, {"importance": True}, {"jacobian_weight": 0.3}]
)
def test_padding_changes_neither_loss_nor_gradient(params, settings):
    slopes = np.random.default_rng(1).normal(size=(ROWS, 4, N_IN))
    batch = batch_of(slopes=slopes, importance=np.arange(ROWS) / 3)
    objective = objective_of(**settings)
    found = [
        jax.value_and_grad(lambda p, b=b: step.loss(objective, p, b)[0])(params)
        for b in (batch, padded(batch))
    ]
    for a, b in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_importance_weights_the_squares_and_keeps_the_count(params):
    batch = batch_of(importance=[2.0, 0, 0, 0, 0, 0, 0])
    value, count = step.loss(objective_of(importance=True), params, batch)
    error = step.network_error(objective_of(), params, batch)
    assert float(value) == pytest.approx(
        2 * float(jnp.mean(error[0] ** 2)) / ROWS, rel=1e-5
    )
    assert float(count) == ROWS


def test_slope_term_vanishes_exactly_where_the_derivatives_are_right(params):
    inputs = batch_of()["inputs"]
    jacobian = jax.vmap(
        jax.jacfwd(lambda x: MODEL.apply({"params": params}, x[None], method="net")[0])
    )(inputs)
    right, wrong = (batch_of(slopes=jacobian + shift) for shift in (0.0, 0.5))
    plain, _ = step.loss(objective_of(), params, right)
    value, _ = step.loss(objective_of(jacobian_weight=2.0), params, right)
    assert float(value) == pytest.approx(float(plain), rel=1e-5)
    value, _ = step.loss(objective_of(jacobian_weight=2.0), params, wrong)
    assert float(value - plain) == pytest.approx(2.0 * 0.25, rel=1e-4)


@pytest.mark.parametrize("raw", [False, True])
def test_epoch_loss_weights_tracks_and_the_original_weights_batches(params, raw):
    optimizer = optax.sgd(0.0)
    batch = padded(batch_of())
    objective = objective_of(raw)
    state = step.initial_state(params, objective=objective, optimizer=optimizer)
    _, metrics = step.train_step(state, batch, objective=objective, optimizer=optimizer)
    value, _ = step.loss(objective, params, batch)
    total, weight = metrics["loss"]
    assert float(weight) == (1 if raw else ROWS)
    assert float(total / weight) == pytest.approx(float(value), rel=1e-6)


def test_averaged_weights_follow_and_are_the_ones_that_are_evaluated(params):
    optimizer = optax.sgd(0.5)
    bound = {
        "objective": objective_of()._replace(ema_decay=0.9),
        "optimizer": optimizer,
    }
    state = step.initial_state(params, **bound)
    new, _ = step.train_step(state, batch_of(), **bound)
    expected = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, params, new.params)
    for a, b in zip(
        jax.tree.leaves(step.evaluated_params(new)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    plain = step.initial_state(params, objective=objective_of(), optimizer=optimizer)
    assert step.evaluated_params(plain) is plain.params


def test_evaluation_is_a_statistic_of_the_real_tracks_however_they_are_batched(params):
    objective = objective_of()
    state = step.initial_state(params, objective=objective, optimizer=optax.sgd(0.0))
    scale = np.random.default_rng(2).uniform(1, 9, size=(ROWS, 4))
    batch = batch_of(scale=scale)

    def evaluated(part):
        found = step.eval_step(state, part, objective=objective)
        return jax.tree.map(np.asarray, found)

    pieces = [{k: v[i : i + 3] for k, v in batch.items()} for i in (0, 3, 6)]
    together = step.summarize([evaluated(batch)], objective=objective)
    padded_pieces = [evaluated(padded(piece)) for piece in pieces]
    apart = step.summarize(padded_pieces, objective=objective)
    assert together == pytest.approx(apart, rel=1e-6)
    error = np.asarray(step.network_error(objective_of(), params, batch)) * scale
    radial = np.hypot(error[:, 0], error[:, 1])
    assert together["pos_mean"] == pytest.approx(radial.mean(), rel=1e-5)
    assert together["pos_p95"] == pytest.approx(np.percentile(radial, 95), rel=1e-5)
    slope = np.hypot(error[:, 2], error[:, 3]).mean()
    assert together["slope_mean"] == pytest.approx(slope, rel=1e-5)
