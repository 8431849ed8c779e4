"""How well a score tells signal from background.

Everything here runs on the host in float64, on numpy arrays with one entry per event.
Labels are 0 (background) and 1 (signal); the higher a score, the more anomalous.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SIC_MIN_BACKGROUND = 10


class RocCurve(NamedTuple):
    """Rates above falling thresholds; the first threshold is infinite.

    Attributes:
      fpr: fraction of the background with a score >= threshold.
      tpr: the same of the signal.
      thresholds: distinct scores.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


def _counts(label: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, ...]:
    """Returns background and signal that pass each distinct score, highest first."""
    label, score = np.asarray(label), np.asarray(score, np.float64)
    if label.shape != score.shape or label.ndim != 1:
        raise ValueError(
            f"scores: expected one per label, got {score.shape} for {label.shape}"
        )
    signal = label > 0
    if not signal.any() or signal.all() or not np.all(np.isfinite(score)):
        raise ValueError(
            "scores: expected finite numbers of background and signal, got "
            f"{np.sum(~signal)} background, {np.sum(signal)} signal, "
            f"{np.sum(~np.isfinite(score))} not finite"
        )
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    passing = np.cumsum(signal[order])[last]
    return last + 1 - passing, passing, score[order][last]


def roc_curve(
    label: ArrayLike, score: ArrayLike, drop_intermediate: bool = True
) -> RocCurve:
    """Returns the ROC curve, that of scikit-learn.

    Args:
      label: [E].
      score: [E].
      drop_intermediate: leave out thresholds on a straight piece of the curve.

    Raises:
      ValueError: there is no signal, no background, or a score is not finite.
    """
    false, true, thresholds = _counts(label, score)
    total = false[-1], true[-1]
    if drop_intermediate and len(false) > 2:
        bends = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.concatenate([[True], bends, [True]])
        false, true, thresholds = false[kept], true[kept], thresholds[kept]
    rates = [np.append(0.0, n / t) for n, t in zip((false, true), total, strict=True)]
    return RocCurve(rates[0], rates[1], np.append(np.inf, thresholds))


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Returns the area under the ROC curve: P(signal > background), ties half."""
    curve = roc_curve(label, score, drop_intermediate=False)
    return float(np.trapezoid(curve.tpr, curve.fpr))


class Sic(NamedTuple):
    """Significance improvement at the best cut: epsS / sqrt(epsB)."""

    value: float
    signal_efficiency: float
    background_efficiency: float
    threshold: float


def sic_curve(
    label: ArrayLike, score: ArrayLike, min_background: int = SIC_MIN_BACKGROUND
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns epsS, epsB, epsS / sqrt(epsB) and the threshold of each distinct cut.

    Args:
      label: [E].
      score: [E].
      min_background: cuts that fewer background events pass are left out.
    """
    false, true, thresholds = _counts(label, score)
    enough = false >= max(min_background, 1)
    background, signal = false[enough] / false[-1], true[enough] / true[-1]
    return signal, background, signal / np.sqrt(background), thresholds[enough]


def max_sic(
    label: ArrayLike, score: ArrayLike, min_background: int = SIC_MIN_BACKGROUND
) -> Sic:
    """Returns the best cut; 0 where no cut keeps enough background."""
    signal, background, sic, thresholds = sic_curve(label, score, min_background)
    if not len(sic):
        return Sic(0.0, 0.0, 0.0, float("inf"))
    best = int(np.argmax(sic))
    columns = (sic, signal, background, thresholds)
    return Sic(*(float(column[best]) for column in columns))


def top_events(score: ArrayLike, k: int) -> np.ndarray:
    """Returns the positions of the k highest scores, ascending; stable in ties."""
    order = np.argsort(np.asarray(score), kind="stable")
    return order[max(len(order) - k, 0) :]


def precision(label: ArrayLike, score: ArrayLike, k: int) -> float:
    """Returns the fraction of signal among the k highest scores."""
    return float(np.mean(np.asarray(label)[top_events(score, k)] > 0))


def separation(label: ArrayLike, score: ArrayLike) -> float:
    """Returns the mean score of the signal over that of the background."""
    score, signal = np.asarray(score, np.float64), np.asarray(label) > 0
    return float(score[signal].mean() / score[~signal].mean())


def signal_efficiency(
    label: ArrayLike, score: ArrayLike, fpr: float | np.ndarray
) -> np.ndarray:
    """Returns the fraction of the signal kept at rates of background, interpolated."""
    curve = roc_curve(label, score, drop_intermediate=False)
    return np.asarray(np.interp(fpr, curve.fpr, curve.tpr))
