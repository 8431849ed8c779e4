"""Inverse square roots and singular-value sums whose gradients are always finite.

Automatic differentiation of `eigh` and `svd` divides by differences of eigenvalues and
gives NaN where two are equal. The functions here have gradients in closed form that
need no eigenvector to be unique.

Reference: Daleckii and Krein, the derivative of a matrix function.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
MODES = ("trunc", "regularize", "clamp")
_HIGHEST = jax.lax.Precision.HIGHEST
# of the largest singular value, in units of rounding: below, a direction is noise
_NOISE = 10
_BLOCK = 128  # rows that are added up one after the other


def product(*matrices: Array) -> jax.Array:
    """Returns the product of matrices in full precision, on every device."""
    found = jnp.asarray(matrices[0])
    for matrix in matrices[1:]:
        found = jnp.matmul(found, matrix, precision=_HIGHEST)
    return found


def product_of_rows(one: Array, other: Array) -> jax.Array:
    """Returns one'other [S, T], summed in blocks of rows, in full precision.

    In one sum over thousands of rows float32 loses 4e-5 of it on processors without
    wide vectors. The covariance of probabilities has an eigenvalue 0, which may then
    exceed epsilon and count as a process: a VAMP-2 above the number of states.

    Args:
      one: [R, S].
      other: [R, T].
    """
    more = -len(one) % _BLOCK
    blocks = (
        jnp.pad(a, ((0, more), (0, 0))).reshape(-1, _BLOCK, a.shape[1])
        for a in (one, other)
    )
    return jnp.sum(jnp.einsum("kri,krj->kij", *blocks, precision=_HIGHEST), axis=0)


def symmetric(matrix: Array) -> jax.Array:
    """Returns the symmetric part of a square matrix."""
    matrix = jnp.asarray(matrix)
    return 0.5 * (matrix + matrix.T)


def inverse_sqrt(
    matrix: Array, epsilon: float = 1e-6, mode: str = "trunc"
) -> jax.Array:
    """Returns the inverse square root of a positive semidefinite matrix, [S, S].

    Args:
      matrix: C, [S, S], symmetric; its symmetric part is used.
      epsilon: threshold of the eigenvalues w, above 0.
      mode: `trunc` gives 1/sqrt(w) where w > epsilon and 0 elsewhere; `regularize`
        1/sqrt|w| of C + epsilon; `clamp` 1/sqrt(max(w, epsilon)).

    Raises:
      ValueError: the mode is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"vamp_mode: expected one of {', '.join(MODES)}, got {mode!r}")
    return _inverse_sqrt(matrix, epsilon, mode)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _inverse_sqrt(matrix, epsilon, mode):
    return _forward(matrix, epsilon, mode)[0]


def _forward(matrix, epsilon, mode):
    matrix = symmetric(matrix)
    if mode == "regularize":
        matrix = matrix + epsilon * jnp.eye(len(matrix), dtype=matrix.dtype)
    w, v = jnp.linalg.eigh(matrix)
    size, kept = _size(w, epsilon, mode)
    f = jnp.where(kept, 1 / jnp.sqrt(size), 0)
    return product(v * f[None, :], v.T), (w, v)


def _backward(epsilon, mode, residual, cotangent):
    w, v = residual
    inner = symmetric(product(v.T, cotangent, v))
    inner = _divided_differences(w, epsilon, mode) * inner
    return (product(v, inner, v.T),)


_inverse_sqrt.defvjp(_forward, _backward)


def _size(w, epsilon, mode):
    """Returns the positive number under the root, and whether it counts, [S] each."""
    if mode == "trunc":
        kept = w > epsilon
        return jnp.where(kept, w, 1), kept
    if mode == "clamp":
        return jnp.maximum(w, epsilon), jnp.ones_like(w, bool)
    # an eigenvalue of -epsilon cancels; its 3/2-th power must not underflow
    floor = jnp.sqrt(jnp.finfo(w.dtype).tiny)
    return jnp.maximum(jnp.abs(w), floor), jnp.ones_like(w, bool)


def _divided_differences(w, epsilon, mode):
    """Returns (f(w_i) - f(w_j)) / (w_i - w_j) without cancellation, [S, S].

    Equal values have the derivative as their limit.
    """
    size, kept = _size(w, epsilon, mode)
    root = jnp.sqrt(size)
    a, b = root[:, None], root[None, :]
    smooth = -1 / (a * b * (a + b))
    if mode == "regularize":
        side = jnp.where(w < 0, -1, 1).astype(w.dtype)
        mixed = side[:, None] != side[None, :]
        slope = _slope(size, w, mixed)
        return smooth * jnp.where(mixed, slope, side[:, None])
    above = w > epsilon
    both = above[:, None] & above[None, :]
    mixed = above[:, None] != above[None, :]
    if mode == "clamp":
        return smooth * jnp.where(mixed, _slope(size, w, mixed), both.astype(w.dtype))
    f = jnp.where(kept, 1 / root, 0)
    return jnp.where(both, smooth, jnp.where(mixed, _slope(f, w, mixed), 0))


def _slope(values, w, where):
    rise, run = values[:, None] - values[None, :], w[:, None] - w[None, :]
    return rise / jnp.where(where, run, 1)


def singular_value_sum(matrix: Array, power: int = 1, largest: int = 0) -> jax.Array:
    """Returns the sum of powers of the largest singular values of a matrix.

    Its gradient, power U D^(power-1) V', runs over the singular values that count and
    are no rounding noise.

    Args:
      matrix: [S, S'].
      power: of each singular value, 1 or more.
      largest: how many count; 0 counts all.
    """
    return _singular_value_sum(matrix, power, largest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _singular_value_sum(matrix, power, largest):
    return _sum_forward(matrix, power, largest)[0]


def _sum_forward(matrix, power, largest):
    u, d, vt = jnp.linalg.svd(matrix, full_matrices=False)
    counts = jnp.arange(len(d)) < (largest or len(d))
    return jnp.sum(jnp.where(counts, d**power, 0)), (u, d, vt, counts)


def _sum_backward(power, largest, residual, cotangent):
    del largest
    u, d, vt, counts = residual
    counts &= d > _NOISE * jnp.finfo(d.dtype).eps * d[0]
    rise = jnp.where(counts, power * d ** (power - 1), 0)
    return (cotangent * product(u * rise[None, :], vt),)


_singular_value_sum.defvjp(_sum_forward, _sum_backward)


def nuclear_norm(matrix: Array) -> jax.Array:
    """Returns the sum of the singular values of a matrix; see `singular_value_sum`."""
    return singular_value_sum(matrix)


def absolute_and_sign(matrix: Array) -> tuple[jax.Array, jax.Array]:
    """Returns |A| and sign(A) of a symmetric matrix, [S, S] each.

    With A = U D W' they are U D U' and U W'. Directions of rounding noise have sign 0.
    """
    w, v = jnp.linalg.eigh(symmetric(matrix))
    size = jnp.abs(w)
    clear = size > _NOISE * jnp.finfo(w.dtype).eps * jnp.max(size)
    sign = jnp.where(clear, jnp.sign(w), 0)
    return product(v * size[None, :], v.T), product(v * sign[None, :], v.T)
