"""A trained run."""

from jaxphys.hidden_vertex.inference.predict import load

__all__ = ["load"]
