"""VAMP scores of state probabilities at two times, and the losses made of them.

With x, y [b, S] the mean-free outputs for the frames t and t + lag, C00 = x'x/(b-1),
C0t = x'y/(b-1), Ctt = y'y/(b-1) and K = C00^-1/2 C0t Ctt^-1/2, VAMP-1 is the sum of the
singular values of K and VAMP-2 of their squares. The constant function is not counted:
both are at most S - 1 for probabilities. All losses are minimised.

References: Mardt et al., Nat. Commun. 9, 5 (2018); Wu and Noe, J. Nonlinear Sci. 30, 23
(2020); Xie et al., Nat. Commun. 10, 2667 (2019).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.numerics.inverse_sqrt import (
    absolute_and_sign,
    inverse_sqrt,
    product,
    product_of_rows,
    singular_value_sum,
    symmetric,
)

Array = jax.Array | np.ndarray
Weight = Array | None
EPSILON = 1e-6


class Covariances(NamedTuple):
    """Covariances of mean-free outputs.

    Attributes:
      c00: of x with x, [S, S].
      c0t: of x with y, [S, S].
      ctt: of y with y, [S, S].
    """

    c00: Array
    c0t: Array
    ctt: Array


def _centred(chi: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the rows without their mean, [b, S]; 0 where the weight is 0."""
    counts = weight[:, None] > 0
    chi = jnp.where(counts, chi, 0)
    total = jnp.maximum(jnp.sum(weight), 1)
    mean = product(weight, chi) / total
    # in two passes: the mean of float32 rows is itself rounded
    chi = jnp.where(counts, chi - mean[None, :], 0)
    rest = product(weight, chi) / total
    return jnp.where(counts, chi - rest[None, :], 0)


def _weights(chi: Array, weight: Weight) -> jax.Array:
    dtype = jnp.promote_types(chi.dtype, jnp.float32)
    if weight is None:
        return jnp.ones(len(chi), dtype)
    return jnp.asarray(weight, dtype)


def _mean_free(chi0, chit, weight):
    """Returns x, y, the weights and the number of rows, in float32 at least."""
    dtype = jnp.promote_types(jnp.result_type(chi0, chit), jnp.float32)
    chi0, chit = jnp.asarray(chi0, dtype), jnp.asarray(chit, dtype)
    weight = _weights(chi0, weight)
    return _centred(chi0, weight), _centred(chit, weight), weight, jnp.sum(weight)


def _covariances(x, y, weight, count) -> Covariances:
    divisor = jnp.maximum(count - 1, 1)
    wx, wy = x * weight[:, None], y * weight[:, None]
    pairs = ((wx, x), (wx, y), (wy, y))
    return Covariances(*(product_of_rows(a, b) / divisor for a, b in pairs))


def covariances(chi0: Array, chit: Array, weight: Weight = None) -> Covariances:
    """Returns the covariances of two sets of outputs.

    Args:
      chi0: outputs for the frames t, [b, S].
      chit: outputs for the frames t + lag, [b, S].
      weight: of the rows, [b]; padded rows have 0 and count nothing, whatever is in
        them. None counts all rows.
    """
    return _covariances(*_mean_free(chi0, chit, weight))


def whitened(c: Covariances, epsilon: float, mode: str) -> jax.Array:
    """Returns K = C00^-1/2 C0t Ctt^-1/2, [S, S]."""
    r0, rt = (inverse_sqrt(m, epsilon, mode) for m in (c.c00, c.ctt))
    return product(r0, c.c0t, rt)


def score_of_covariances(
    c: Covariances,
    power: int,
    epsilon: float = EPSILON,
    mode: str = "trunc",
    k_eig: int = 0,
) -> jax.Array:
    """Returns VAMP-1 (power 1) or VAMP-2 (power 2) of known covariances.

    Args:
      c: covariances.
      power: of the singular values.
      epsilon: threshold of eigenvalues, see `inverse_sqrt`.
      mode: `trunc`, `regularize` or `clamp`.
      k_eig: how many of the largest singular values count; 0 counts all.
    """
    k = whitened(c, epsilon, mode)
    if power == 2 and not k_eig:
        return jnp.sum(k**2)  # no singular vectors needed
    return singular_value_sum(k, power, k_eig)


def vamp1(
    chi0: Array,
    chit: Array,
    weight: Weight = None,
    epsilon: float = EPSILON,
    mode: str = "trunc",
    k_eig: int = 0,
) -> jax.Array:
    """Returns the VAMP-1 score, without the constant function.

    The arguments are those of `covariances` and `score_of_covariances`.
    """
    return score_of_covariances(
        covariances(chi0, chit, weight), 1, epsilon, mode, k_eig
    )


def vamp2(
    chi0: Array,
    chit: Array,
    weight: Weight = None,
    epsilon: float = EPSILON,
    mode: str = "trunc",
    k_eig: int = 0,
) -> jax.Array:
    """Returns the VAMP-2 score, without the constant function.

    The arguments are those of `covariances` and `score_of_covariances`.
    """
    return score_of_covariances(
        covariances(chi0, chit, weight), 2, epsilon, mode, k_eig
    )


def cross_scores(
    train: Covariances,
    test: Covariances,
    epsilon: float = EPSILON,
    mode: str = "trunc",
    k_eig: int = 0,
) -> dict[str, jax.Array]:
    """Returns the scores that singular functions of one set have on another set.

    With U, V the singular functions and D the singular values of `train`, VAMP-r is of
    the test covariances of U and V, and VAMP-E = tr(2 D U'C0tV - D U'C00U D V'CttV).

    Args:
      train: covariances that give the singular functions.
      test: covariances that they are scored on; `train` itself for plain scores.
      epsilon: threshold of eigenvalues.
      mode: treatment of eigenvalues in the singular functions.
      k_eig: number of singular functions; 0 takes all.

    Returns:
      vamp1, vamp2 and vampe, none with the constant function.
    """
    r0, rt = (inverse_sqrt(m, epsilon, mode) for m in (train.c00, train.ctt))
    u, d, vt = jnp.linalg.svd(product(r0, train.c0t, rt))
    size = k_eig or len(d)
    left, d, right = product(r0, u[:, :size]), d[:size], product(rt, vt[:size].T)
    seen = Covariances(
        product(left.T, test.c00, left),
        product(left.T, test.c0t, right),
        product(right.T, test.ctt, right),
    )
    scaled = Covariances(*(d[:, None] * m for m in seen))
    energy = 2 * jnp.trace(scaled.c0t) - jnp.sum(scaled.c00 * scaled.ctt.T)
    return {
        "vamp1": score_of_covariances(seen, 1, epsilon),
        "vamp2": score_of_covariances(seen, 2, epsilon),
        "vampe": energy,
    }


def vampe(
    chi0: Array,
    chit: Array,
    weight: Weight = None,
    epsilon: float = EPSILON,
    mode: str = "trunc",
) -> jax.Array:
    """Returns the VAMP-E score, for evaluation only.

    The arguments are those of `covariances` and `score_of_covariances`.
    """
    c = covariances(chi0, chit, weight)
    return cross_scores(c, c, epsilon, mode)["vampe"]


def metrics(
    chi0: Array,
    chit: Array,
    weight: Weight = None,
    epsilon: float = EPSILON,
    mode: str = "trunc",
) -> dict[str, jax.Array]:
    """Returns vamp1 and vamp2 of a batch, of one decomposition.

    The arguments are those of `covariances` and `score_of_covariances`.
    """
    k = whitened(covariances(chi0, chit, weight), epsilon, mode)
    singular = jnp.linalg.svd(k, compute_uv=False)
    return {"vamp1": jnp.sum(singular), "vamp2": jnp.sum(k**2)}


def _symmetrised(c: Covariances, epsilon, mode):
    """Returns X = sym(C0t) and r = ((C00 + Ctt) / 2)^-1/2, [S, S] each."""
    return symmetric(c.c0t), inverse_sqrt(0.5 * (c.c00 + c.ctt), epsilon, mode)


def loss_vamp1_exact(chi0, chit, weight=None, epsilon=EPSILON, mode="trunc"):
    """Returns minus the symmetrised VAMP-1, |r X r| in the nuclear norm.

    X = (C0t + C0t')/2 and r = ((C00 + Ctt)/2)^-1/2; its gradient is exact.
    """
    inner, r = _symmetrised(covariances(chi0, chit, weight), epsilon, mode)
    return -singular_value_sum(product(r, inner, r))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _loss_vamp1(chi0, chit, weight, epsilon, mode):
    return _loss_vamp1_forward(chi0, chit, weight, epsilon, mode)[0]


def _loss_vamp1_forward(chi0, chit, weight, epsilon, mode):
    x, y, weight, count = _mean_free(chi0, chit, weight)
    c = _covariances(x, y, weight, count)
    inner, r = _symmetrised(c, epsilon, mode)
    size, sign = absolute_and_sign(product(r, inner, r))
    n01, n00 = product(r, sign, r), -0.5 * product(r, size, r)
    gain = jnp.sum(n00 * (c.c00 + c.ctt)) + 2 * jnp.sum(n01 * inner)
    loss = -gain / (jnp.maximum(count, 1) * x.shape[1])
    scale = -2 / jnp.maximum(count - 1, 1) * weight[:, None]
    grad0 = scale * (product(x, n00) + product(y, n01))
    gradt = scale * (product(y, n00) + product(x, n01))
    return loss, (grad0.astype(chi0.dtype), gradt.astype(chit.dtype))


def _loss_vamp1_backward(epsilon, mode, residual, cotangent):
    del epsilon, mode
    return *((cotangent * g).astype(g.dtype) for g in residual), None


_loss_vamp1.defvjp(_loss_vamp1_forward, _loss_vamp1_backward)


def loss_vamp1(chi0, chit, weight=None, epsilon=EPSILON, mode="trunc"):
    """Returns the original's symmetric VAMP-1 loss, -|r X r| / (b S).

    Its gradient is not that of the score, by intent: the original adds the part of the
    lagged covariance twice, which also drives the outputs outwards, to crisper states.
    Values are 1e-3 to 1e-5, not comparable with those of the other losses.
    """
    chi0, chit = jnp.asarray(chi0), jnp.asarray(chit)
    return _loss_vamp1(chi0, chit, _weights(chi0, weight), epsilon, mode)


def loss_vamp1_score(chi0, chit, weight=None, epsilon=EPSILON, mode="trunc", k_eig=0):
    """Returns minus the VAMP-1 score."""
    return -vamp1(chi0, chit, weight, epsilon, mode, k_eig)


def loss_vamp2(chi0, chit, weight=None, epsilon=EPSILON, mode="trunc", k_eig=0):
    """Returns minus the VAMP-2 score."""
    return -vamp2(chi0, chit, weight, epsilon, mode, k_eig)


# name in --loss_schedule -> function(chi0, chit, weight, epsilon, mode) -> loss
LOSSES: dict[str, Callable[..., Any]] = {
    "vamp2": loss_vamp2,
    "vamp1": loss_vamp1,
    "vamp1_exact": loss_vamp1_exact,
    "vamp1_score": loss_vamp1_score,
}
