"""Recorded cases of the original: name -> how it is replayed and what it holds."""

from jaxphys.hidden_vertex.replay.cases import CASES, RULES

__all__ = ["CASES", "RULES"]
