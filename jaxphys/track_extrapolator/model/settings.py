"""The network: its size, and what it predicts."""

import dataclasses
from typing import ClassVar

from jaxphys.nn.mlp import ACTIVATIONS
from jaxphys.options import ORIGINAL, option, structural
from jaxphys.track_extrapolator.model.model import ARCHITECTURES
from jaxphys.track_extrapolator.model.parametrisation import NAMES


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """The network: its size, and what it predicts."""

    GROUP: ClassVar = "model"

    name: str = option("track_mlp", "name of the exported model and of its files")
    model: str = structural(
        "medium",
        "network by its name: " + ", ".join(ARCHITECTURES) + ", or custom (--hidden)",
    )
    hidden: tuple[int, ...] = structural(
        (),
        "widths of the hidden layers of --model=custom; empty: a linear model",
        minimum=1,
    )
    activation: str = structural(
        "silu", "activation of the hidden layers", choices=tuple(ACTIVATIONS)
    )
    parametrisation: str = structural(
        "kick",
        "what the network predicts: the state itself, or what is left of it after a "
        "straight line, a kick, or an integral of an approximate field",
        choices=NAMES,
    )
    use_dz: bool = structural(
        False, "feed the constant distance of the planes as sixth input", group=ORIGINAL
    )
    map_step_mm: float = structural(
        100.0,
        "step of the integration of --parametrisation=map",
        unit="mm",
        minimum=1.0,
    )
