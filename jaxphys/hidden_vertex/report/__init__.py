"""The page of a run."""

from jaxphys.hidden_vertex.report.page import write_report

__all__ = ["write_report"]
