"""The network of the track extrapolator: normalise, dense layers, denormalise."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.nn.mlp import MLP

Array = jax.Array | np.ndarray
N_OUT = 4  # x [mm], y [mm], tx, ty behind the magnet
STATS = ("input_mean", "input_std", "output_mean", "output_std")

ARCHITECTURES: dict[str, tuple[int, ...]] = {
    "tiny": (32, 32),
    "small": (64, 64, 32),
    "medium": (128, 128, 64),
    "base": (256, 256, 128, 64),
    "large": (512, 512, 256, 128),
    "xlarge": (1024, 512, 256, 128),
    "deep": (256, 256, 256, 256, 128),
    "ultra": (1024, 1024, 512, 256, 128),
    "wide": (2048, 1024, 512, 256),
    "deep4": (256,) * 4,
    "deep6": (128,) * 6,
    "wide3": (512,) * 3,
    "wider": (1024, 1024, 512),
}
# The cluster file of the original gives some of these nets other names.
PRODUCTION_NAMES = {
    "tiny": "tiny",
    "small": "small",
    "medium": "medium",
    "large": "base",
    "xlarge": "large",
    "xxlarge": "xlarge",
    "deep4": "deep4",
    "deep5": "deep",
    "deep6": "deep6",
    "wide": "wide3",
    "wider": "wider",
    "ultra": "wide",
}
ARCHITECTURES |= {
    f"production/{name}": ARCHITECTURES[ours] for name, ours in PRODUCTION_NAMES.items()
}


def architecture(name: str, hidden: Sequence[int] | None = None) -> tuple[int, ...]:
    """Returns the hidden widths of a named network.

    Args:
        name: a key of `ARCHITECTURES`, or "custom".
        hidden: the widths of "custom"; an empty list is a linear model.

    Raises:
        ValueError: the name is unknown, "custom" has no widths, or a width is below 1.
    """
    if name == "custom":
        if hidden is None:
            raise ValueError("--model=custom: expected --hidden with widths, got none")
        if any(width < 1 for width in hidden):
            raise ValueError(f"--hidden: expected widths of at least 1, got {hidden}")
        return tuple(hidden)
    if name not in ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, "custom"])
        raise ValueError(f"--model: expected one of {known}, got {name!r}")
    return ARCHITECTURES[name]


def parameter_count(hidden: Sequence[int], n_in: int = 6, n_out: int = N_OUT) -> int:
    """Returns the number of weights and biases of a network."""
    widths = (n_in, *hidden, n_out)
    return sum((rows + 1) * columns for rows, columns in itertools.pairwise(widths))


def statistics(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the float64 mean and standard deviation (ddof 0) of the columns [N, D].

    A constant column gets exactly its value and 1, so that it normalises to 0.
    """
    values = np.asarray(values, np.float64)
    constant = values.min(axis=0) == values.max(axis=0)
    mean = np.where(constant, values[0], values.mean(axis=0))
    return mean, np.where(constant, 1.0, values.std(axis=0))


def identity_stats(n_in: int, n_out: int = N_OUT) -> dict[str, jax.Array]:
    """Returns statistics that change nothing: means 0 and deviations 1."""
    sizes = (n_in, n_in, n_out, n_out)
    fills = (0.0, 1.0, 0.0, 1.0)
    return {
        name: jnp.full(size, fill, jnp.float32)
        for name, size, fill in zip(STATS, sizes, fills, strict=True)
    }


def _as_row(vector: jax.Array, ndim: int) -> jax.Array:
    return vector.reshape((1,) * (ndim - 1) + (-1,))


class TrackMLP(nn.Module):
    """Maps [..., n_in] inputs to [..., n_out] with statistics as constants.

    The variables are {"params": {"network": ...}, "stats": {input_mean, input_std,
    output_mean, output_std}}; only the former are trained.

    Attributes:
        hidden: widths of the hidden layers; empty for a linear model.
        activation: a key of `jaxphys.nn.mlp.ACTIVATIONS`.
        n_out: number of outputs.
        dtype: type of the arithmetic of the layers; None takes that of the inputs.
    """

    hidden: tuple[int, ...]
    activation: str = "silu"
    n_out: int = N_OUT
    dtype: Any = None

    def setup(self):
        self.network = MLP(
            (*self.hidden, self.n_out), activation=self.activation, dtype=self.dtype
        )

    def net(self, xn: jax.Array) -> jax.Array:
        """Returns the normalised output for a normalised input."""
        return self.network(xn)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns net((x - input_mean) / input_std) * output_std + output_mean."""
        if self.is_initializing():
            for name, value in identity_stats(x.shape[-1], self.n_out).items():
                self.put_variable("stats", name, value)
        row = {
            name: _as_row(self.get_variable("stats", name), x.ndim) for name in STATS
        }
        xn = (x - row["input_mean"]) / row["input_std"]
        return self.net(xn) * row["output_std"] + row["output_mean"]


def input_jacobian(model: TrackMLP, variables: Mapping, x: Array) -> jax.Array:
    """Returns dy/dx [N, n_out, n_in] of the whole model for x [N, n_in]."""

    def push(tangent):
        tangents = jnp.broadcast_to(tangent[None, :], x.shape)
        return jax.jvp(lambda v: model.apply(variables, v), (x,), (tangents,))[1]

    columns = jax.vmap(push)(jnp.eye(x.shape[-1], dtype=x.dtype))  # [n_in, N, n_out]
    return jnp.transpose(columns, (1, 2, 0))  # [N, n_out, n_in]
