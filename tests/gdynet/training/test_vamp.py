"""VAMP scores equal their definition, and their gradients are exact and finite."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.equivalence.golden import read
from jaxphys.gdynet.replay.scores import replay_vamp_loss
from jaxphys.gdynet.training import vamp
from jaxphys.numerics.inverse_sqrt import MODES
from tests.conftest import GOLDEN
from tests.gdynet.batches import KINDS, outputs


def oracle(chi0, chit, epsilon=1e-6):
    """Returns VAMP-1, VAMP-2 and all eigenvalues, in float64 NumPy."""
    x, y = (np.asarray(c, np.float64) for c in (chi0, chit))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    roots, values = [], []
    for a in (x, y):
        w, v = np.linalg.eigh(a.T @ a / (len(a) - 1))
        f = np.where(w > epsilon, 1 / np.sqrt(np.where(w > epsilon, w, 1)), 0)
        roots.append((v * f) @ v.T)
        values.append(w)
    k = roots[0] @ (x.T @ y / (len(x) - 1)) @ roots[1]
    singular = np.linalg.svd(k, compute_uv=False)
    return singular.sum(), (singular**2).sum(), np.concatenate(values)


def pair(kind="soft", states=4, count=60, seed=0, dtype: Any = np.float64):
    return outputs(kind, np.random.default_rng(seed), states, count, dtype)


def every_loss(chi0, chit, weight):
    return {
        name: jax.value_and_grad(loss, (0, 1))(chi0, chit, weight, 1e-6, "trunc")
        for name, loss in vamp.LOSSES.items()
    }


ALL = jax.jit(lambda *args: (every_loss(*args), vamp.metrics(*args)))


def exact_parts(golden):
    """Yields outputs that the original determines, and whether in the plane only.

    1/sqrt of the null direction of probabilities magnifies the rounding of both, out
    of the plane of rows of constant sum, which the softmax never sees.
    """
    loose, full_rank = golden.meta["finite_only"], golden.config["kind"] == "features"
    kinds = [("sym", "trunc"), *itertools.product(("vamp1", "vamp2"), MODES)]
    for (kind, mode), name in itertools.product(kinds, ("grad_chi0", "grad_chit")):
        key = f"{kind}/{mode}/{name}"
        if key not in loose:
            yield key, not full_rank and mode != "trunc"


SLOW = pytest.mark.slow  # a compilation for each number of states


@pytest.mark.parametrize(
    "name",
    [
        "soft_s4",
        "features_s5",
        "sharp_s5",
        pytest.param("near_uniform_s6", marks=SLOW),
        pytest.param("soft_s2_b16", marks=SLOW),
    ],
)
def test_gradients_equal_those_of_the_original_to_1e_11(name):
    golden = read(GOLDEN / "gdynet" / f"vamp_loss__{name}_float64.npz")
    found = replay_vamp_loss(golden)
    keys = dict(exact_parts(golden))
    assert len(keys) == 14
    for key, in_plane in keys.items():
        difference = found[key] - golden.outputs[key]
        if in_plane:
            difference = difference - difference.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(difference, 0.0, atol=1e-11, err_msg=key)


def test_padded_rows_count_nothing_whatever_is_in_them():
    chi0, chit = pair(dtype=np.float32)
    padding = np.full((7, 4), np.nan, np.float32)
    one, other = (np.concatenate([c, padding]) for c in (chi0, chit))
    weight = np.concatenate([np.ones(60), np.zeros(7)]).astype(np.float32)
    plain = ALL(chi0, chit, np.ones(60, np.float32))
    padded = ALL(one, other, weight)
    grads = [g for _, pair_ in padded[0].values() for g in pair_]
    for grad in grads:
        np.testing.assert_array_equal(grad[60:], 0.0)
    cut = jax.tree.map(lambda a: a[:60] if np.ndim(a) else a, padded)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), cut, plain)


def test_order_of_rows_changes_no_score_and_permutes_gradients():
    chi0, chit = pair(dtype=np.float32)
    order = np.random.default_rng(1).permutation(60)
    weight = np.ones(60, np.float32)
    plain = ALL(chi0, chit, weight)
    moved = ALL(chi0[order], chit[order], weight)
    back = jax.tree.map(lambda a: a[np.argsort(order)] if np.ndim(a) else a, moved)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), back, plain)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["vamp1_exact", "vamp1_score", "vamp2"])
def test_exact_losses_have_the_gradient_of_finite_differences(name, mode):
    # 1e-3 keeps 1/sqrt of the null direction small enough for differences
    function = jax.jit(lambda x, y: vamp.LOSSES[name](x, y, None, 1e-3, mode))
    rng = np.random.default_rng(2)
    for kind in ("soft", "crisp_equal"):
        with jax.enable_x64(True):
            chi = pair(kind)
            along = [rng.normal(size=c.shape) for c in chi]
            along = [a - a.mean(axis=1, keepdims=True) for a in along]
            grads = jax.jit(jax.grad(function, (0, 1)))(*chi)
            found = sum(
                float(jnp.sum(g * a)) for g, a in zip(grads, along, strict=True)
            )

            def value(step, chi=chi, along=along):
                moved = (c + step * a for c, a in zip(chi, along, strict=True))
                return float(function(*moved))

            h = 1e-5
            expected = (value(-2 * h) - 8 * value(-h) + 8 * value(h) - value(2 * h)) / (
                12 * h
            )
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_original_gradient_adds_the_lagged_part_twice():
    with jax.enable_x64(True):
        chi = pair()
        found, _ = ALL(*chi, np.ones(60))
        (exact, grads), (loss, applied) = found["vamp1_exact"], found["vamp1"]
        x, y = (c - c.mean(axis=0) for c in chi)
        scale_free = sum(np.sum(a * g) for a, g in zip((x, y), grads, strict=True))
        outwards = sum(np.sum(a * g) for a, g in zip((x, y), applied, strict=True))
    norm, rows, states = -float(exact), *chi[0].shape
    assert scale_free == pytest.approx(0.0, abs=1e-12)  # no change under scaling
    assert outwards == pytest.approx(-2 * norm, rel=1e-12)
    assert float(loss) == pytest.approx(-norm / (rows * states), rel=1e-12)


def test_only_the_first_singular_values_count_with_k_eig():
    with jax.enable_x64(True):
        chi = pair("sharp", 5)
        k = vamp.whitened(vamp.covariances(*chi), 1e-6, "trunc")
        singular = np.linalg.svd(np.asarray(k), compute_uv=False)
        assert float(vamp.vamp1(*chi, k_eig=2)) == pytest.approx(singular[:2].sum())
        loss = vamp.LOSSES["vamp2"](*chi, k_eig=2)
    assert float(loss) == pytest.approx(-(singular[:2] ** 2).sum())


def test_vampe_of_the_own_data_is_vamp2():
    with jax.enable_x64(True):
        chi = pair("sharp", 5)
        energy, score = float(vamp.vampe(*chi)), float(vamp.vamp2(*chi))
        assert energy == pytest.approx(score, rel=1e-12)


def test_perfectly_correlated_states_score_one_less_than_their_number():
    chi0, _ = pair("crisp_equal", 5, dtype=np.float32)
    found = jax.jit(vamp.metrics)(chi0, chi0)
    assert float(found["vamp1"]) == pytest.approx(4, abs=1e-5)
    assert float(found["vamp2"]) == pytest.approx(4, abs=1e-5)


def test_bfloat16_outputs_are_scored_in_float32():
    chi = [jnp.asarray(c, jnp.bfloat16) for c in pair(dtype=np.float32)]
    assert vamp.covariances(*chi).c00.dtype == jnp.float32
    grad = jax.grad(vamp.LOSSES["vamp1"])(*chi)
    assert grad.dtype == jnp.bfloat16


def check_random_batches(numbers):
    for index in numbers:
        states, kind = 2 + index % 9, KINDS[(index // 9) % len(KINDS)]
        chi = outputs(kind, np.random.default_rng(index), states)
        found, metrics = ALL(*chi, np.ones(len(chi[0]), np.float32))
        about = f"batch {index}: {kind}, {states} states"
        for value in jax.tree.leaves((found, metrics)):
            assert np.isfinite(value).all(), about
        vamp1, vamp2 = float(metrics["vamp1"]), float(metrics["vamp2"])
        assert max(vamp1, vamp2) <= states - 1 + 1e-3, about
        one, two, w = oracle(*chi)
        if np.min(np.abs(w - 1e-6)) > 2e-8:
            assert abs(vamp1 - one) < 1e-3, about
            assert abs(vamp2 - two) < 1e-3, about


def test_scores_and_gradients_of_each_kind_are_finite_and_bounded():
    check_random_batches(range(2, 54, 9))  # four states, each kind


@pytest.mark.slow
def test_scores_and_gradients_of_a_thousand_batches_are_finite_and_bounded():
    check_random_batches(range(1000))


@pytest.mark.slow
def test_hardly_used_states_lose_no_more_than_the_rounding_of_their_variance():
    """Float32 eigenvalues are exact to 2e-8: at 1e-6 that is two parts in a hundred."""
    for index in range(100):
        rng = np.random.default_rng(index)
        first = rng.normal(size=(640, 5))
        second = 0.8 * first + 0.6 * rng.normal(size=first.shape)
        shift = np.array([0, 0, 0, 1, 1]) * -rng.uniform(2, 8)
        chi = [np.exp(3 * a + shift) for a in (first, second)]
        chi = [(a / a.sum(axis=1, keepdims=True)).astype(np.float32) for a in chi]
        one, two, w = oracle(*chi)
        least = w[w > 1e-6].min()
        if np.min(np.abs(w - 1e-6)) > 2e-8:
            _, metrics = ALL(*chi, np.ones(640, np.float32))
            allowed = 1e-4 + 2e-8 / least
            assert abs(float(metrics["vamp1"]) - one) < allowed
            assert abs(float(metrics["vamp2"]) - two) < allowed


def test_covariances_of_many_rows_keep_the_digits_of_float32():
    rng = np.random.default_rng(5)
    chi = rng.dirichlet([0.2, 0.3, 0.4], 8_000).astype(np.float32)
    found = vamp.covariances(chi, chi)
    np.testing.assert_allclose(found.c00, np.cov(chi.T.astype(np.float64)), rtol=5e-6)
    least = np.linalg.eigvalsh(np.asarray(found.c00, np.float64))[0]
    assert abs(least) < 0.5 * vamp.EPSILON  # 0, as probabilities add up to 1
