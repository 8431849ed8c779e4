"""One self-contained report per run: figures, tables, report.html, report.json."""

from jaxphys.report.document import (
    Report,
    RunPage,
    environment,
    git_revision,
    to_json,
)
from jaxphys.report.figures import Picture
from jaxphys.report.tables import Column, Table, format_number

__all__ = [
    "Column",
    "Picture",
    "Report",
    "RunPage",
    "Table",
    "environment",
    "format_number",
    "git_revision",
    "to_json",
]
