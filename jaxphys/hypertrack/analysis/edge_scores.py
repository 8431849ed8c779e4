"""How well the probabilities of candidate edges separate true from false ones."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Roc(NamedTuple):
    """A ROC curve, from the highest threshold down; each [T].

    Attributes:
      fpr: part of the false edges that pass.
      tpr: part of the true edges that pass.
      threshold: an edge passes when its score is at least this.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def _classes(
    label: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int, int]:
    label, score = np.asarray(label) > 0.5, np.asarray(score)
    if label.shape != score.shape or label.ndim != 1:
        raise ValueError(
            f"label, score: expected [E] each, got {label.shape} and {score.shape}"
        )
    positive = int(label.sum())
    return label, score, positive, len(label) - positive


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Returns the area under the ROC curve, exactly.

    It is the probability that a true edge scores higher than a false one, an equal
    score counting half (the rank statistic of Mann and Whitney).

    Args:
      label: of edges, 0 or 1, [E].
      score: of edges, [E].

    Returns:
      The area; NaN when there is one class only.
    """
    label, score, positive, negative = _classes(label, score)
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(score)
    above = ranks[label].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def roc(label: np.ndarray, score: np.ndarray, most: int = 2000) -> Roc:
    """Returns the ROC curve with a point per different score.

    Args:
      label: of edges, 0 or 1, [E].
      score: of edges, [E].
      most: points to keep, evenly spaced in rank; 0 keeps all.
    """
    label, score, positive, negative = _classes(label, score)
    order = np.argsort(-score, kind="stable")
    sorted_score, passed = score[order], np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(sorted_score)), len(score) - 1)
    last = last[last >= 0]
    tpr = np.append(0.0, passed[last] / max(positive, 1))
    fpr = np.append(0.0, (last + 1 - passed[last]) / max(negative, 1))
    threshold = np.append(np.inf, sorted_score[last])
    if most and len(tpr) > most:
        keep = np.unique(np.linspace(0, len(tpr) - 1, most).astype(int))
        tpr, fpr, threshold = tpr[keep], fpr[keep], threshold[keep]
    return Roc(fpr, tpr, threshold)


def auc_compat(label: np.ndarray, score: np.ndarray, points: int = 256) -> float:
    """Returns the area under a ROC curve at thresholds spaced as in the original.

    With scores shifted to begin at a small positive number, the distances of the
    thresholds from the largest score form a geometric series up to the largest score.
    Agrees with `auc` to about 2e-3.

    Args:
      label: of edges, 0 or 1, [E].
      score: of edges, [E].
      points: thresholds.
    """
    label, score, positive, negative = _classes(label, score)
    if not positive or not negative:
        return float("nan")
    shift = abs(float(score.min())) + 1e-7
    low, high = float(score.min()) + shift, float(score.max()) + shift
    threshold = high - np.geomspace(low, high, points)
    shifted = score.astype(np.float64) + shift
    true, false = np.sort(shifted[label]), np.sort(shifted[~label])
    tpr = 1 - np.searchsorted(true, threshold) / positive
    fpr = 1 - np.searchsorted(false, threshold) / negative
    return float(np.trapezoid(tpr, fpr))


def rates(
    label: np.ndarray, score: np.ndarray, threshold: float
) -> dict[str, float]:  # fmt: skip
    """Returns tpr, fpr and purity of the edges whose score is above a threshold."""
    label, score, positive, negative = _classes(label, score)
    kept = score > threshold
    true = int((kept & label).sum())
    false = int(kept.sum()) - true
    return {
        "tpr": true / positive if positive else float("nan"),
        "fpr": false / negative if negative else float("nan"),
        "purity": true / (true + false) if true + false else float("nan"),
    }


def summarise(
    label: np.ndarray, score: np.ndarray, edge_index: np.ndarray, threshold: float
) -> dict[str, float]:
    """Returns auc, auc_no_self (self edges left out), tpr, fpr and purity.

    Args:
      label: of edges, 0 or 1, [E].
      score: of edges, [E].
      edge_index: [2, E].
      threshold: an edge is kept when its score is above.
    """
    other = edge_index[0] != edge_index[1]
    return {
        "auc": auc(label, score),
        "auc_no_self": auc(np.asarray(label)[other], np.asarray(score)[other]),
        **rates(label, score, threshold),
    }
