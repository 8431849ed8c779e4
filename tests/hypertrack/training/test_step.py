"""Update steps: what is trained, padding, devices, learning."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxphys.hypertrack.training import step
from jaxphys.hypertrack.training.device_micrographs import Proposal, propose
from jaxphys.hypertrack.training.edge_losses import EdgeBCE
from jaxphys.hypertrack.training.optimizer import make_optimizer
from tests.hypertrack.net_graphs import (
    FAST,
    SMALL,
    drawn_variables,
    make_graph,
    micrographs,
    stack,
)

pytestmark = pytest.mark.slow  # compiles whole steps

OPTIMIZER = make_optimizer("AdamW", 0.01)
KEY = jax.random.key(7)
# an untrained net says about 0.5 of every edge
PROPOSAL = Proposal(3, 8, 16, edge_threshold=0.2, diffuse_threshold=0.2)
PROPOSED = dataclasses.replace(
    SMALL, propose=functools.partial(propose, settings=PROPOSAL)
)


@functools.cache
def start(settings=SMALL):
    variables = drawn_variables(settings)
    return step.initial_state(variables, objective=settings, optimizer=OPTIMIZER)


@functools.cache
def update(phase, settings=SMALL):
    return jax.jit(
        lambda state, batch: step.train_step(
            state, batch, KEY, phase, objective=settings, optimizer=OPTIMIZER
        )
    )


def make_batch(count=4):
    graphs = [make_graph(seed=k, nodes=24, edges=300) for k in range(count)]
    batch = stack([{**g, **micrographs(g)} for g in graphs])
    return {**batch, "slot": np.arange(count, dtype=np.int32)}


def close(one, other, rtol=1e-4, atol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), one, other
    )


def test_the_first_phase_leaves_the_transformer_alone():
    state, metrics = update("edges")(start(), make_batch())
    for part in ("transformer", "thr"):
        jax.tree.map(
            np.testing.assert_array_equal, state.params[part], start().params[part]
        )
    before, after = (s.params["net"]["head"] for s in (start(), state))
    assert not np.array_equal(
        before["mlp"]["linear_0"]["kernel"], after["mlp"]["linear_0"]["kernel"]
    )
    assert "cluster_BCE" not in metrics


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, PROPOSED], ids=["host", "proposed"])
def test_the_joint_phase_trains_both_nets_and_no_fixed_threshold(settings):
    state, metrics = update("joint", settings)(start(), make_batch())
    changed = jax.tree.map(
        lambda a, b: bool(jnp.any(a != b)), start().params, state.params
    )
    assert any(jax.tree.leaves(changed["net"]))
    assert all(jax.tree.leaves(changed["transformer"]["mask"]))
    assert not changed["thr"]["value"]
    total, count = metrics["clusters"]
    assert count == 4
    assert total > 4  # more than one of a graph is accepted
    assert np.isfinite(metrics["loss"][0])


def test_graphs_of_padding_change_nothing():
    batch = make_batch()
    padded = {k: np.concatenate([a[:3], a[:1]]) for k, a in batch.items()}
    padded["weight"] = np.array([1, 1, 1, 0], np.float32)
    whole = {**padded, "weight": np.array([1, 1, 1, 0], np.float32)}
    whole["edge_label"] = whole["edge_label"].copy()
    whole["edge_label"][3] = 1 - whole["edge_label"][3]  # of the padding
    expected, sums = update("edges")(start(), {k: a[:3] for k, a in batch.items()})
    for same in (padded, whole):
        got, others = update("edges")(start(), same)
        close(got.extra, expected.extra)
        np.testing.assert_allclose(others["loss"], sums["loss"], rtol=1e-5)
        close(others["grad_norm"], sums["grad_norm"])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, PROPOSED], ids=["host", "proposed"])
def test_four_devices_take_the_step_of_one(settings):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    expected, sums = update("joint", settings)(start(), make_batch())
    got, others = update("joint", settings)(
        jax.device_put(start(), whole), jax.device_put(make_batch(), split)
    )
    for name in sums:
        close(others[name], sums[name])
    close(got.extra, expected.extra)


def test_running_statistics_see_graphs_in_order():
    expected = start()
    for k in range(4):
        one = {name: array[k : k + 1] for name, array in make_batch().items()}
        found, _ = update("edges")(expected, one)
        expected = expected.replace(extra=found.extra)  # the same weights
    got, _ = update("edges")(start(), make_batch())
    close(got.extra, expected.extra, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
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


def test_a_new_phase_starts_with_new_moments():
    state, _ = update("edges")(start(), make_batch())
    again = step.enter_phase(state, "joint", optimizer=OPTIMIZER)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, start().opt_state)
    jax.tree.map(np.testing.assert_array_equal, again.params, state.params)


@pytest.mark.slow
def test_evaluation_changes_nothing_and_reads_running_statistics():
    evaluate = jax.jit(
        lambda state, batch, mode: step.eval_step(
            state,
            batch,
            None,
            "edges",
            objective=dataclasses.replace(SMALL, batchnorm_mode=mode),
        ),
        static_argnums=2,
    )
    found = evaluate(start(), make_batch(1), "eval")
    other = evaluate(start(), make_batch(1), "train")
    assert found["loss"][1] == other["loss"][1] == 1
    assert not np.allclose(found["loss"][0], other["loss"][0])
