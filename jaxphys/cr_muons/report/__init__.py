"""The page of a run."""

from jaxphys.cr_muons.report.page import write_report

__all__ = ["write_report"]
