"""What a report reconstructs and counts."""

import dataclasses
from typing import ClassVar

from jaxphys.hypertrack.inference import tracker
from jaxphys.options import ORIGINAL, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFlags:
    """Clusterings, tracks that count, and what predict writes."""

    GROUP: ClassVar = "evaluation"

    cluster: str = option(
        "transformer",
        "how edges become tracks; none never trains the transformer",
        choices=tracker.ALGORITHMS,
    )
    jaccard_prob: float = option(
        0.7, "least probability of an edge of --cluster=jaccard"
    )
    jaccard_share: float = option(
        0.5, "least shared part of the neighbours of two hits of --cluster=jaccard"
    )
    rfactor: float = option(
        0.0,
        "fraction of the particles of an event in evaluations and the report; 0: "
        "--rfactor_end",
        minimum=0.0,
        maximum=1.0,
    )
    extra_data: tuple[str, ...] = option(
        (), "further data sets with truth that the report scores"
    )
    compare: tuple[str, ...] = option(
        (), "workdirs of other runs that the report sets beside this one"
    )
    hits_min: int = option(
        4, "least hits of a true track that counts", unit="hits", minimum=1
    )
    hits_max: int = option(
        23, "most hits of a track in the plots of the report", unit="hits", minimum=2
    )
    report_events: int = option(
        8, "validation events that the report reconstructs", unit="events", minimum=1
    )
    retune: bool = option(
        False, "evaluate: choose the options of the simple clusterings anew"
    )
    per_hit: bool = option(
        False, "predict: write a row per hit in place of a row per track"
    )
    predict_start: tuple[int, ...] = option(
        (), "predict: first event numbers of ranges; empty: all events"
    )
    predict_end: tuple[int, ...] = option((), "predict: last event numbers of ranges")
    auc: str = option(
        "exact",
        "AUC of the report: exact, or from the original's sample of thresholds "
        "(compat)",
        choices=("exact", "compat"),
        group=ORIGINAL,
    )
