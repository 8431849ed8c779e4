"""Physics training systems in JAX."""

from jaxphys.api import Run, load_run

__all__ = ["Run", "load_run"]
