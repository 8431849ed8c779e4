"""One lobe of the graph dynamical network: frames to state probabilities of targets.

References: Xie et al., Nat. Commun. 10, 2667 (2019); Dhakane et al., Carbon Trends 11,
100264 (2023), the ferro variant.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from jaxphys.gdynet.model.convolution import (
    CGConv,
    Edges,
    centres,
    expand,
    expand_first,
)
from jaxphys.nn.initializers import linear_bias, linear_kernel

VARIANTS = ("vanilla", "ferro")
NULL_GRADIENTS = ("zero", "keep")

Frames = Mapping[str, jax.Array]


class Output(NamedTuple):
    """What a lobe says about the targets, frame after frame in order of the targets.

    Attributes:
        probs: probability of each state, [B n, S].
        logits: [B n, S].
    """

    probs: jax.Array
    logits: jax.Array


class GDyNet(nn.Module):
    """Maps the environments of target atoms to probabilities of states.

    Frames are a mapping with
    * nbr_lists [B, N, M] int32 and nbr_dists [B, N, M] in angstrom; a leading axis of
      length 1, or none, is a geometry that all frames share: what depends on it alone
      is computed once;
    * directions [B, N, 3], of the ferro variant;
    * weight [B] (optional): 0 for a frame of padding, which enters no statistics;
    * nbr_mask, as nbr_lists (optional): False where an atom has fewer neighbours.

    Attributes:
        atom_fea_len: width of the atoms' features, A.
        n_conv: number of convolutions.
        state_len: number of states, S.
        num_gaussians, cutoff, gaussian: expansion of the distances, see `centres`.
        variant: `vanilla`, or `ferro`, which sees a direction of each atom.
        num_atom_types: rows of the embedding; types are atomic numbers.
        null_gradients: of lin_core.bias, lin_filter.bias and the receiver's part of
            lin_filter, which change nothing in training: `zero` leaves them out, so
            their gradients are exactly 0; `keep` computes with them, as the original,
            and an optimizer amplifies the rounding noise.
        bn_momentum, bn_eps: of batch normalisation.
        remat: compute the edges a second time in the backward pass to save memory.
        dtype: of the products; None takes that of the parameters.
    """

    atom_fea_len: int = 64
    n_conv: int = 3
    state_len: int = 10
    num_gaussians: int = 50
    cutoff: float = 6.0
    variant: str = "vanilla"
    gaussian: str = "original"
    num_atom_types: int = 100
    null_gradients: str = "zero"
    bn_momentum: float = 0.1
    bn_eps: float = 1e-5
    remat: bool = False
    dtype: Any = None

    def setup(self):
        for name, names in (
            ("variant", VARIANTS),
            ("null_gradients", NULL_GRADIENTS),
        ):
            if getattr(self, name) not in names:
                found = getattr(self, name)
                raise ValueError(f"{name}: expected one of {names}, got {found!r}")
        width = self.atom_fea_len
        mu, _ = self.gaussians
        self.embedding = nn.Embed(
            self.num_atom_types, width, embedding_init=initializers.normal(1.0)
        )
        if self.variant == "ferro":
            self.atom_dir_fc = self._dense(3, width)
        layer = nn.remat(CGConv, static_argnums=(3,)) if self.remat else CGConv
        self.convs = [
            layer(
                len(mu), self.null_gradients, self.bn_momentum, self.bn_eps, self.dtype
            )
            for _ in range(self.n_conv)
        ]
        self.conv_to_fc = self._dense(width, width)
        self.fc_state = self._dense(width, self.state_len)

    def _dense(self, inputs: int, out: int) -> nn.Dense:
        bias = linear_bias(inputs)
        return nn.Dense(
            out, dtype=self.dtype, kernel_init=linear_kernel(), bias_init=bias
        )

    @property
    def gaussians(self) -> tuple[np.ndarray, float]:
        """Centres and factor of the expansion of distances."""
        return centres(self.num_gaussians, self.cutoff, self.gaussian)

    def edges(self, frames: Frames, dtype: Any) -> Edges:
        """Returns the edges of frames; `dtype` is that of the statistics."""
        # a geometry that all frames share may come without their axis
        neighbours, distances, mask = (
            frames[name].reshape((-1, *frames[name].shape[-2:]))
            if name in frames
            else None
            for name in ("nbr_lists", "nbr_dists", "nbr_mask")
        )
        if neighbours is None or distances is None:
            raise ValueError("frames need nbr_lists and nbr_dists [B, N, M]")
        distances = jax.lax.stop_gradient(distances).astype(dtype)
        mu, factor = self.gaussians
        features = expand(distances, mu, factor)
        features_t = expand_first(distances, mu, factor)
        if self.dtype is not None:
            features, features_t = (
                f.astype(self.dtype) for f in (features, features_t)
            )
        weight = frames.get("weight")
        if weight is not None:
            weight = weight[:, None, None].astype(dtype)
        if mask is not None:
            weight = mask if weight is None else weight * mask
            weight = weight.astype(dtype)
        return Edges(neighbours, features, features_t, weight, mask)

    def atoms(
        self, frames: Frames, atom_types: jax.Array, train: bool = False
    ) -> list[jax.Array]:
        """Returns the atoms [B, N, A] before and after each convolution."""
        dtype = self.embedding.embedding.dtype
        edges = self.edges(frames, dtype)
        h = self.embedding(atom_types)[None]  # [1, N, A]
        if self.variant == "ferro":
            if "directions" not in frames:
                raise ValueError("the ferro variant needs directions [B, N, 3]")
            h = h + self.atom_dir_fc(frames["directions"].astype(dtype)).astype(dtype)
        weight = frames.get("weight")
        rows = (
            h,
            edges.neighbours,
            edges.features,
            *(() if weight is None else [weight]),
        )
        # one frame stands for all; an exported function has a symbol for their number
        count = next((a.shape[0] for a in rows if a.shape[0] != 1), 1)
        h = jnp.broadcast_to(h, (count, *h.shape[1:]))  # [B, N, A]
        if weight is not None:
            weight = weight[:, None].astype(dtype)
        found = [h]
        for conv in self.convs:
            found.append(conv(found[-1], edges, train, weight))
        return found

    def __call__(
        self,
        frames: Frames,
        atom_types: jax.Array,
        target_index: jax.Array,
        train: bool = False,
    ) -> Output:
        """Returns the states of the targets.

        Args:
            frames: see the class.
            atom_types: atomic numbers, [N].
            target_index: atoms whose states are wanted, [n].
            train: normalise with the statistics of this batch, and remember them.
        """
        h = self.atoms(frames, atom_types, train)[-1][:, target_index]  # [B, n, A]
        h = nn.relu(self.conv_to_fc(nn.relu(h.reshape(-1, h.shape[-1]))))
        logits = self.fc_state(h)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        return Output(nn.softmax(logits, axis=-1), logits)
