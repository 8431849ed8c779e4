"""What an evaluation compares, and what a prediction holds."""

import dataclasses
from typing import ClassVar

from jaxphys.cr_muons.data.writers import PREDICTION_SCHEMAS
from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFlags:
    """Comparisons of the report, and generated events for the user."""

    GROUP: ClassVar = "evaluation"

    report_events: int = option(
        100_000,
        "events that are simulated for the report to compare with, where no data are "
        "named",
        unit="events",
        minimum=100,
    )
    best_by: str = structural(
        "w1_sum",
        "figure of the validation that is least at the best weights: summed "
        "Wasserstein distances, or AUC of a classifier of true against generated "
        "events",
        choices=("w1_sum", "classifier_auc"),
    )
    compare: tuple[str, ...] = option(
        (), "workdirs of other runs that the report sets beside this one"
    )
    extra_data: tuple[str, ...] = option(
        (), "files or folders of further events that the report compares with"
    )
    reference: str = option(
        "",
        "CSV file with multiplicities, radii and energies of single muons at depths "
        "and zenith angles that the report compares with",
    )
    baseline: bool = option(True, "train a regression to compare with in the report")
    counts_mode: str = option(
        "predict",
        "predict: where the number of muons of an event comes from",
        choices=("predict", "column", "constant"),
    )
    counts_column: str = option(
        "", "predict: column that holds the numbers of --counts_mode=column"
    )
    count_constant: int = option(
        0, "predict: the number of --counts_mode=constant", unit="muons", minimum=0
    )
    output_schema: str = option(
        "flat",
        "predict: write a row per muon as the original (flat), or training files",
        choices=PREDICTION_SCHEMAS,
    )
