"""Recorded cases of the original: case -> function of the file that replays it."""

from jaxphys.hypertrack.replay.cases import CASES, RULES

__all__ = ["CASES", "RULES"]
