"""The set transformer as the clustering calls it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.inference.micrographs import Masks
from jaxphys.hypertrack.model.set_transformer import SetTransformer


@jax.jit(static_argnums=0)
def _probabilities(transformer, params, features, rows, mask, pivots) -> jax.Array:
    logits: Any = transformer.apply(
        {"params": params}, features[rows], features[pivots], mask
    )
    return jax.nn.sigmoid(logits)


def transformer_masks(
    transformer: SetTransformer, params: Any, features: np.ndarray | jax.Array
) -> Masks:
    """Returns the probabilities of a transformer, compiled once for each shape.

    The features stay on the device; only numbers of nodes go there and probabilities
    come back.

    Args:
      transformer: of the micrographs.
      params: its weights.
      features: latents and coordinates of every node, [N, F].

    Returns:
      A function of rows [B, n], their mask [B, n] and pivots [B, p] to [B, n].
    """
    # few sizes of features, so that events do not compile one by one
    size = 1 << max(int(len(features) - 1).bit_length(), 6)
    held = jnp.pad(jnp.asarray(features), ((0, size - len(features)), (0, 0)))

    def masks(rows: np.ndarray, mask: np.ndarray, pivots: np.ndarray) -> np.ndarray:
        return np.asarray(
            _probabilities(transformer, params, held, rows, mask, pivots)
        )  # fmt: skip

    return masks
