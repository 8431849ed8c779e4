"""Recorded cases of the original: name -> how it is replayed and what it holds."""

from jaxphys.gdynet.replay.cases import CASES

__all__ = ["CASES"]
