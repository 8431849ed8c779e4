"""Sizes and variants of the network."""

import dataclasses
from typing import ClassVar

from jaxphys.gdynet.model.convolution import GAUSSIANS
from jaxphys.gdynet.model.model import NULL_GRADIENTS
from jaxphys.options import ORIGINAL, option, structural

# name -> networks of the frames t and t + lag
LOBES = {"separate": ("lobe_0", "lobe_t"), "shared": ("lobe_0",)}
MODEL_TYPES = {"gdynet_vanilla": "vanilla", "gdynet_ferro": "ferro"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Sizes and variants of the network."""

    GROUP: ClassVar = "model"

    model_type: str = structural(
        "gdynet_vanilla",
        "variant of the network: gdynet_ferro sees a direction of each atom",
        choices=tuple(MODEL_TYPES),
    )
    cutoff: float = structural(
        6.0,
        "distance of the last Gaussian that a distance is expanded in",
        unit="angstrom",
        minimum=0.1,
    )
    num_gaussians: int = structural(
        50, "number of Gaussians that a distance is expanded in", minimum=2
    )
    gaussian: str = structural(
        "original",
        "expansion of distances in Gaussians",
        choices=GAUSSIANS,
        group=ORIGINAL,
    )
    atom_fea_len: int = structural(64, "width of the features of an atom", minimum=1)
    n_conv: int = structural(3, "number of graph convolutions", minimum=0)
    state_len: int = structural(10, "number of states", minimum=1)
    lobes: str = structural(
        "separate",
        "networks of the two frames of a pair: separate ones, or one that both share",
        choices=tuple(LOBES),
    )
    bn_momentum: float = structural(
        0.1,
        "weight of a batch in the running statistics of the normalisation",
        minimum=0.0,
        maximum=1.0,
    )
    bn_eps: float = structural(
        1e-5, "number that is added to variances in the normalisation", minimum=0.0
    )
    null_gradients: str = structural(
        "zero",
        "gradients that are zero in theory: set to zero, or left as rounding makes "
        "them",
        choices=NULL_GRADIENTS,
    )
    remat: bool = option(
        False, "compute the edges twice in a training step, to save memory"
    )
