"""Graph autoencoders of events.

A model reads a part of a batch, a mapping of arrays with N nodes in G graphs:

* x [N, 3]: features (log pT, eta, phi) of the nodes, graph after graph;
* graph_index [N]: graph of each node, non-decreasing;
* n_node [G]: nodes of each graph, those of padding included;
* weight [G]: 1 for an event, 0 for a graph that holds padding nodes or nothing;
* neighbours [N, k] (see `Neighbours`), or senders [E], receivers [E] and, where edges
  are weighted, edge_weight [E] (see `Edges`);
* aggregate [N, 3] (optional): `aggregate(x, graph)`, computed when the data was
  prepared, so that the first layer has nothing sparse to do;
* slot [G] (where a model drops): number of the event in the global batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence.torch_weights import Entry, linear
from jaxphys.nn.graph_convolution import Edges, Graph, GraphConvolution, Neighbours
from jaxphys.nn.initializers import linear_bias, linear_kernel
from jaxphys.nn.mlp import MLP
from jaxphys.numerics.segments import segment_mean

Part = Mapping[str, jax.Array]
Keep = Sequence[jax.Array] | None
# log pT, eta, phi of background events, from the original's notebook
ORIGINAL_MEAN = (1.1831, 0.0012, -0.0034)
ORIGINAL_STD = (1.5210, 1.4121, 1.8150)
MOST_NODES = 1024  # of an event; what tells the nodes of one from those of the next


class Reconstruction(NamedTuple):
    """What an autoencoder returns.

    Attributes:
      code: [G, L], or [N, L] where every node has its own.
      x_hat: [N, F], the reconstructed features.
      emitted: [G, F] where all nodes of a graph get the same, else None.
    """

    code: jax.Array
    x_hat: jax.Array
    emitted: jax.Array | None = None


def graph_of(part: Part) -> Graph:
    """Returns the graph of a part, in the faster form where there is one."""
    if "neighbours" in part:
        return Neighbours(part["neighbours"])
    return Edges(part["senders"], part["receivers"], part.get("edge_weight"))


def standardised(
    x_raw: jax.Array,
    mean: Sequence[float] = ORIGINAL_MEAN,
    std: Sequence[float] = ORIGINAL_STD,
) -> jax.Array:
    """Returns ((log max(pT, 1e-8), eta, phi) - mean) / std of (pT, eta, phi) [N, 3]."""
    x = x_raw.at[:, 0].set(jnp.log(jnp.maximum(x_raw[:, 0], 1e-8)))
    shift, scale = (jnp.asarray(values, x.dtype)[None] for values in (mean, std))
    return (x - shift) / scale


def draw_keep(
    key: jax.Array, part: Part, widths: Sequence[int], rate: float
) -> list[jax.Array]:
    """Draws which activations of each node stay, one mask [N, width] per layer.

    A node's masks depend on its event's slot and its place in the event alone, so that
    they are the same however events are padded and split over devices.

    Args:
      key: of the step.
      part: with slot.
      widths: of the layers that drop.
      rate: probability to drop.
    """
    graph, n_node = part["graph_index"], part["n_node"]
    first = jnp.cumsum(n_node) - n_node
    place = jnp.arange(len(graph), dtype=jnp.int32) - first[graph]
    number = part["slot"][graph] * MOST_NODES + place  # [N]

    def draw(layer: int, width: int) -> jax.Array:
        layer_key = jax.random.fold_in(key, layer)

        def one(node: jax.Array) -> jax.Array:
            node_key = jax.random.fold_in(layer_key, node)
            return jax.random.bernoulli(node_key, 1 - rate, (width,))

        return jax.vmap(one)(number)

    return [draw(layer, width) for layer, width in enumerate(widths)]


def _drop(h: jax.Array, keep: Keep, layer: int, rate: float) -> jax.Array:
    if keep is None:
        return h
    return jnp.where(keep[layer], h / (1 - rate), 0)


def torch_mlp(features: tuple[int, ...], dtype: Any = None) -> MLP:
    """Returns an MLP with ReLU whose weights are drawn as `torch.nn.Linear` draws."""
    return MLP(features, "relu", linear_kernel(), linear_bias, dtype)


class GraphEncoder(nn.Module):
    """Graph convolutions, the mean over the nodes, and dense layers to a code.

    Attributes:
      hidden: widths of the graph convolutions, ReLU after each.
      latent_dim: width of the code, L.
      mlp: widths of dense layers before the code, ReLU after each.
      dropout: of the nodes after each convolution.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent_dim: int = 10
    mlp: tuple[int, ...] = ()
    dropout: float = 0.0
    dtype: Any = None

    def setup(self):
        self.conv = [GraphConvolution(width, self.dtype) for width in self.hidden]
        self.head = torch_mlp((*self.mlp, self.latent_dim), self.dtype)

    def nodes(self, part: Part, keep: Keep = None) -> list[jax.Array]:
        """Returns what each convolution makes of the nodes, [N, width]."""
        graph, h, found = graph_of(part), part["x"], []
        for layer, convolution in enumerate(self.conv):
            if layer == 0 and "aggregate" in part:
                h = convolution(part["aggregate"], None)
            else:
                h = convolution(h, graph)
            h = _drop(nn.relu(h), keep, layer, self.dropout)
            found.append(h)
        return found

    def pooled(self, part: Part, keep: Keep = None) -> jax.Array:
        """Returns the mean over the nodes of each graph, [G, hidden[-1]]."""
        h, n_node = self.nodes(part, keep)[-1], part["n_node"]
        return segment_mean(h, part["graph_index"], n_node.shape[0], count=n_node)

    def __call__(self, part: Part, keep: Keep = None) -> jax.Array:
        """Returns the code of each graph, [G, L]."""
        return self.head(self.pooled(part, keep))


class SeedAutoencoder(nn.Module):
    """The seed model: the decoder emits one point per event from its code.

    Attributes:
      hidden, latent_dim, encoder_mlp, dropout: see `GraphEncoder`.
      decoder_hidden: widths of the dense layers of the decoder.
      features: of a node.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    hidden: tuple[int, ...] = (64, 32)
    latent_dim: int = 10
    decoder_hidden: tuple[int, ...] = (64,)
    encoder_mlp: tuple[int, ...] = ()
    dropout: float = 0.0
    features: int = 3
    dtype: Any = None
    code_per_node = False

    def setup(self):
        self.encoder = GraphEncoder(
            self.hidden, self.latent_dim, self.encoder_mlp, self.dropout, self.dtype
        )
        self.decoder = torch_mlp((*self.decoder_hidden, self.features), self.dtype)

    @property
    def dropped_widths(self) -> tuple[int, ...]:
        """Widths of the layers that drop."""
        return self.hidden if self.dropout else ()

    def __call__(self, part: Part, keep: Keep = None) -> Reconstruction:
        """Returns the code and the point of each graph."""
        code = self.encoder(part, keep)
        emitted = self.decoder(code)
        return Reconstruction(code, emitted[part["graph_index"]], emitted)


class NodeAutoencoder(nn.Module):
    """The per-node autoencoder of the original's source tree.

    Attributes:
      hidden: widths (h1, h2) of the graph convolutions; mirrored in the decoder.
      latent_dim: width of the code of a node, L.
      dropout: after the first convolution and after the first layer of the decoder.
      features: of a node.
      dtype: type of the arithmetic; None takes that of inputs and parameters.
    """

    hidden: tuple[int, int] = (16, 8)
    latent_dim: int = 1
    dropout: float = 0.1
    features: int = 3
    dtype: Any = None
    code_per_node = True

    def setup(self):
        self.conv = [GraphConvolution(width, self.dtype) for width in self.hidden]
        self.bottleneck = torch_mlp((self.latent_dim,), self.dtype)
        self.decoder_in = torch_mlp((self.hidden[1],), self.dtype)
        self.decoder_out = torch_mlp((self.hidden[0], self.features), self.dtype)

    @property
    def dropped_widths(self) -> tuple[int, ...]:
        """Widths of the layers that drop."""
        return self.hidden if self.dropout else ()

    def __call__(self, part: Part, keep: Keep = None) -> Reconstruction:
        """Returns the code and the reconstruction of each node."""
        graph = graph_of(part)
        if "aggregate" in part:
            h = self.conv[0](part["aggregate"], None)
        else:
            h = self.conv[0](part["x"], graph)
        h = _drop(nn.relu(h), keep, 0, self.dropout)
        code = self.bottleneck(nn.relu(self.conv[1](h, graph)))
        h = _drop(nn.relu(self.decoder_in(code)), keep, 1, self.dropout)
        return Reconstruction(code, self.decoder_out(h))


def _convolutions(count: int, path: tuple[str, ...]) -> list[Entry]:
    found = []
    for number in range(count):
        name, place = f"conv{number + 1}", (*path, f"conv_{number}")
        found.append(Entry(f"{name}.lin.weight", (*place, "kernel"), transpose=True))
        found.append(Entry(f"{name}.bias", (*place, "bias")))
    return found


def seed_entries(convolutions: int = 2) -> list[Entry]:
    """Returns how the PyTorch names of the seed model pair with those of flax."""
    return [
        *_convolutions(convolutions, ("encoder",)),
        *linear("fc_encode", ("encoder", "head", "dense_0")),
        *linear("fc_decode", ("decoder", "dense_0")),
        *linear("node_reconstructor", ("decoder", "dense_1")),
    ]


def node_entries() -> list[Entry]:
    """Returns how the PyTorch names of the per-node model pair with those of flax."""
    return [
        *_convolutions(2, ()),
        *linear("bottleneck", ("bottleneck", "dense_0")),
        *linear("dec.0", ("decoder_in", "dense_0")),
        *linear("dec.3", ("decoder_out", "dense_0")),
        *linear("dec.5", ("decoder_out", "dense_1")),
    ]


def parameter_count(params: Any) -> int:
    """Returns the number of weights and biases of a tree."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
