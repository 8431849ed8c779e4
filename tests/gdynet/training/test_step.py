"""The update step: both kinds of lobes, losses, padding, devices, evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxphys.gdynet.training import accumulate, step, vamp
from jaxphys.training.mesh import make_mesh
from jaxphys.training.optimizers import make_optimizer
from tests.gdynet.networks import ATOMS, batch, frames, lobes

OPTIMIZER = make_optimizer("adam", 1e-3)
SIZE = 16


@functools.cache
def compiled(which="separate", phase="vamp2", **changes):
    return jax.jit(
        lambda state, batch: step.train_step(
            state,
            batch,
            None,
            phase,
            objective=lobes(which, **changes),
            optimizer=OPTIMIZER,
        )
    )


@functools.cache
def start(which="separate", **changes):
    made = lobes(which, **changes)
    found = step.initial_variables(jax.random.key(3), made)
    return step.initial_state(found, objective=made, optimizer=OPTIMIZER)


def assert_trees_close(a, b, rtol=1e-4, atol=1e-5):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol, atol), a, b)


def differs(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any(np.any(np.asarray(p) != np.asarray(q)) for p, q in pairs)


def test_separate_lobes_start_as_copies_and_part():
    state = start()
    names = ("lobe_0", "lobe_t")
    assert set(state.params) == set(names)
    assert not differs(*(step.variables_of(state, n) for n in names))
    after, _ = compiled()(state, batch(SIZE))
    assert differs(*(after.params[n] for n in names))
    assert differs(*(after.extra["batch_stats"][n] for n in names))


def test_a_shared_lobe_sees_both_frames_as_one_batch():
    state = start("shared")
    assert set(state.params) == {"lobe_0"}
    pairs = batch(SIZE)
    both = {
        n: jnp.concatenate([pairs[f"{n}_0"], pairs[f"{n}_t"]])
        for n in ("nbr_lists", "nbr_dists", "directions")
    }
    net, variables = lobes("shared"), step.variables_of(state, "lobe_0")
    found, changed = net.model.apply(
        variables,
        both,
        net.atom_types,
        net.target_index,
        True,
        mutable=["batch_stats"],
    )
    stats = state.extra["batch_stats"]
    pair = step.evaluate(net, state.params, stats, pairs, True)
    chi = jnp.concatenate([pair.chi0, pair.chit])
    np.testing.assert_allclose(chi, found.probs, rtol=1e-5, atol=1e-6)
    assert_trees_close(pair.batch_stats["lobe_0"], changed["batch_stats"])
    after, _ = compiled("shared")(state, pairs)
    assert differs(after.params, state.params)


def test_metrics_are_taken_before_the_update():
    state, pairs = start(), batch(SIZE)
    stats = state.extra["batch_stats"]
    pair = step.evaluate(lobes(), state.params, stats, pairs, True)
    expected = vamp.metrics(pair.chi0, pair.chit)
    after, found = compiled()(state, pairs)
    assert set(found) == {"loss", "vamp1", "vamp2"}
    for name, value in {**expected, "loss": -expected["vamp2"]}.items():
        np.testing.assert_allclose(found[name][0], value, rtol=1e-3, atol=1e-4)
        assert found[name][1] == 1
    assert_trees_close(after.extra["batch_stats"], pair.batch_stats)


@pytest.mark.slow
@pytest.mark.parametrize("phase", sorted(set(vamp.LOSSES) - {"vamp2"}))
def test_every_loss_of_the_schedule_takes_a_step(phase):
    state, pairs = start(n_conv=1), batch(SIZE)
    after, found = compiled(phase=phase, n_conv=1)(state, pairs)
    stats = state.extra["batch_stats"]
    net = lobes(n_conv=1)
    pair = step.evaluate(net, state.params, stats, pairs, True)
    expected = vamp.LOSSES[phase](pair.chi0, pair.chit, None, net.epsilon, "trunc")
    np.testing.assert_allclose(found["loss"][0], expected, rtol=1e-2, atol=1e-5)
    assert differs(after.params, state.params)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(after))


def test_unknown_names_are_refused():
    state, pairs = start(), batch(SIZE)
    with pytest.raises(ValueError, match=r"loss: expected one of vamp2.*got 'VAMP1'"):
        step.gradients(lobes(), state, pairs, "VAMP1")
    with pytest.raises(ValueError, match=r"lobes: expected one of .* got 'one'"):
        step.initial_variables(jax.random.key(0), lobes("one"))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["separate", "shared"])
def test_pairs_of_padding_change_nothing(which):
    pairs, more = batch(SIZE), batch(SIZE + 4, seed=8)
    padded = {n: jnp.concatenate([pairs[n], more[n][SIZE:]]) for n in pairs}
    padded["weight"] = padded["weight"].at[SIZE:].set(0)
    state = start(which)
    exact = step.gradients(lobes(which), state, pairs, "vamp2")
    found = step.gradients(lobes(which), state, padded, "vamp2")
    np.testing.assert_allclose(found[1], exact[1], rtol=1e-4)
    scale = max(np.abs(a).max() for a in jax.tree.leaves(exact[0]))
    assert_trees_close(found[0], exact[0], rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("which", ["separate", "shared"])
def test_geometry_that_never_changes_may_come_once(which):
    pairs, one = batch(SIZE), frames(1, seed=3)
    names = ("nbr_lists", "nbr_dists")
    repeated = {
        f"{n}_{w}": jnp.repeat(one[n], SIZE, axis=0) for n in names for w in "0t"
    }
    still = {n: a for n, a in pairs.items() if not n.startswith("nbr")}
    still |= {n: one[n] for n in names}
    state = start(which)
    stats = state.extra["batch_stats"]
    net = lobes(which)
    expected = step.evaluate(net, state.params, stats, {**pairs, **repeated}, True)
    found = step.evaluate(net, state.params, stats, still, True)
    assert_trees_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["separate", "shared"])
def test_four_devices_do_what_one_does(which):
    state = jax.tree.map(jnp.array, start(which))
    with jax.enable_x64(True):
        # in float64: Adam makes full steps of any gradient, of rounding noise too
        wide = lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a  # noqa: E731
        state = jax.tree.map(wide, state)
        pairs = [jax.tree.map(wide, batch(SIZE, seed)) for seed in range(3)]
        mesh = make_mesh("data:4")
        rows = NamedSharding(mesh, PartitionSpec("data"))
        whole = NamedSharding(mesh, PartitionSpec())
        states = [state, jax.device_put(state, whole)]
        for one in pairs:
            placed = [one, jax.device_put(one, rows)]
            both = [compiled(which)(s, b) for s, b in zip(states, placed, strict=True)]
            states = [s for s, _ in both]
            assert_trees_close(both[1][1], both[0][1], rtol=1e-8, atol=1e-10)
        assert_trees_close(states[1], states[0], rtol=1e-7, atol=1e-9)


def test_no_array_of_the_edges_is_gathered_over_devices():
    mesh = make_mesh("data:4")
    rows = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    function = jax.jit(
        lambda state, batch: step.train_step(
            state, batch, None, "vamp2", objective=lobes(), optimizer=OPTIMIZER
        ),
        in_shardings=(whole, rows),
        out_shardings=whole,
    )
    text = function.lower(start(), batch(SIZE)).compile().as_text() or ""
    gathered = [line for line in text.splitlines() if " all-gather(" in line]
    edges = f"{SIZE},{ATOMS}"
    assert not [line for line in gathered if edges in line.split("=", 1)[1][:40]]


def test_evaluation_uses_running_statistics_and_adds_up():
    state = compiled()(start(), batch(SIZE))[0]
    evaluate = jax.jit(
        lambda b: step.eval_step(state, b, None, "vamp2", objective=lobes())
    )
    parts = [batch(8, seed=4), batch(8, seed=5)]
    joined = jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
    total = None
    for part in parts:
        total = accumulate.add(total, evaluate(part)["sums"])
    found = evaluate(joined)
    assert total is not None
    assert_trees_close(total._asdict(), found["sums"]._asdict(), atol=1e-4)
    assert found["count"] == 16
    variables = {n: step.variables_of(state, n) for n in ("lobe_0", "lobe_t")}
    chi = [
        step.probabilities(lobes(), variables[f"lobe_{w}"], step.frames_of(joined, w))
        for w in "0t"
    ]
    assert chi[0].shape == (16, 2, 3)
    chi0, chit = (c.reshape(-1, 3) for c in chi)
    np.testing.assert_allclose(found["loss"], -vamp.vamp2(chi0, chit), rtol=1e-3)


def test_training_raises_the_score():
    state, pairs = start(), batch(32)
    scores = []
    for _ in range(40):
        state, found = compiled()(state, pairs)
        scores.append(float(found["vamp2"][0]))
    assert scores[-1] > scores[0] + 0.3
