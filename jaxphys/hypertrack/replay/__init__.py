"""Recorded cases of the original: name -> how it is replayed and what it holds."""

from jaxphys.hypertrack.replay.cases import CASES, RULES

__all__ = ["CASES", "RULES"]
