"""Programs for other languages: a compiled function as bytes of StableHLO."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import export

from jaxphys.data.files import replace_file

PLATFORMS = ("cpu", "cuda")
Arguments = Sequence[tuple[str, Any]]


def serialised(
    program: Callable[..., Any],
    arguments: Arguments,
    platforms: Sequence[str] = PLATFORMS,
) -> bytes:
    """Returns a program as bytes of StableHLO, for `jax.export.deserialize`.

    Args:
      program: of arrays; one that it has no use for stays an argument all the same.
      arguments: symbolic shape and type of each array, such as ("n, 3", "float32"): a
        letter stands for any size, the same wherever it appears.
      platforms: where the program shall run.
    """
    scope = export.SymbolicScope()
    shapes = [
        jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), kind)
        for shape, kind in arguments
    ]
    compiled = jax.jit(program, keep_unused=True)
    exported = export.export(compiled, platforms=tuple(platforms))(*shapes)
    return bytes(exported.serialize())


def write(
    path: str | os.PathLike, program: Callable[..., Any], arguments: Arguments
) -> pathlib.Path:
    """Writes a program (see `serialised`) to a file, and returns its path."""
    with replace_file(path) as file:
        file.write(serialised(program, arguments))
    return pathlib.Path(path)
