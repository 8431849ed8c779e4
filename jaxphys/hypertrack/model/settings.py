"""Sizes and variants of the nets."""

import dataclasses
from typing import ClassVar

from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetFlags:
    """The net that scores edges, and the transformer."""

    GROUP: ClassVar = "model"

    net: str = structural(
        "tune-5",
        "net that scores the edges: the original's (tune-5), or one with physical "
        "features (fast)",
        choices=("tune-5", "fast"),
    )
    normalize_input: bool = structural(
        False,
        "tune-5: subtract the mean of the positions and divide by their spread",
    )
    nstack: int = structural(5, "tune-5: number of message passing layers", minimum=1)
    h_dim: int = structural(64, "tune-5: width of the state of a hit", minimum=1)
    m_dim: int = structural(64, "tune-5: width of a message", minimum=1)
    z_dim: int = structural(
        61, "width of the latent vector of a hit that the transformer reads", minimum=1
    )
    edge_type: str = structural(
        "symmetric-dot",
        "tune-5: how two hits become the score of an edge",
        choices=("symmetric-dot", "symmetrized", "asymmetric"),
    )
    aggr: str = structural(
        "mean",
        "tune-5: how the messages of the neighbours of a hit are aggregated",
        choices=("mean", "sum", "max"),
    )
    remat: bool = option(
        False, "compute the layers twice in a training step, to save memory"
    )
    nstack_dec: int = structural(
        4, "number of self-attention layers of the transformer", minimum=1
    )
    batchnorm_mode: str = option(
        "eval",
        "statistics of the normalisation of the net in inference: running ones (eval), "
        "or those of the event (train)",
        choices=("eval", "train"),
    )
