"""What a report measures, and what export writes."""

import dataclasses
from typing import ClassVar

from jaxphys.options import option

LAYOUTS = ("v2", "A", "cpp_colmajor")
FORMATS = (*LAYOUTS, "onnx", "stablehlo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationFlags:
    """What a report measures, and what export writes."""

    GROUP: ClassVar = "evaluation"

    formats: tuple[str, ...] = option(
        ("v2",), "forms of the files that export writes", choices=FORMATS
    )
    report_batches: tuple[int, ...] = option(
        (1, 1000, 100_000),
        "numbers of tracks in a call at which the report times every method",
        unit="tracks",
        minimum=1,
    )
    report_jacobians: int = option(
        500, "tracks on which the report compares Jacobians", unit="tracks", minimum=0
    )
