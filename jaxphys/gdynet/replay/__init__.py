"""Recorded cases of the original: case -> function of the file that replays it."""

from jaxphys.gdynet.replay.cases import CASES

__all__ = ["CASES"]
