"""How anomalous an event is, and how well a score tells signal from background.

Everything here runs on the host in float64, on numpy arrays with one entry per event.
Labels are 0 (background) and 1 (signal); the higher a score, the more anomalous.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxphys.numerics.segments import segment_max, segment_mean

REDUCTIONS = ("mean", "max")
RIDGE = 1e-6  # added to the covariance of codes, which collapsed ones make singular
SIC_MIN_BACKGROUND = 10


def graph_score(
    node_error: jax.Array | np.ndarray,
    graph_index: jax.Array | np.ndarray,
    num_graphs: int,
    reduction: str = "mean",
) -> jax.Array:
    """Returns the mean or the largest error of the nodes of each graph, [G].

    Args:
      node_error: [N].
      graph_index: [N].
      num_graphs: G; a graph without nodes gets 0.
      reduction: "mean" or "max".

    Raises:
      ValueError: an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"score reduction: expected one of {REDUCTIONS}, got {reduction!r}"
        )
    reduce = segment_mean if reduction == "mean" else segment_max
    return reduce(node_error, graph_index, num_graphs)


@dataclasses.dataclass(frozen=True, eq=False)
class LatentStatistics:
    """Where the codes of the training events lie.

    Attributes:
      mean: [J, L] for J codes of an event.
      covariance: [J, L, L], with `RIDGE` on the diagonal.
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, code: np.ndarray) -> "LatentStatistics":
        """Takes the statistics of codes [E, J, L] or, with one each, [E, L].

        Raises:
          ValueError: fewer than two events or codes that are not finite.
        """
        code = _codes(code)
        if len(code) < 2 or not np.all(np.isfinite(code)):
            raise ValueError(
                f"codes: expected finite numbers of 2 events or more, got {code.shape}"
                f" with {np.sum(~np.isfinite(code))} not finite"
            )
        mean = code.mean(axis=0)
        off = code - mean
        covariance = np.einsum("eja,ejb->jab", off, off) / (len(code) - 1)
        return cls(mean, covariance + RIDGE * np.eye(code.shape[-1]))

    def distance(self, code: np.ndarray) -> np.ndarray:
        """Returns the Mahalanobis distance, summed over the codes of an event, [E]."""
        off = _codes(code) - self.mean  # [E, J, L]
        solved = np.linalg.solve(self.covariance, off.transpose(1, 2, 0))  # [J, L, E]
        square = np.einsum("eja,jae->ej", off, solved)
        return np.sqrt(np.maximum(square, 0)).sum(axis=1)


def _codes(code: np.ndarray) -> np.ndarray:
    code = np.asarray(code, np.float64)
    return code[:, None] if code.ndim == 2 else code


class Scale(NamedTuple):
    """Mean and standard deviation of a number over the training events."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """Takes the statistics; a constant gets the deviation 1."""
        values = np.asarray(values, np.float64)
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns (values - mean) / std."""
        return (np.asarray(values, np.float64) - self.mean) / self.std


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreStatistics:
    """What the scores of new events are measured against: the training events.

    Attributes:
      latent: of the codes.
      nll: of the losses of events.
      log_latent: of the logarithm of the latent distance.
    """

    latent: LatentStatistics
    nll: Scale
    log_latent: Scale

    @classmethod
    def of(cls, nll: np.ndarray, code: np.ndarray) -> "ScoreStatistics":
        """Takes the statistics of losses [E] and codes [E, J, L] or [E, L]."""
        latent = LatentStatistics.of(code)
        log_latent = Scale.of(_log(latent.distance(code)))
        return cls(latent, Scale.of(nll), log_latent)

    def scores(self, nll: np.ndarray, code: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the scores of events: nll, latent and combined, each [E]."""
        latent = self.latent.distance(code)
        combined = self.nll(nll) + self.log_latent(_log(latent))
        nll = np.asarray(nll, np.float64)
        return {"nll": nll, "latent": latent, "combined": combined}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns plain arrays, to save them."""
        return {
            "latent_mean": self.latent.mean,
            "latent_covariance": self.latent.covariance,
            "nll_scale": np.array(self.nll),
            "log_latent_scale": np.array(self.log_latent),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "ScoreStatistics":
        """Inverts `to_arrays`."""
        latent = LatentStatistics(arrays["latent_mean"], arrays["latent_covariance"])
        scales = [
            Scale(*(float(v) for v in arrays[name]))
            for name in ("nll_scale", "log_latent_scale")
        ]
        return cls(latent, *scales)


def _log(distance: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(distance, np.finfo(np.float64).tiny))


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
