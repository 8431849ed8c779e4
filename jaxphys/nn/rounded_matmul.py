"""Products of matrices with rounded operands, and gradients that round theirs too."""

import functools
from typing import Any

import jax
import jax.numpy as jnp


def matmul(x: jax.Array, y: jax.Array, dtype: Any = None) -> jax.Array:
    """Returns x @ y, in float32 also where the operands are rounded to `dtype`.

    Args:
        x: [..., R, in].
        y: [in, out], or [..., in, out] with the leading axes of x.
        dtype: that the operands of this product, and of those of its gradients of
            every order, are rounded to, if it has fewer bits than float32; None keeps
            theirs.
    """
    if dtype is None or jnp.dtype(dtype).itemsize >= 4:
        return x @ y
    if y.ndim > 2 or x.ndim == 2:
        return _rounded(jnp.dtype(dtype), x, y)
    found: Any = _rounded(jnp.dtype(dtype), x.reshape(-1, x.shape[-1]), y)
    return found.reshape(*x.shape[:-1], y.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded(dtype: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(
        x.astype(dtype), y.astype(dtype), preferred_element_type=jnp.float32
    )


def _forward(dtype: Any, x: jax.Array, y: jax.Array) -> Any:
    # the rounded rows are half the memory; both types are those of the gradients
    kept = x.astype(dtype), y
    return _rounded(dtype, x, y), (*kept, jnp.zeros((), x.dtype))


def _backward(dtype: Any, kept: Any, gradient: jax.Array) -> Any:
    # derived by JAX, the products of the gradient would be taken in float32
    x, y, of_x = kept
    to_x: Any = _rounded(dtype, gradient, y.swapaxes(-1, -2))
    to_y: Any = _rounded(dtype, x.swapaxes(-1, -2), gradient)
    return to_x.astype(of_x.dtype), to_y.astype(y.dtype)


_rounded.defvjp(_forward, _backward)
