"""A trained run."""

from jaxphys.gdynet.inference.predict import load

__all__ = ["load"]
