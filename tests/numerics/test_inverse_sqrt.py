"""Matrix functions have the gradients of finite differences, degenerate or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.numerics import inverse_sqrt as m

EPSILON = 1e-2
# kept, dropped, equal in pairs, in float64
SPECTRA = {
    "distinct": [0.05, 0.4, 1.0, 2.0],
    "all equal": [0.5, 0.5, 0.5, 0.5],
    "pairs": [0.1, 0.1, 3.0, 3.0],
    "null": [0.0, 0.0, 1.0, 1.0],
    "on both sides": [0.002, 0.004, 0.3, 0.3],
    "below zero": [-0.003, 0.0, 0.2, 1.0],
    "far below zero": [-0.3, -0.3, -0.05, 0.4],
    "nothing": [0.0, 0.0, 0.0, 0.0],
}


def matrix_with(spectrum, seed=0):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))
    return (q * np.array(spectrum)) @ q.T


def oracle(matrix, epsilon, mode):
    w, v = np.linalg.eigh((matrix + matrix.T) / 2)
    if mode == "trunc":
        f = np.array([x**-0.5 if x > epsilon else 0.0 for x in w])
    elif mode == "clamp":
        f = np.maximum(w, epsilon) ** -0.5
    else:
        f = np.abs(w + epsilon) ** -0.5
    return (v * f) @ v.T


def rate(function, at, along, step):
    """Returns a derivative by five-point differences."""
    weights = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
    return sum(w * function(at + k * step * along) for k, w in weights.items()) / step


@pytest.mark.parametrize("mode", m.MODES)
@pytest.mark.parametrize("name", SPECTRA)
def test_value_equals_the_eigendecomposition(name, mode):
    matrix = matrix_with(SPECTRA[name])
    with jax.enable_x64(True):
        found = np.asarray(m.inverse_sqrt(matrix, EPSILON, mode))
    np.testing.assert_allclose(found, oracle(matrix, EPSILON, mode), atol=1e-12)


@pytest.mark.parametrize("mode", m.MODES)
@pytest.mark.parametrize("name", SPECTRA)
def test_gradient_equals_finite_differences_at_any_spectrum(name, mode):
    rng = np.random.default_rng(1)
    matrix, cotangent = matrix_with(SPECTRA[name]), rng.normal(size=(4, 4))
    along = rng.normal(size=(4, 4))
    with jax.enable_x64(True):
        _, pull = jax.vjp(lambda c: m.inverse_sqrt(c, EPSILON, mode), matrix)
        (grad,) = pull(jnp.asarray(cotangent))
        found = float(np.sum(np.asarray(grad) * along))

    def value(c):
        return np.sum(cotangent * oracle(c, EPSILON, mode))

    # small enough that no eigenvalue crosses the threshold
    expected = rate(value, matrix, along, 2e-5)
    assert found == pytest.approx(expected, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", m.MODES)
def test_gradient_of_noise_around_a_null_space_is_finite(mode, dtype):
    rng = np.random.default_rng(2)
    noise = 1e-8 * rng.normal(size=(4, 4))
    matrix = (matrix_with(SPECTRA["null"]) + noise).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        value, grad = jax.value_and_grad(
            lambda c: jnp.sum(m.inverse_sqrt(c, 1e-6, mode))
        )(matrix)
    assert value.dtype == grad.dtype == dtype
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def test_regularized_eigenvalue_of_zero_stays_finite():
    matrix = -np.float32(0.25) * np.eye(3, dtype=np.float32)
    value, grad = jax.value_and_grad(
        lambda c: jnp.sum(m.inverse_sqrt(c, 0.25, "regularize"))
    )(matrix)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="trunc, regularize, clamp, got 'cut'"):
        m.inverse_sqrt(jnp.eye(2), 1e-6, "cut")


SINGULAR = {
    "distinct": [3.0, 1.0, 0.5, 0.2],
    "equal": [0.7, 0.7, 0.7, 0.7],
    "pairs": [2.0, 2.0, 0.1, 0.1],
}


def singular_matrix(values):
    rng = np.random.default_rng(3)
    u, v = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    return (u * np.array(values)) @ v.T


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", SINGULAR)
def test_singular_value_sum_has_the_gradient_of_finite_differences(name, power):
    matrix = singular_matrix(SINGULAR[name])
    along = np.random.default_rng(4).normal(size=(4, 4))
    with jax.enable_x64(True):
        value, grad = jax.value_and_grad(m.singular_value_sum)(matrix, power)
    assert float(value) == pytest.approx(np.sum(np.array(SINGULAR[name]) ** power))

    def oracle_sum(a):
        return np.sum(np.linalg.svd(a, compute_uv=False) ** power)

    expected = rate(oracle_sum, matrix, along, 1e-4)
    assert float(np.sum(np.asarray(grad) * along)) == pytest.approx(expected, rel=1e-7)


def test_only_the_largest_singular_values_count():
    matrix = singular_matrix(SINGULAR["distinct"])
    along = np.random.default_rng(5).normal(size=(4, 4))
    with jax.enable_x64(True):
        value, grad = jax.value_and_grad(m.singular_value_sum)(matrix, 2, 2)
    assert float(value) == pytest.approx(10.0)
    expected = rate(
        lambda a: np.sum(np.linalg.svd(a, compute_uv=False)[:2] ** 2),
        matrix,
        along,
        1e-4,
    )
    assert float(np.sum(np.asarray(grad) * along)) == pytest.approx(expected, rel=1e-7)


def test_nuclear_norm_has_a_finite_gradient_without_the_directions_of_noise():
    rank_one = np.zeros((3, 3), np.float32)
    rank_one[0, 1] = 2.0
    rank_one[1, 2] = 1e-9
    grad = np.asarray(jax.grad(m.nuclear_norm)(rank_one))
    expected = np.zeros((3, 3))
    expected[0, 1] = 1.0
    np.testing.assert_allclose(grad, expected, atol=1e-6)
    nothing = np.asarray(jax.grad(m.nuclear_norm)(np.zeros((3, 3), np.float32)))
    np.testing.assert_array_equal(nothing, 0.0)


def test_absolute_value_and_sign_of_a_symmetric_matrix():
    matrix = matrix_with([-2.0, -2.0, 0.0, 3.0])
    with jax.enable_x64(True):
        size, sign = (np.asarray(a) for a in m.absolute_and_sign(matrix))
    np.testing.assert_allclose(size, matrix_with([2.0, 2.0, 0.0, 3.0]), atol=1e-12)
    np.testing.assert_allclose(sign, matrix_with([-1.0, -1.0, 0.0, 1.0]), atol=1e-12)


def test_product_multiplies_from_left_to_right():
    a, b, c = (np.random.default_rng(i).normal(size=(2, 2)) for i in range(3))
    with jax.enable_x64(True):
        np.testing.assert_allclose(m.product(a, b, c), a @ b @ c, atol=1e-14)
        np.testing.assert_allclose(m.symmetric(jnp.asarray(a)), (a + a.T) / 2)
