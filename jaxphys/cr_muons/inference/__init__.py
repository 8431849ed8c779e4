"""A trained run."""

from jaxphys.cr_muons.inference.predict import load

__all__ = ["load"]
