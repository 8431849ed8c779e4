"""The page of a run."""

from jaxphys.hypertrack.report.page import write_report

__all__ = ["write_report"]
