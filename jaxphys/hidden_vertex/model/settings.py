"""Graphs, sizes and variants of the autoencoder."""

import dataclasses
from typing import ClassVar

from jaxphys.options import ORIGINAL, structural

KINDS = ("conditional", "seed", "node")
VIEWS = ("jets", "event", "gcn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Graphs, sizes and variants of the autoencoder."""

    GROUP: ClassVar = "model"

    model: str = structural(
        "conditional",
        "autoencoder, see the table in the README",
        choices=KINDS,
    )
    view: str = structural(
        "jets",
        "what --model=conditional sees of an event",
        choices=VIEWS,
    )
    graph: str = structural(
        "",
        "edges of a graph: nearest neighbours (knn), or all within --radius; empty: "
        "those of --model",
        choices=("", "knn", "radius"),
    )
    k: int = structural(
        6, "nearest neighbours of a particle of --graph=knn", minimum=1, maximum=699
    )
    radius: float = structural(
        0.4, "largest distance in (eta, phi) of an edge of --graph=radius", minimum=1e-6
    )
    periodic_phi: bool = structural(
        False, "join neighbours across phi = pi, which the original does not"
    )
    jets: str = structural(
        "cones",
        "jets of an event: two cones R = 1.0, or anti-kT by fastjet (extra events)",
        choices=("cones", "fastjet"),
    )
    feature_stats: str = structural(
        "train",
        "mean and spread by which --model=node standardises its features: of the "
        "training events, or the original's numbers",
        choices=("train", "original"),
        group=ORIGINAL,
    )
    latent_dim: int = structural(
        0, "width of the code; 0: that of --model", minimum=0, maximum=4096
    )
    hidden_layers: tuple[int, ...] = structural(
        (), "widths of the graph convolutions; empty: those of --model", minimum=1
    )
    decoder_hidden: tuple[int, ...] = structural(
        (),
        "widths of the hidden layers of the decoder; empty: those of --model",
        minimum=1,
    )
    encoder_mlp: tuple[int, ...] = structural(
        (), "widths of dense layers in front of the code; empty: none", minimum=1
    )
    dropout: float = structural(
        -1.0,
        "fraction of the features of a node that is dropped after a convolution; -1: "
        "that of --model",
        minimum=-1.0,
        maximum=0.95,
    )
