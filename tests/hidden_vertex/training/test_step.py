"""The update step: PyTorch Geometric's numbers, parts, padding, epoch losses."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxphys.equivalence import torch_weights
from jaxphys.hidden_vertex.model import conditional
from jaxphys.hidden_vertex.model import model as m
from jaxphys.hidden_vertex.training import losses, step
from jaxphys.training import optimizers
from tests.hidden_vertex import graph_sets
from tests.hidden_vertex.model.test_conditional import jets

SIZES = [9, 1, 5, 14, 3, 6]
SEED = m.SeedAutoencoder((8, 6), 4, (7,))
NODE = m.NodeAutoencoder((8, 6), 2)
OBJECTIVES = {
    "mse": step.GraphObjective(SEED),
    "chamfer": step.GraphObjective(SEED, "chamfer"),
    "weighted": step.GraphObjective(NODE, "weighted"),
    "pt_only": step.GraphObjective(NODE, "pt_only", score="pt_only", reduction="max"),
    "node_chamfer": step.GraphObjective(NODE, "chamfer", chamfer_max_nodes=14),
    "gcn": step.GraphObjective(
        conditional.ConditionalGraphAutoencoder((8, 6), 4, (7,)),
        "pt_only",
        score="pt_only",
    ),
}
CLOUD = {
    "emitted": step.GraphObjective(SEED, "chamfer_batch"),
    "node": step.GraphObjective(NODE, "chamfer_batch"),
}


def adamw(rate=1e-3):
    return optimizers.make_optimizer(
        "adamw", rate, weight_decay=1e-5, grad_clip_norm=1.0
    )


def params_of(model):
    part = graph_sets.part_of(graph_sets.events(SIZES))
    return jax.jit(model.init)(jax.random.key(0), part)["params"]


def start_of(params, optimizer):
    objective = step.Objective(step.GraphObjective(SEED))
    return step.initial_state(params, objective=objective, optimizer=optimizer)


def updated(state, batch, objective, optimizer, **settings):
    update = functools.partial(
        step.train_step,
        objective=step.Objective(objective, **settings),
        optimizer=optimizer,
    )
    return jax.jit(lambda state, batch: update(state, batch, None))(state, batch)


def evaluated(objective, params, batch):
    return jax.jit(lambda params, batch: objective(params, batch, None))(params, batch)


def loss_and_grads(objective, batch, key=None):
    params = params_of(objective.model)

    def value(params):
        found = objective(params, batch, key)
        return step.mean_loss(found), found

    evaluate = jax.jit(jax.value_and_grad(value, has_aux=True))
    (loss, found), grads = evaluate(params)
    return loss, grads, found


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["seed", "node"])
def test_hundred_adamw_steps_equal_pytorch_geometric(name, dtype):
    pytest.importorskip("torch")
    pytest.importorskip("torch_geometric.nn")
    import torch

    from tests.hidden_vertex import pyg_twin

    torch.manual_seed(1)
    twin = pyg_twin.Seed() if name == "seed" else pyg_twin.PerNode()
    model = m.SeedAutoencoder() if name == "seed" else m.NodeAutoencoder()
    entries = m.seed_entries() if name == "seed" else m.node_entries()
    start = torch_weights.to_flax(pyg_twin.weights(twin), entries)
    groups = [graph_sets.events(SIZES, 10 * i) for i in range(3)]
    parts = [graph_sets.part_of(group) for group in groups]
    expected = pyg_twin.train(twin, parts, 100, getattr(torch, dtype))
    with jax.enable_x64(dtype == "float64"):
        losses, params = ours(model, start, groups, 100, dtype)
    named = torch_weights.to_torch(params, entries)
    tolerance = {"float32": (2e-5, 2e-4), "float64": (1e-9, 1e-9)}[dtype]
    np.testing.assert_allclose(losses, expected, rtol=tolerance[0], atol=tolerance[0])
    for key, wanted in pyg_twin.weights(twin).items():
        np.testing.assert_allclose(named[key], wanted, rtol=0, atol=tolerance[1])


def ours(model, start, groups, steps, dtype):
    """Returns the losses and last weights of steps on padded batches in turn."""

    def cast(tree):
        wide = lambda a: a.astype(dtype) if a.dtype.kind == "f" else a  # noqa: E731
        return jax.tree.map(lambda a: jnp.asarray(wide(np.asarray(a))), tree)

    objective, optimizer = step.Objective(step.GraphObjective(model)), adamw()
    sizes = {"nodes": 50, "edges": 200, "graphs": 8}
    batches = [cast(graph_sets.batch_of(group, **sizes)) for group in groups]
    state = step.initial_state(cast(start), objective=objective, optimizer=optimizer)
    update = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, objective=objective, optimizer=optimizer
        )
    )
    losses = []
    for number in range(steps):
        state, found = update(state, batches[number % len(batches)])
        losses.append(float(found["loss"][0] / found["loss"][1]))
    return np.array(losses), state.params


@pytest.mark.parametrize("name", OBJECTIVES)
def test_number_of_parts_and_padding_do_not_matter(name):
    events, objective = graph_sets.events(SIZES), OBJECTIVES[name]
    key = jax.random.key(5) if objective.model.dropped_widths else None
    reference = loss_and_grads(objective, graph_sets.batch_of(events), key)
    others = [
        graph_sets.batch_of(events, nodes=80, edges=300, graphs=11),
        graph_sets.batch_of(events[:2], events[2:]),
        graph_sets.batch_of(*([event] for event in events), graphs=3),
    ]
    for batch in others:
        loss, grads, found = loss_and_grads(objective, batch, key)
        np.testing.assert_allclose(loss, reference[0], rtol=1e-5)
        assert_close(grads, reference[1], rtol=1e-4, atol=1e-5)
        for field in ("score", "code"):
            one, two = (getattr(f, field)[f.weight > 0] for f in (found, reference[2]))
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLOUD)
def test_padding_does_not_change_the_cloud_of_a_part(name):
    events, objective = graph_sets.events(SIZES), CLOUD[name]
    reference = loss_and_grads(objective, graph_sets.batch_of(events))
    padded = graph_sets.batch_of(events, nodes=80, edges=300, graphs=11)
    found = loss_and_grads(objective, padded)
    np.testing.assert_allclose(found[0], reference[0], rtol=1e-6)
    assert_close(found[1], reference[1], rtol=1e-4, atol=1e-5)


def test_dropout_needs_a_key_and_follows_it():
    batch = graph_sets.batch_of(graph_sets.events(SIZES))
    objective = OBJECTIVES["weighted"]
    values = [
        float(loss_and_grads(objective, batch, key)[0])
        for key in (None, jax.random.key(0), jax.random.key(0), jax.random.key(1))
    ]
    assert values[1] == values[2]
    assert len(set(values)) == 3


def test_unknown_loss_is_refused():
    objective = step.GraphObjective(SEED, "hausdorff")
    with pytest.raises(ValueError, match="hausdorff"):
        loss_and_grads(objective, graph_sets.batch_of(graph_sets.events(SIZES)))


def test_score_is_the_reduced_error_of_the_nodes():
    events = graph_sets.events(SIZES)
    part = graph_sets.part_of(events)
    params = params_of(NODE)
    found: Any = jax.jit(NODE.apply)({"params": params}, part)
    error = found.x_hat - part["x"]
    square = np.asarray(error, np.float64) ** 2
    graph = np.asarray(part["graph_index"])
    objective = step.GraphObjective(NODE, score="pt_only", reduction="max")
    found = evaluated(objective, params, graph_sets.batch_of(events))
    expected = [square[graph == g, 0].max() for g in range(len(SIZES))]
    np.testing.assert_allclose(found.score[0][: len(SIZES)], expected, rtol=1e-5)


def test_metrics_of_a_step_are_taken_before_the_update():
    batch = graph_sets.batch_of(graph_sets.events(SIZES))
    objective, optimizer = OBJECTIVES["mse"], adamw()
    state = start_of(params_of(SEED), optimizer)
    loss, grads, found = loss_and_grads(objective, batch)
    after, metrics = updated(state, batch, objective, optimizer, grad_clip_norm=1e-3)
    np.testing.assert_allclose(metrics["loss"], (found.total, found.count), rtol=1e-6)
    assert found.count == sum(SIZES)
    np.testing.assert_allclose(
        metrics["grad_norm"][0], optax.tree.norm(grads), rtol=1e-6
    )
    assert metrics["clipped"][0] == 1
    assert any(
        np.any(a != b)
        for a, b in zip(
            *map(jax.tree.leaves, (after.params, state.params)), strict=True
        )
    )
    _, metrics = updated(
        state, batch, objective, optimizer, grad_clip_norm=1e9, batch_mean=True
    )
    assert metrics["clipped"][0] == 0
    np.testing.assert_allclose(metrics["loss"], (loss, 1), rtol=1e-6)


def test_summary_is_over_events_unless_the_original_way_is_asked_for():
    objective, params = OBJECTIVES["mse"], params_of(SEED)
    state = start_of(params, adamw())
    groups = [graph_sets.events([9, 3]), graph_sets.events([20], 7)]
    evaluate = jax.jit(
        functools.partial(step.eval_step, objective=step.Objective(objective))
    )
    outputs = [
        jax.tree.map(np.asarray, evaluate(state, graph_sets.batch_of(g)))
        for g in groups
    ]
    together = graph_sets.batch_of(groups[0] + groups[1])
    whole = evaluated(objective, params, together)
    found = step.summarize(outputs, objective=step.Objective(objective))
    assert found["val_loss"] == pytest.approx(float(step.mean_loss(whole)), rel=1e-6)
    score = np.asarray(whole.score)[np.asarray(whole.weight) > 0]
    assert found["score_mean"] == pytest.approx(score.mean(), rel=1e-6)
    assert found["score_std"] == pytest.approx(score.std(), rel=1e-5)
    assert found["code_spread"] > 0
    means = [o["total"] / o["count"] for o in outputs]
    plain = step.summarize(
        outputs, objective=step.Objective(objective, batch_mean=True)
    )["val_loss"]
    assert plain == pytest.approx(np.mean(means), rel=1e-6)
    assert plain != pytest.approx(found["val_loss"], rel=1e-4)
    np.testing.assert_allclose(step.collect(outputs, "score"), score, rtol=1e-5)


@pytest.mark.parametrize("view", ["jets", "event"])
def test_sets_of_an_event_are_summed_and_events_averaged(view):
    rows = jets([12, 5, 9, 3, 7, 2])
    sets = rows.reshape(3, 2, 12, 3) if view == "jets" else rows[:3]
    model = conditional.ConditionalAutoencoder(3, 2 if view == "jets" else 1, 8)
    objective = step.SetObjective(model, view)
    seen = jax.jit(step.VIEWS[view])(rows)
    params = jax.jit(model.init)(jax.random.key(0), seen)["params"]
    batch = {view: jnp.asarray(sets), "weight": jnp.ones(3)}
    found = evaluated(objective, params, batch)
    seen = jax.jit(step.VIEWS[view])(sets.reshape(-1, 12, 3))
    prediction = jax.jit(model.apply)({"params": params}, seen)[0]
    each = jax.jit(losses.set_loss)(seen, prediction)
    expected = np.asarray(each).reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(found.score, expected, rtol=1e-5)
    np.testing.assert_allclose(step.mean_loss(found), expected.mean(), rtol=1e-5)
    padded = {
        view: jnp.concatenate([batch[view], batch[view][:1]]),
        "weight": jnp.asarray([1.0, 1, 1, 0]),
    }
    again = evaluated(objective, params, padded)
    np.testing.assert_allclose(step.mean_loss(again), expected.mean(), rtol=1e-5)


def test_training_of_the_jets_lowers_the_loss():
    rows = jets([12] * 64).reshape(32, 2, 12, 3)
    model = conditional.ConditionalAutoencoder(3, 2, 16)
    objective, optimizer = step.Objective(step.SetObjective(model)), adamw(0.01)
    batch = {"jets": jnp.asarray(rows), "weight": jnp.ones(32)}
    view = jax.jit(conditional.jets_view)(batch["jets"])
    params = jax.jit(model.init)(jax.random.key(0), view)["params"]
    state = start_of(params, optimizer)
    update = jax.jit(
        lambda state: step.train_step(
            state, batch, None, objective=objective, optimizer=optimizer
        )
    )
    losses = []
    for _ in range(60):
        state, found = update(state)
        losses.append(float(found["loss"][0] / found["loss"][1]))
    assert losses[-1] < losses[0] - 0.5
