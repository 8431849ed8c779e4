"""How anomalous an event is: its loss, and how far its code lies from the others.

Statistics are taken on the host in float64, on numpy arrays with one entry per event;
the higher a score, the more anomalous.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxphys.numerics.segments import segment_max, segment_mean

REDUCTIONS = ("mean", "max")
RIDGE = 1e-6  # added to the covariance of codes, which collapsed ones make singular


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
