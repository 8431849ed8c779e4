"""What scores say about a run that looks better, or worse, than it is."""

import dataclasses

from jaxphys.gdynet.training.accumulate import SetScores

# parts of S - 1 that are worth a warning
_STATIC, _BIAS, _OVERFIT = 0.1, 0.05, 0.1
_ABOVE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the warnings about scores depend on.

    Attributes:
      num_states: S.
      rows: pairs of frames times targets in a training batch.
      epsilon: threshold of eigenvalues.
      float64: whether scores are computed in float64.
      num_species: different species among the targets.
      lag: of the training, in the unit of `slowest`.
      train_vamp2: VAMP-2 of the whole training set, where known.
      slowest: slowest implied timescale, where known.
    """

    num_states: int
    rows: int
    epsilon: float = 1e-6
    float64: bool = False
    num_species: int = 1
    lag: float = 1.0
    train_vamp2: float | None = None
    slowest: float | None = None


def warnings_at_start(about: Circumstances) -> dict[str, str]:
    """Returns the warnings that need no score, name -> sentence."""
    found, most = {}, about.num_states - 1
    if about.num_species > 1:
        found["static_identity"] = (
            f"targets have {about.num_species} species: labels of the species alone "
            f"give a high VAMP-2; judge by val_vamp2_centred"
        )
    bias = most**2 / max(about.rows - 1, 1)
    if bias > _BIAS * most:
        found["small_batch"] = (
            f"{about.rows} rows in a batch: independent frames score VAMP-2 "
            f"{bias:.3g} on average of at most {most}; raise batch_size"
        )
    if about.epsilon < 1e-8 and not about.float64:
        found["epsilon"] = (
            f"epsilon {about.epsilon:g} is below the rounding of float32 eigenvalues: "
            "scores may exceed their bound; use 1e-6"
        )
    return found


def warnings_of_scores(scores: SetScores, about: Circumstances) -> dict[str, str]:
    """Returns the warnings about the scores of a validation set, name -> sentence.

    Args:
      scores: of the whole set.
      about: the run.
    """
    found, most = {}, about.num_states - 1
    if scores.static > _STATIC * most:
        found["static_identity"] = (
            f"labels of the targets that never change score VAMP-2 {scores.static:.3g} "
            f"of {scores.vamp2:.3g}; without the mean of each target it is "
            f"{scores.centred:.3g}"
        )
    smallest = float(scores.populations.min())
    if smallest < 1e-3 or scores.trace < 1e-6:
        found["collapsed"] = (
            f"a state has mean probability {smallest:.2g} and the trace of C00 is "
            f"{scores.trace:.2g}: fewer states are in use than asked for"
        )
    highest = max(scores.vamp1, scores.vamp2)
    if highest > most + _ABOVE:
        found["score_above_bound"] = (
            f"score {highest:.6g} above the bound {most}: raise epsilon "
            f"({about.epsilon:g})"
        )
    gap = None if about.train_vamp2 is None else about.train_vamp2 - scores.vamp2
    if gap is not None and gap > _OVERFIT * most:
        found["overfit"] = (
            f"training VAMP-2 is {gap:.3g} above that of the validation set"
        )
    if about.slowest is not None and about.slowest < about.lag:
        found["near_lag"] = (
            f"slowest timescale {about.slowest:.4g} below the lag {about.lag:g}: "
            "nothing slow is resolved; shorten tau"
        )
    return found
