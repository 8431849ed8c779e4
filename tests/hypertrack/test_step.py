"""Update steps: what is trained, padding, devices, learning."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxphys.hypertrack import step
from jaxphys.hypertrack.edge_losses import EdgeBCE
from jaxphys.hypertrack.optimizer import make_optimizer
from tests.hypertrack.net_graphs import FAST, SMALL, make_graph, micrographs, stack

OPTIMIZER = make_optimizer("AdamW", 0.01)


@functools.cache
def start(settings=SMALL):
    variables = step.initial_variables(jax.random.key(0), settings)
    return step.initial_state(variables, OPTIMIZER, settings)


@functools.cache
def update(phase, settings=SMALL):
    return jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, phase, settings=settings, optimizer=OPTIMIZER
        )
    )


def make_batch(count=2):
    graphs = [make_graph(seed=k, nodes=24, edges=300) for k in range(count)]
    return stack([{**g, **micrographs(g)} for g in graphs])


def close(one, other, rtol=1e-4, atol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), one, other
    )


def test_the_first_phase_leaves_the_transformer_alone():
    state, _ = update("edges")(start(), make_batch())
    for part in ("transformer", "thr"):
        jax.tree.map(
            np.testing.assert_array_equal, state.params[part], start().params[part]
        )
    before, after = (s.params["net"]["head"] for s in (start(), state))
    assert not np.array_equal(
        before["mlp"]["linear_0"]["kernel"], after["mlp"]["linear_0"]["kernel"]
    )
    state, metrics = update("joint")(start(), make_batch())
    kernels = (
        s.params["transformer"]["mask"]["linear_2"]["kernel"] for s in (start(), state)
    )
    assert not np.array_equal(*kernels)
    np.testing.assert_array_equal(*(s.params["thr"]["value"] for s in (start(), state)))
    assert metrics["clusters"][0] > 0


def test_graphs_of_padding_change_nothing():
    batch = make_batch()
    padded = {k: np.concatenate([a, a[:1]]) for k, a in batch.items()}
    padded["weight"] = np.array([1, 1, 0], np.float32)
    expected, sums = update("edges")(start(), batch)
    got, others = update("edges")(start(), padded)
    close(got.extra, expected.extra)
    np.testing.assert_allclose(others["loss"], sums["loss"], rtol=1e-5)
    close(others["grad_norm"], sums["grad_norm"])


def test_two_devices_take_the_step_of_one():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    expected, sums = update("joint")(start(), make_batch())
    got, others = update("joint")(
        jax.device_put(start(), whole), jax.device_put(make_batch(), split)
    )
    close(others["loss"], sums["loss"])
    close(got.extra, expected.extra)


def test_running_statistics_see_graphs_in_order():
    expected = start()
    for k in range(2):
        one = {name: array[k : k + 1] for name, array in make_batch().items()}
        found, _ = update("edges")(expected, one)
        expected = expected.replace(extra=found.extra)  # the same weights
    got, _ = update("edges")(start(), make_batch())
    close(got.extra, expected.extra, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("net", ["tune", "fast"])
def test_steps_learn_a_graph(net):
    settings = SMALL
    if net == "fast":
        bce = EdgeBCE("BCE", edge_balance=False, remove_self_edges=True)
        settings = dataclasses.replace(
            SMALL, net=FAST, edge_bce=bce, beta_edge_contrastive=0.0
        )
    state, batch, losses = start(settings), make_batch(1), []
    for _ in range(40):
        state, metrics = update("edges", settings)(state, batch)
        losses.append(float(metrics["loss"][0]))
    assert losses[-1] < 0.8 * losses[0]


def test_float16_gradients_are_those_of_float32_nearly():
    low = dataclasses.replace(SMALL.net, dtype=jnp.float16)
    settings = dataclasses.replace(SMALL, net=low, scale_loss=True)
    exact, _, _ = step.gradients(SMALL, start(), make_batch(1), "edges")
    got, _, _ = step.gradients(settings, start(settings), make_batch(1), "edges")
    one, other = (
        np.concatenate([np.ravel(g) for g in jax.tree.leaves(found["net"])])
        for found in (exact, got)
    )
    assert np.dot(one, other) > 0.98 * np.linalg.norm(one) * np.linalg.norm(other)
    state, _ = update("edges", settings)(start(settings), make_batch(1))
    assert state.extra["loss_scale"]["good_steps"] == 1


def test_a_new_phase_starts_with_new_moments():
    state, _ = update("edges")(start(), make_batch())
    again = step.enter_phase(state, "joint", optimizer=OPTIMIZER)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, start().opt_state)
    jax.tree.map(np.testing.assert_array_equal, again.params, state.params)


def test_evaluation_changes_nothing_and_reads_running_statistics():
    evaluate = jax.jit(
        lambda state, batch, mode: step.eval_step(
            state, batch, "edges", settings=SMALL, batchnorm_mode=mode
        ),
        static_argnums=2,
    )
    found = evaluate(start(), make_batch(), "eval")
    assert found["logits"].shape == (2, 300)
    assert not np.allclose(
        found["logits"], evaluate(start(), make_batch(), "train")["logits"]
    )
    assert found["sums"]["loss"][1] == 2
