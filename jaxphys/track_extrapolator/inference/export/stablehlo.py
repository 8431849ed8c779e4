"""StableHLO of a prediction through `jax.export`: one file for CPU and CUDA.

Input and output are float32, so the file runs whether or not the caller has switched
JAX to 64 bits; inside, whatever surrounds the network is float64 unless the network
predicts the state itself.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from jaxphys.nn.stablehlo import PLATFORMS, serialised
from jaxphys.track_extrapolator.model.model import TrackMLP
from jaxphys.track_extrapolator.model.surrogate import Surrogate, transport
from jaxphys.track_extrapolator.physics.field import GridField


def export(
    surrogate: Surrogate,
    path: str | os.PathLike | None = None,
    platforms: Sequence[str] = PLATFORMS,
    dtype: str = "float32",
) -> bytes:
    """Returns the serialised program and writes it where a path is given.

    The program maps the columns `surrogate.input_names`, float32 [n, n_in] with any n,
    to x, y [mm], tx, ty, float32 [n, 4]. Weights, statistics and field are inside.

    Args:
        surrogate: the network.
        path: file to write, or None.
        platforms: where the program shall run.
        dtype: arithmetic of the network; "float32" or "float64".
    """
    with jax.enable_x64(True):
        shapes = [(f"n, {surrogate.n_in}", jnp.float32)]
        data = serialised(column_program(surrogate, dtype), shapes, platforms)
    if path is not None:
        pathlib.Path(path).write_bytes(data)
    return data


def load(source: bytes | str | os.PathLike) -> Callable[[Any], jax.Array]:
    """Returns the function in a file or in bytes: float32 [n, n_in] to [n, 4]."""
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    exported = jax_export.deserialize(bytearray(data))
    return lambda columns: exported.call(jnp.asarray(columns, jnp.float32))


def column_program(surrogate: Surrogate, dtype: str = "float32") -> Callable:
    """Returns float32 input columns [n, n_in] -> float32 [n, 4], to trace in 64 bits.

    With fixed planes the column dz, where there is one, goes to the network only.
    """
    recipe = surrogate.recipe(dtype)
    variables = surrogate.variables(dtype)
    if surrogate.parametrisation == "absolute":
        model: Any = TrackMLP(surrogate.hidden, surrogate.activation)
        return lambda x: model.apply(variables, x.astype(dtype)).astype(jnp.float32)
    variables["stats"] = surrogate.variables("float64")["stats"]

    def program(columns):
        inputs = columns.astype(jnp.float64)
        z_in, z_out = surrogate.z_in, surrogate.z_out
        if surrogate.dz_mode == "uniform":
            z_in = inputs[:, surrogate.input_names.index("z_in")]
            z_out = z_in + inputs[:, surrogate.input_names.index("dz")]
        state, field = inputs[:, :5], surrogate.field
        if surrogate.parametrisation == "map" and isinstance(field, GridField):
            # with one z for all, the map compares the batch size, unknown here
            z_in = jnp.broadcast_to(z_in, state.shape[:1])
        out = transport(recipe, variables, state, z_in, z_out, field, inputs)
        return out.astype(jnp.float32)

    return program
