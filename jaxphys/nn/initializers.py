"""Initial weights as PyTorch draws them, in flax layout (kernels are [in, out])."""

import math

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.nn.initializers import Initializer


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Returns N(0, gain * sqrt(2 / (fan_in + fan_out))), as `xavier_normal_`.

    The initializer of JAX with this name draws from a truncated normal instead.
    """
    return initializers.variance_scaling(gain**2, "fan_avg", "normal")


def linear_kernel() -> Initializer:
    """Returns U(-b, b) with b = 1 / sqrt(fan_in), the kernel of `torch.nn.Linear`.

    It is `kaiming_uniform_` with a = sqrt(5).
    """
    return initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def linear_bias(fan_in: int) -> Initializer:
    """Returns U(-b, b) with b = 1 / sqrt(fan_in), the bias of `torch.nn.Linear`.

    Args:
        fan_in: width of the layer's input, which a bias [out] does not know.
    """
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0

    def draw(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def zero_bias(fan_in: int) -> Initializer:
    """Returns zeros, with the signature of `linear_bias`."""
    del fan_in
    return initializers.zeros
