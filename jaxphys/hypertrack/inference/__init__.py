"""A trained run."""

from jaxphys.hypertrack.inference.predict import load

__all__ = ["load"]
