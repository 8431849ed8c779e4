"""A trained run."""

from jaxphys.track_extrapolator.inference.predict import load

__all__ = ["load"]
