"""The page of a run."""

from jaxphys.track_extrapolator.report.page import write_report

__all__ = ["write_report"]
