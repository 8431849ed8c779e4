"""Autoencoders that reconstruct energies given the places of the particles.

The places (geometry) are handed to the decoder, the code is computed from the whole
set; so the model says which energies it expects where, and how surely. Three views of
an event: its two jets, its hardest particles in a frame of its own, or the graph.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import glorot_uniform

from jaxphys.hidden_vertex.model.model import (
    GraphEncoder,
    Keep,
    Part,
    Reconstruction,
    torch_mlp,
)
from jaxphys.nn.mlp import MLP

MIN_FRACTION = 1e-5  # smallest share of a jet's pT whose logarithm is taken


class View(NamedTuple):
    """Sets of M members as the network sees them.

    Attributes:
      inputs: [..., M, 3] of the encoder: logarithm of the energy, two coordinates.
      position: [..., M, 2] of the decoder.
      weight: [..., M] share of the energy, 0 for padding.
      mask: [..., M] True for members that are there.
      target: [..., M] logarithm of the energy, 0 for padding.
    """

    inputs: jax.Array
    position: jax.Array
    weight: jax.Array
    mask: jax.Array
    target: jax.Array


def jets_view(constituents: jax.Array | np.ndarray) -> View:
    """Returns the view of jets.

    Args:
      constituents: [..., M, 3] share w of the jet's pT, coordinates x, y in the frame
        of the jet; w = 0 for padding.
    """
    constituents = jnp.asarray(constituents)
    weight, xy = constituents[..., 0], constituents[..., 1:]
    mask = weight > 0
    target = jnp.where(mask, jnp.log(jnp.maximum(weight, MIN_FRACTION)), 0)
    inputs = jnp.concatenate([target[..., None] / 4, 3 * xy], axis=-1)
    return View(inputs, 5 * xy, weight, mask, target)


def event_view(particles: jax.Array | np.ndarray) -> View:
    """Returns the view of whole events.

    Args:
      particles: [..., M, 3] pT in GeV, eta, phi of the hardest particles, turned so
        that the leading cone lies at phi = 0 and eta > 0; pT = 0 for padding.
    """
    particles = jnp.asarray(particles)
    pt, place = particles[..., 0], particles[..., 1:]
    mask = pt > 0
    target = jnp.where(mask, jnp.log(jnp.where(mask, pt, 1) + 1e-8), 0)
    total = jnp.sum(pt, axis=-1, keepdims=True)
    weight = pt / jnp.where(total > 0, total, 1)
    inputs = jnp.concatenate([target[..., None] / 3, place / 2], axis=-1)
    return View(inputs, place / 2, weight, mask, target)


class ConditionalAutoencoder(nn.Module):
    """Code of a set of particles; energies from the code and the places.

    Attributes:
      latent_dim: width of the code, L.
      outputs: 2 (mean and logarithm of the variance of an energy) or 1 (mean).
      width: of all hidden layers.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    latent_dim: int = 6
    outputs: int = 2
    width: int = 64
    dtype: Any = None

    def setup(self):
        w = self.width
        self.embed = self._mlp((w, w, w))
        self.head = self._mlp((w, self.latent_dim))
        self.decoder = self._mlp((w, w, self.outputs))

    def _mlp(self, features: tuple[int, ...]) -> MLP:
        kernel = glorot_uniform()
        return MLP(features, "relu", kernel_init=kernel, dtype=self.dtype)

    def encode(self, view: View) -> jax.Array:
        """Returns the code of each set, [..., L]."""
        phi = self.embed(view.inputs)  # [..., M, width]
        phi = jnp.where(view.mask[..., None], phi, 0)
        count = jnp.maximum(jnp.sum(view.mask, axis=-1, keepdims=True), 1)
        mean = jnp.sum(phi, axis=-2) / count.astype(phi.dtype)
        shared = jnp.sum(phi * view.weight[..., None], axis=-2)
        pooled = jnp.concatenate([mean, shared], axis=-1)  # [..., 2 width]
        return self.head(nn.relu(pooled))

    def __call__(self, view: View) -> tuple[jax.Array, jax.Array]:
        """Returns the prediction [..., M, outputs] and the code [..., L]."""
        code = self.encode(view)
        shape = (*view.mask.shape, self.latent_dim)
        spread = jnp.broadcast_to(code[..., None, :], shape)  # [..., M, L]
        inputs = jnp.concatenate([view.position, spread], axis=-1)
        return self.decoder(inputs), code


class ConditionalGraphAutoencoder(nn.Module):
    """The seed's encoder with a decoder (code, eta, phi) -> log pT of each node.

    Attributes:
      hidden, latent_dim, encoder_mlp, dropout: see `GraphEncoder`.
      decoder_hidden: widths of the dense layers of the decoder.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent_dim: int = 10
    decoder_hidden: tuple[int, ...] = (64, 64)
    encoder_mlp: tuple[int, ...] = ()
    dropout: float = 0.0
    dtype: Any = None
    code_per_node = False

    def setup(self):
        self.encoder = GraphEncoder(
            self.hidden, self.latent_dim, self.encoder_mlp, self.dropout, self.dtype
        )
        self.decoder = torch_mlp((*self.decoder_hidden, 1), self.dtype)

    @property
    def dropped_widths(self) -> tuple[int, ...]:
        """Widths of the layers that drop."""
        return self.hidden if self.dropout else ()

    def __call__(self, part: Part, keep: Keep = None) -> Reconstruction:
        """Returns the code of each graph and log pT [N, 1] of each node."""
        code = self.encoder(part, keep)
        spread = code[part["graph_index"]]  # [N, L]
        inputs = jnp.concatenate([spread, part["x"][:, 1:]], axis=1)
        return Reconstruction(code, self.decoder(inputs))
