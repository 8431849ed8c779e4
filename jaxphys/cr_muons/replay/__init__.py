"""Recorded cases of the original: name -> how it is replayed and what it holds."""

from jaxphys.cr_muons.replay.cases import CASES

__all__ = ["CASES"]
