"""One lobe: its laws of symmetry, padding, static geometry, masks, null gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.gdynet.model.convolution import centres
from jaxphys.gdynet.model.model import GDyNet
from tests.gdynet.networks import (
    ATOMS,
    NEIGHBOURS,
    TARGETS,
    TYPES,
    frames,
    network,
    variables,
)

NET = network()
WEIGHTS = variables(NET)
COTANGENT = np.random.default_rng(9).normal(size=(8, 3)).astype(np.float32)


def run(seen, train=False, net=NET, weights=WEIGHTS, types=TYPES, targets=TARGETS):
    """Returns probabilities and running statistics."""
    types, targets = jnp.asarray(types), jnp.asarray(targets)

    @jax.jit
    def apply(seen):
        return net.apply(weights, seen, types, targets, train, mutable=["batch_stats"])

    found, changed = apply(seen)
    return found.probs, changed["batch_stats"]


def grads(seen, net=NET, weights=WEIGHTS):
    """Returns the gradient of a sum over the outputs of the first four frames."""

    @jax.jit
    def gradient(params, seen):
        def value(params):
            tree = {**weights, "params": params}
            found, _ = net.apply(
                tree, seen, TYPES, TARGETS, True, mutable=["batch_stats"]
            )
            return jnp.sum(found.probs[:8] * COTANGENT)

        return jax.grad(value)(params)

    return gradient(weights["params"], seen)


def assert_trees_close(a, b, rtol=1e-4, atol=1e-5):
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol, atol), a, b)


def reference(seen, weights, train):
    """The network of the formulas, in plain float64 numpy."""
    weights = jax.tree.map(lambda a: np.asarray(a, np.float64), weights)
    p, stats = weights["params"], weights["batch_stats"]
    d, j = np.asarray(seen["nbr_dists"], np.float64), np.asarray(seen["nbr_lists"])
    mu, factor = centres(6, 4.0)
    e = np.exp(-factor * (d[..., None] - mu) ** 2)
    linear = lambda x, layer: x @ layer["kernel"] + layer["bias"]  # noqa: E731
    h = p["embedding"]["embedding"][TYPES][None]
    h = h + linear(np.asarray(seen["directions"], np.float64), p["atom_dir_fc"])

    def norm(x, layer, running):
        axes = tuple(range(x.ndim - 1))
        mean, var = running["mean"], running["var"]
        if train:
            mean, var = x.mean(axes), x.var(axes)
        return (x - mean) / np.sqrt(var + 1e-5) * layer["scale"] + layer["bias"]

    for name in ("convs_0", "convs_1"):
        own = np.broadcast_to(h[:, :, None], (*d.shape, h.shape[-1]))
        other = np.stack([h[b][j[b]] for b in range(len(h))])
        z = np.concatenate([own, other, e], axis=-1)
        gate = linear(z, p[name]["lin_filter"])[..., 0]
        alpha = np.exp(gate - gate.max(-1, keepdims=True))
        alpha /= alpha.sum(-1, keepdims=True)
        core = linear(z, p[name]["lin_core"])
        m = np.maximum(norm(core, p[name]["bn1"], stats[name]["bn1"]), 0)
        a = np.mean(alpha[..., None] * m, axis=2)
        h = np.maximum(norm(a, p[name]["bn2"], stats[name]["bn2"]) + h, 0)
    h = np.maximum(h[:, TARGETS].reshape(-1, h.shape[-1]), 0)
    h = np.maximum(linear(h, p["conv_to_fc"]), 0)
    logits = linear(h, p["fc_state"])
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


@pytest.mark.parametrize("train", [False, True])
def test_split_products_equal_the_map_of_the_concatenation(train):
    expected = reference(frames(4), WEIGHTS, train)
    np.testing.assert_allclose(run(frames(4), train)[0], expected, rtol=2e-4, atol=2e-6)


def test_order_of_neighbours_does_not_matter():
    seen, rng = frames(4), np.random.default_rng(1)
    order = rng.permuted(np.broadcast_to(np.arange(NEIGHBOURS), (4, ATOMS, 4)), axis=-1)
    moved = {
        **seen,
        **{
            name: jnp.take_along_axis(seen[name], jnp.asarray(order), axis=-1)
            for name in ("nbr_lists", "nbr_dists")
        },
    }
    for train in (False, True):
        assert_trees_close(run(moved, train), run(seen, train))


def test_numbering_of_atoms_does_not_matter():
    seen, order = frames(4), np.random.default_rng(2).permutation(ATOMS)
    place = np.argsort(order)  # of an atom in the new numbering
    moved = {
        "nbr_lists": jnp.asarray(place)[seen["nbr_lists"][:, order]],
        "nbr_dists": seen["nbr_dists"][:, order],
        "directions": seen["directions"][:, order],
        "weight": seen["weight"],
    }
    for train in (False, True):
        expected = run(seen, train)
        found = run(moved, train, types=TYPES[order], targets=place[TARGETS])
        assert_trees_close(found, expected)


def test_padded_frames_change_neither_statistics_nor_gradients():
    seen, more = frames(4), frames(6, seed=5)
    padded = {n: jnp.concatenate([seen[n], more[n][4:]]) for n in seen}
    padded["weight"] = padded["weight"].at[4:].set(0)
    probs, stats = run(padded, True)
    expected = run(seen, True)
    assert_trees_close((probs[:8], stats), expected)
    assert_trees_close(grads(padded), grads(seen))


def test_neighbours_that_do_not_exist_change_nothing():
    seen = frames(4)
    mask = np.ones((4, ATOMS, NEIGHBOURS), bool)
    extra = {
        "nbr_lists": jnp.pad(seen["nbr_lists"], ((0, 0), (0, 0), (0, 2))),
        "nbr_dists": jnp.pad(
            seen["nbr_dists"], ((0, 0), (0, 0), (0, 2)), constant_values=1.7
        ),
        "nbr_mask": jnp.asarray(np.pad(mask, ((0, 0), (0, 0), (0, 2)))),
    }
    masked = {**seen, **extra}
    for train in (False, True):
        assert_trees_close(run(masked, train), run(seen, train))
    assert_trees_close(grads(masked), grads(seen))


def test_an_atom_without_neighbours_is_finite():
    seen = frames(4, masked=True)
    mask = seen["nbr_mask"].at[:, 0].set(False)
    assert np.isfinite(run({**seen, "nbr_mask": mask}, True)[0]).all()
    found = grads({**seen, "nbr_mask": mask})
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(found))


@pytest.mark.parametrize("axes", [2, 3])
def test_geometry_that_never_changes_comes_once(axes):
    seen, one = frames(4), frames(1, seed=3)
    still = {n: one[n] if axes == 3 else one[n][0] for n in ("nbr_lists", "nbr_dists")}
    repeated = {n: jnp.repeat(one[n], 4, axis=0) for n in still}
    for train in (False, True):
        expected = run({**seen, **repeated}, train)
        assert_trees_close(run({**seen, **still}, train), expected)
    assert_trees_close(grads({**seen, **still}), grads({**seen, **repeated}))


def null_parts(tree, width=8):
    for name in ("convs_0", "convs_1"):
        yield tree[name]["lin_core"]["bias"]
        yield tree[name]["lin_filter"]["bias"]
        yield tree[name]["lin_filter"]["kernel"][:width]


def test_parts_without_effect_have_exactly_no_gradient_unless_kept():
    seen = frames(4)
    exact, kept = grads(seen), grads(seen, network(null_gradients="keep"))
    assert all((a == 0).all() for a in null_parts(exact))
    noise = [np.abs(a).max() for a in null_parts(kept)]
    assert 0 < max(noise) < 1e-4
    assert_trees_close(kept, exact, atol=1e-4)
    for train in (False, True):
        found = run(seen, train, network(null_gradients="keep"))
        assert_trees_close(found, run(seen, train))


def test_remat_changes_no_gradient():
    seen = frames(4)
    assert_trees_close(grads(seen, network(remat=True)), grads(seen))


def test_bfloat16_products_are_near():
    probs, stats = run(frames(4), True, network(dtype=jnp.bfloat16))
    assert probs.dtype == jnp.float32
    assert_trees_close((probs, stats), run(frames(4), True), rtol=0.2, atol=0.1)
    found = grads(frames(4), network(dtype=jnp.bfloat16))
    assert {a.dtype for a in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_number_of_parameters_is_that_of_the_formula():
    for variant, expected in (("vanilla", 46_883), ("ferro", 47_139)):
        net = GDyNet(variant=variant)
        shapes = jax.eval_shape(
            lambda net=net: net.init(jax.random.key(0), frames(2), TYPES, TARGETS)
        )
        count = sum(a.size for a in jax.tree.leaves(shapes["params"]))
        assert count == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "nematic"}, r"variant: expected one of .* got 'nematic'"),
        ({"gaussian": "bessel"}, r"gaussian: expected one of .* got 'bessel'"),
        ({"num_gaussians": 1}, "num_gaussians: expected 2 or more, got 1"),
        ({"null_gradients": "no"}, r"null_gradients: expected one of .* got 'no'"),
    ],
)
def test_unknown_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        run(frames(2), net=network(**changes))


def test_ferro_without_directions_is_refused():
    seen = frames(2)
    del seen["directions"]
    with pytest.raises(ValueError, match="needs directions"):
        run(seen)
