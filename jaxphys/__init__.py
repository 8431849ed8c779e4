"""Physics training systems in JAX."""

from jaxphys.api import load_run

__all__ = ["load_run"]
