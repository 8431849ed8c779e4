"""VAMP scores of a whole data set, from sums over its batches.

Independent x and y of b rows have a mean VAMP-2 of (S - 1)^2 / (b - 1), so a mean over
batches is too high. Here batches are added up first and scored once. The sums are of
x - 1/S: probabilities lie around 1/S, and float32 sums of small numbers lose little.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.gdynet.training.vamp import (
    EPSILON,
    Covariances,
    cross_scores,
    score_of_covariances,
)
from jaxphys.numerics.inverse_sqrt import product_of_rows

Array = jax.Array | np.ndarray


class Sums(NamedTuple):
    """Sums over rows, with x, y the outputs less 1/S; they add up element by element.

    Attributes:
      count: rows of each target, [n].
      x: sum of x of each target, [n, S].
      y: sum of y of each target, [n, S].
      xx: sum of x'x, [S, S].
      xy: sum of x'y, [S, S].
      yy: sum of y'y, [S, S].
    """

    count: Array
    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: Array


class SetScores(NamedTuple):
    """What a data set scores, without the constant function.

    Attributes:
      vamp1: VAMP-1.
      vamp2: VAMP-2.
      vampe: VAMP-E.
      static: VAMP-2 of frames paired with any other frame of the same target, in
        expectation: what labels of the targets score that never change.
      centred: VAMP-2 after the mean over time of each target is removed.
      populations: mean probabilities, [S].
      trace: of C00; 0 for outputs that are all equal.
    """

    vamp1: float
    vamp2: float
    vampe: float
    static: float
    centred: float
    populations: np.ndarray
    trace: float


def batch_sums(
    chi0: Array,
    chit: Array,
    weight: Array | None = None,
    num_targets: int = 1,
) -> Sums:
    """Returns the sums of one batch; made to be compiled, on any number of devices.

    Args:
      chi0: probabilities for the frames t, [B * n, S], frame-major.
      chit: probabilities for the frames t + lag, [B * n, S].
      weight: 1 of rows that count, 0 of padding, [B * n], or [B] for whole frames.
      num_targets: n; rows i, i + n, i + 2n ... are the same target.

    Raises:
      ValueError: the rows are no multiple of the targets.
    """
    rows, states = chi0.shape
    frames = rows // num_targets
    if frames * num_targets != rows:
        raise ValueError(f"batch_sums: {rows} rows for {num_targets} targets")
    dtype = jnp.promote_types(chi0.dtype, jnp.float32)
    given = jnp.ones(frames) if weight is None else jnp.asarray(weight)
    if len(given) == frames:
        given = jnp.repeat(given, num_targets)
    given = given.astype(dtype)

    def shifted(chi):
        chi = jnp.asarray(chi, dtype) - 1 / states
        return jnp.where(given[:, None] > 0, chi, 0)

    def per_target(values):
        return jnp.sum(values.reshape(frames, num_targets, -1), axis=0)  # [n, ...]

    x, y = shifted(chi0), shifted(chit)
    wx, wy = x * given[:, None], y * given[:, None]
    return Sums(
        per_target(given)[:, 0],
        per_target(wx),
        per_target(wy),
        product_of_rows(wx, x),
        product_of_rows(wx, y),
        product_of_rows(wy, y),
    )


def add(total: Sums | None, part: Sums) -> Sums:
    """Returns total + part in float64 on the host; `None` is nothing so far."""
    arrays = [np.asarray(a, np.float64) for a in part]
    if total is None:
        return Sums(*arrays)
    return Sums(*(a + b for a, b in zip(total, arrays, strict=True)))


def covariances_of(sums: Sums) -> dict[str, Covariances]:
    """Returns the covariances `plain`, `static` and `centred` of sums, in float64.

    Args:
      sums: of at least two rows.

    Raises:
      ValueError: there are fewer rows.
    """
    count, sum_x, sum_y, xx, xy, yy = (np.asarray(a, np.float64) for a in sums)
    total = float(np.sum(count))
    if total < 2:
        raise ValueError(f"VAMP scores need two or more rows, got {total:g}")
    own = np.sqrt(np.maximum(count, 1))[:, None]
    raw = np.stack([xx, xy, yy])
    between = _products(sum_x / own, sum_y / own)
    every = [a.sum(axis=0, keepdims=True) / np.sqrt(total) for a in (sum_x, sum_y)]
    mean = _products(*every)
    plain = (raw - mean) / (total - 1)
    static = (between - mean) / (total - 1)
    return {
        "plain": Covariances(*plain),
        "static": Covariances(plain[0], static[1], plain[2]),
        "centred": Covariances(*((raw - between) / (total - 1))),
    }


def _products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns x'x, x'y and y'y, [3, S, S]."""
    return np.stack([x.T @ x, x.T @ y, y.T @ y])


def scores(sums: Sums, epsilon: float = EPSILON, mode: str = "trunc") -> SetScores:
    """Returns the scores of a data set, in float64.

    Args:
      sums: of all its batches.
      epsilon: threshold of eigenvalues.
      mode: treatment of eigenvalues, see `inverse_sqrt`.

    Raises:
      ValueError: there are fewer than two rows.
    """
    found = covariances_of(sums)
    plain = found["plain"]
    with jax.enable_x64(True):
        vamp1 = float(score_of_covariances(plain, 1, epsilon, mode))
        vamp2, static, centred = (
            float(score_of_covariances(found[kind], 2, epsilon, mode))
            for kind in ("plain", "static", "centred")
        )
        vampe = float(cross_scores(plain, plain, epsilon, mode)["vampe"])
    states = sums.x.shape[1]
    return SetScores(
        vamp1,
        vamp2,
        vampe,
        static,
        centred,
        populations=np.sum(sums.x, axis=0) / np.sum(sums.count) + 1 / states,
        trace=float(np.trace(plain.c00)),
    )


def total(found: Sequence[Mapping[str, Any]]) -> Sums:
    """Returns the sums over batches of `step.eval_step`.

    Raises:
      ValueError: there is no batch.
    """
    summed = None
    for batch in found:
        summed = add(summed, batch["sums"])
    if summed is None:
        raise ValueError("an evaluation without batches")
    return summed
