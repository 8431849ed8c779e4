"""The page of a run."""

from jaxphys.gdynet.report.page import write_report

__all__ = ["write_report"]
