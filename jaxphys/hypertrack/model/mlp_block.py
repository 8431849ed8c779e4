"""Linear map, activation, batch normalisation: the block that the nets are made of.

The activation comes before the norm. So what a block returns is x * scale + shift with
one scale and one shift per feature, and the next linear map, a mean over edges or a sum
can take them up into its own numbers: nothing of the size of the edges is normalised.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxphys.hypertrack.model.batch_norm import GraphBatchNorm, silu_with_moments
from jaxphys.nn.initializers import linear_bias, linear_kernel
from jaxphys.nn.mlp import ACTIVATIONS
from jaxphys.nn.rounded_matmul import matmul


class Normed(NamedTuple):
    """Rows that wait for their normalisation.

    Attributes:
        rows: [R, A].
        scale: [A].
        shift: [A].
    """

    rows: jax.Array
    scale: jax.Array
    shift: jax.Array

    @property
    def value(self) -> jax.Array:
        """The normalised rows, [R, A]."""
        return self.rows * self.scale[None] + self.shift[None]


Rows = jax.Array | Normed
# (kernel [in, A]) -> the product of the input with it, [R, A]
Product = Callable[[jax.Array], jax.Array]


class Linear(nn.Module):
    """A linear map whose input may wait for its normalisation.

    Attributes:
        in_features: width of the input.
        features: width of the output.
        kernel_init: draws the kernel.
        bias_init: maps the width of the input to what draws the bias.
        dtype: type of the operands of the product.
    """

    in_features: int
    features: int
    kernel_init: Initializer = linear_kernel()
    bias_init: Callable[[int], Initializer] = linear_bias
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Rows | Product) -> jax.Array:
        """Returns [R, features] for rows, or for what multiplies with the kernel."""
        shape = (self.in_features, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", self.bias_init(self.in_features), (self.features,))
        if isinstance(x, Normed):
            bias = bias + jnp.sum(x.shift[:, None] * kernel, 0)
            product = matmul(x.rows, x.scale[:, None] * kernel, self.dtype)
        elif callable(x):
            product = x(kernel)
        else:
            product = matmul(x, kernel, self.dtype)
        return product + bias[None]


class MLPBlock(nn.Module):
    """Blocks of linear map, activation and batch norm, perhaps a linear map at the end.

    Parameters are {"linear_0": {kernel, bias}, "norm_0": {scale, bias}, ...}.

    Attributes:
        sizes: widths, that of the input first.
        last_act: whether the last layer is a block too; else it is linear.
        activation: a key of `ACTIVATIONS`.
        eps: of the norms.
        kernel_init, bias_init, dtype: see `Linear`.
    """

    sizes: tuple[int, ...]
    last_act: bool = True
    activation: str = "silu"
    eps: float = 1e-5
    kernel_init: Initializer = linear_kernel()
    bias_init: Callable[[int], Initializer] = linear_bias
    dtype: Any = None

    def setup(self) -> None:
        """Makes the layers."""
        count = len(self.sizes) - 1
        self.linear = [
            Linear(*pair, self.kernel_init, self.bias_init, self.dtype)
            for pair in zip(self.sizes[:-1], self.sizes[1:], strict=True)
        ]
        self.norm = [
            GraphBatchNorm(size, self.eps)
            for size in self.sizes[1 : count + self.last_act]
        ]

    def __call__(
        self, x: Rows | Product, train: bool, weight: jax.Array
    ) -> jax.Array | Normed:
        """Returns [R, sizes[-1]], waiting for its norm where `last_act` is set.

        Args:
            x: rows, or what multiplies them with the first kernel.
            train: see `GraphBatchNorm`.
            weight: how often a row counts in the norms, [R].
        """
        activate = ACTIVATIONS[self.activation]
        found: Any = x
        for number, linear in enumerate(self.linear):
            found = linear(found)
            if number < len(self.norm):
                if train and self.activation == "silu":
                    again = number > 0 or not callable(x)
                    both: Any = silu_with_moments(found, weight, again)
                    rows, known = both
                else:
                    rows, known = activate(found), None
                found = Normed(rows, *self.norm[number](rows, train, weight, known))
        return found
