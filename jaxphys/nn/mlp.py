"""A multilayer perceptron whose layers line up with `torch.nn.Sequential`."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.nn.initializers import Initializer

from jaxphys.nn.initializers import xavier_normal, zero_bias

ACTIVATIONS: dict[str, Callable] = {
    "tanh": jax.numpy.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),  # PyTorch's default
    "sigmoid": jax.nn.sigmoid,
}


def check_activation(name: str, where: str = "activation") -> str:
    """Returns the name of a known activation.

    Args:
        name: a key of `ACTIVATIONS`.
        where: the file or flag that the name came from.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"{where}: expected one of {', '.join(ACTIVATIONS)}, got {name!r}"
        )
    return name


class MLP(nn.Module):
    """Dense layers with an activation between them and none after the last.

    Parameters are {"dense_0": {"kernel" [in, out], "bias" [out]}, "dense_1": ...}.

    Attributes:
        features: width of every layer, the output included.
        activation: a key of `ACTIVATIONS`.
        kernel_init: draws the kernels.
        bias_init: maps the fan-in of a layer to what draws its bias.
        dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    features: tuple[int, ...]
    activation: str = "tanh"
    kernel_init: Initializer = xavier_normal()
    bias_init: Callable[[int], Initializer] = zero_bias
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., features[-1]] for x [..., in]."""
        activate = ACTIVATIONS[check_activation(self.activation)]
        leading = x.shape[:-1]
        # one leading axis: the gradient with several took twice the time on a CPU
        x = x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x
        for index, width in enumerate(self.features):
            if index:
                x = activate(x)
            x = nn.Dense(
                width,
                dtype=self.dtype,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init(x.shape[-1]),
                name=f"dense_{index}",
            )(x)
        return x.reshape(*leading, x.shape[-1])
