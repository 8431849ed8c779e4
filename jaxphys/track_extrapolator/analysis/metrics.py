"""How far predicted track states lie from the true ones, and what they cost.

All statistics are computed in numpy float64. Position errors are in mm, slope errors
are differences of dx/dz and dy/dz, momenta are in GeV.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from jaxphys.track_extrapolator.physics.propagate import track_ok

MOMENTUM_BINS = ((0, 5), (5, 10), (10, 20), (20, 50), (50, 100))
BATCHES = (1, 1000, 100_000)
_MIRROR_IN = np.array([-1.0, 1.0, -1.0, 1.0, -1.0])
_MIRROR_OUT = np.array([-1.0, 1.0, -1.0, 1.0])


def bin_name(low: float, high: float) -> str:
    """Returns the ending of the keys of a momentum bin, such as `5_10GeV`."""
    return f"{low:g}_{high:g}GeV"


def accuracy(prediction, truth, p_gev, ok=None) -> dict[str, float]:
    """Returns the error statistics of predicted states.

    With r = hypot(dx, dy) [mm] and s = hypot(dtx, dty), the keys are

    - of the original: `mean_error`, `std_error`, `max_error`, `p50_error`,
      `p95_error`, `p99_error`, `pos_mean`, `pos_std`, `pos_median`, `pos_p95`,
      `pos_p99`, `pos_max` (all of r), `slope_mean`, `slope_p95` (of s) and
      `pos_mean_<bin>` for the momentum bins [lo, hi), such as `pos_mean_0_5GeV`;
    - `abs_dx_*` and `abs_dy_*` with the endings of `pos_*`; `slope_std`,
      `slope_median`, `slope_p99`, `slope_max`;
    - in each bin `<q>_{mean,p50,p95}_<bin>` for q = pos, abs_dx, abs_dy, slope, the
      signed means `bias_{x,y,tx,ty}_<bin>` with their standard errors
      `bias_{x,y,tx,ty}_error_<bin>` (two entries at least), and the number of tracks
      `tracks_<bin>`;
    - `tracks`, and over all tracks `bias_{x,y,tx,ty}`;
    - `failed_truth_fraction`: tracks without a valid truth; `failed_fraction`: of the
      other tracks, those whose prediction is not finite or beyond 10 m or a slope of
      10. What is not finite enters no other number.

    A statistic without any entry has no key. Percentiles interpolate linearly,
    standard deviations divide by N.

    Args:
        prediction: predicted x, y, tx, ty at the target plane [N, 4], mm.
        truth: true states [N, 4], mm.
        p_gev: momenta [N], GeV.
        ok: mask [N] of tracks with a valid truth; None: all that are finite.

    Returns:
        The statistics by name.

    Raises:
        ValueError: the shapes do not agree.
    """
    prediction, truth, p_gev, valid = _checked(prediction, truth, p_gev, ok)
    finite = np.isfinite(prediction).all(axis=1)
    good = track_ok(prediction)
    found: dict[str, float] = {"tracks": len(truth)}
    if len(truth):
        found["failed_truth_fraction"] = float(np.mean(~valid))
    if valid.any():
        found["failed_fraction"] = float(np.mean(~good[valid]))
    used = valid & finite
    difference, p_gev = (prediction - truth)[used], p_gev[used]
    if not len(difference):
        return found
    found |= _overall(difference)
    for low, high in MOMENTUM_BINS:
        inside_bin = (p_gev >= low) & (p_gev < high)
        if inside_bin.any():
            found |= _in_bin(difference[inside_bin], bin_name(low, high))
    return found


def _checked(prediction, truth, p_gev, ok):
    prediction, truth = (np.asarray(a, np.float64) for a in (prediction, truth))
    p_gev = np.asarray(p_gev, np.float64)
    n = len(truth)
    if truth.shape != (n, 4) or prediction.shape != (n, 4) or p_gev.shape != (n,):
        raise ValueError(
            "accuracy: expected prediction [N, 4], truth [N, 4] and p_gev [N], got "
            f"{prediction.shape}, {truth.shape} and {p_gev.shape}"
        )
    valid = np.isfinite(truth).all(axis=1)
    if ok is not None:
        ok = np.asarray(ok, bool)
        if ok.shape != (n,):
            raise ValueError(f"accuracy: expected ok [{n}], got {ok.shape}")
        valid &= ok
    return prediction, truth, p_gev, valid


def _sizes(difference: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the sizes of the error that get the same statistics, each [N]."""
    return {
        "pos": np.hypot(difference[:, 0], difference[:, 1]),
        "abs_dx": np.abs(difference[:, 0]),
        "abs_dy": np.abs(difference[:, 1]),
        "slope": np.hypot(difference[:, 2], difference[:, 3]),
    }


def _overall(difference: np.ndarray) -> dict[str, float]:
    found = {}
    for name, size in _sizes(difference).items():
        p50, p95, p99 = np.percentile(size, [50, 95, 99])
        endings = {"mean": size.mean(), "std": size.std(), "max": size.max()}
        endings |= {"median": p50, "p95": p95, "p99": p99}
        found |= {f"{name}_{ending}": float(v) for ending, v in endings.items()}
    original = {"mean": "mean", "std": "std", "max": "max", "p50": "median"}
    original |= {"p95": "p95", "p99": "p99"}
    found |= {f"{old}_error": found[f"pos_{new}"] for old, new in original.items()}
    for name, signed in zip(("x", "y", "tx", "ty"), difference.T, strict=True):
        found[f"bias_{name}"] = float(signed.mean())
    return found


def _in_bin(difference: np.ndarray, ending: str) -> dict[str, float]:
    found: dict[str, float] = {f"tracks_{ending}": len(difference)}
    for name, size in _sizes(difference).items():
        p50, p95 = np.percentile(size, [50, 95])
        found[f"{name}_mean_{ending}"] = float(size.mean())
        found[f"{name}_p50_{ending}"] = float(p50)
        found[f"{name}_p95_{ending}"] = float(p95)
    for name, signed in zip(("x", "y", "tx", "ty"), difference.T, strict=True):
        found[f"bias_{name}_{ending}"] = float(signed.mean())
        if len(signed) > 1:
            error = signed.std(ddof=1) / np.sqrt(len(signed))
            found[f"bias_{name}_error_{ending}"] = float(error)
    return found


def jacobian_error(predicted, truth) -> dict[str, float]:
    """Returns how far predicted transport Jacobians lie from the true ones.

    The error of a track is |J - J_true| / |J_true| in the Frobenius norm of the four
    rows x, y, tx, ty (mm, 1/MeV). In these units d(x, y)/d(q/p) is by far the largest
    element, so the same ratio is given for each column alone as well.

    Args:
        predicted: Jacobians [N, 4 or 5, 5], row = out, column = in.
        truth: true Jacobians [N, 4 or 5, 5]; a fifth row (that of q/p) is left out.

    Returns:
        `jacobian_median`, `jacobian_p95` and `jacobian_median_<column>` for the
        columns x, y, tx, ty, qop. Empty without tracks.

    Raises:
        ValueError: the shapes do not agree.
    """
    predicted, truth = (np.asarray(a, np.float64) for a in (predicted, truth))
    for what, array in (("predicted", predicted), ("truth", truth)):
        if array.ndim != 3 or array.shape[1] not in (4, 5) or array.shape[2] != 5:
            raise ValueError(
                f"jacobian_error, {what}: expected [N, 4 or 5, 5], got {array.shape}"
            )
    if len(predicted) != len(truth):
        raise ValueError(
            f"jacobian_error: expected as many Jacobians as true ones, {len(truth)}, "
            f"got {len(predicted)}"
        )
    if not len(truth):
        return {}
    truth = truth[:, :4]
    difference = predicted[:, :4] - truth
    whole = np.linalg.norm(difference, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
    columns = np.linalg.norm(difference, axis=1) / np.linalg.norm(truth, axis=1)
    median, p95 = np.percentile(whole, [50, 95])
    found = {"jacobian_median": float(median), "jacobian_p95": float(p95)}
    for name, ratio in zip(("x", "y", "tx", "ty", "qop"), columns.T, strict=True):
        found[f"jacobian_median_{name}"] = float(np.median(ratio))
    return found


def charge_mirror_asymmetry(
    predict: Callable[[np.ndarray], np.ndarray], state
) -> dict[str, float]:
    """Returns how much a prediction breaks the mirror symmetry x -> -x, charge -> -charge.

    The symmetry is exact in a field that is even in x with odd Bx, such as
    `gauss_seed`; in a measured field the true motion breaks it too.

    Args:
        predict: states [N, 5] -> states at the target plane [N, 4].
        state: states x, y, tx, ty, q/p [N, 5], mm and 1/MeV.

    Returns:
        `mirror_mean`, `mirror_p50`, `mirror_p95`: distance in mm between the
        prediction and the mirrored prediction of the mirrored state. Empty without
        tracks.
    """  # noqa: E501
    state = np.asarray(state, np.float64)
    if not len(state):
        return {}
    direct = np.asarray(predict(state), np.float64)
    mirrored = np.asarray(predict(state * _MIRROR_IN[None]), np.float64)
    difference = direct - mirrored * _MIRROR_OUT[None]
    distance = np.hypot(difference[:, 0], difference[:, 1])
    p50, p95 = np.percentile(distance, [50, 95])
    return {
        "mirror_mean": float(distance.mean()),
        "mirror_p50": float(p50),
        "mirror_p95": float(p95),
    }


def time_per_track(
    predict: Callable[[np.ndarray], object],
    states,
    batches: Sequence[int] = BATCHES,
    seconds: float = 0.3,
    min_calls: int = 3,
) -> dict[str, float]:
    """Returns the time of a prediction per track, for each batch size separately.

    Every call is waited for, the first call of a batch size (compilation) is not
    counted, and the median of the calls is taken.

    Args:
        predict: states [N, 5] -> numpy or jax arrays.
        states: states [M, 5] that are repeated or cut to the batch size, M > 0.
        batches: batch sizes.
        seconds: a batch size is repeated until this time has passed ...
        min_calls: ... and this many calls are made.

    Returns:
        `time_per_track_us_<batch>` in microseconds.

    Raises:
        ValueError: there is no state to repeat.
    """
    states = np.asarray(states)
    if not len(states):
        raise ValueError("time_per_track: expected at least one state, got none")
    found = {}
    for batch in batches:
        rows = states[np.arange(batch) % len(states)]
        jax.block_until_ready(predict(rows))
        calls = _call_seconds(predict, rows, seconds, min_calls)
        found[f"time_per_track_us_{batch}"] = float(np.median(calls)) / batch * 1e6
    return found


def _call_seconds(predict, rows, seconds: float, min_calls: int) -> list[float]:
    calls: list[float] = []
    end = time.perf_counter() + seconds
    while len(calls) < min_calls or time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(predict(rows))
        calls.append(time.perf_counter() - start)
    return calls


def bin_rows(found: Mapping[str, float]) -> list[tuple[str, dict[str, float]]]:
    """Returns the statistics of `accuracy` by momentum bin.

    Args:
        found: what `accuracy` returned.

    Returns:
        For each bin that holds tracks its text, such as `5–10`, and its statistics
        by the key without the bin.
    """
    rows = []
    for low, high in MOMENTUM_BINS:
        ending = "_" + bin_name(low, high)
        names = [key for key in found if key.endswith(ending)]
        if names:
            inside = {key.removesuffix(ending): found[key] for key in names}
            rows.append((f"{low:g}–{high:g}", inside))
    return rows
