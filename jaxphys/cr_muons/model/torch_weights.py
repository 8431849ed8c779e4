"""Weights of the original's PyTorch modules (gen.* and crit.*) and ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.equivalence import torch_weights
from jaxphys.equivalence.torch_weights import Entry, Path

EMA_NAME = "crit._score_norm_ema"
_NUM_MULTIPLICITY_LAYERS = 4
_NUM_LOCAL_LAYERS = 3


def entries(settings: GanSettings, networks: tuple[str, ...]) -> list[Entry]:
    """Returns the pairs of PyTorch names and paths in {"generator", "critic"}.

    Args:
        settings: of the model.
        networks: of "generator" and "critic", those that are wanted.
    """
    found: list[Entry] = []
    if "generator" in networks:
        for i in range(_NUM_MULTIPLICITY_LAYERS):
            path = ("generator", "multiplicity_net", f"dense_{i}")
            found += torch_weights.linear(f"gen.multiplicity_net.{2 * i}", path)
        found += _normed("gen.global_net", ("generator", "global_net"), 2, True)[0]
        for i in range(_NUM_LOCAL_LAYERS):
            path = ("generator", "local_net", f"dense_{i}")
            found += torch_weights.linear(f"gen.local_net.{2 * i}", path)
    if "critic" in networks:
        normed = settings.normed_critic
        found += _normed("crit.point_net", ("critic", "point_net"), 2, normed)[0]
        layers = len(settings.decision_widths)
        name, path = "crit.decision_net", ("critic", "decision_net")
        hidden, place = _normed(name, path, layers, normed)
        found += hidden + torch_weights.linear(f"{name}.{place}", (*path, "out"))
    return found


def _normed(
    name: str, path: Path, layers: int, normed: bool
) -> tuple[list[Entry], int]:
    """Returns the entries of linear layers with normalisations, and the next place."""
    found: list[Entry] = []
    place = 0
    for i in range(layers):
        layer = (*path, f"layer_{i}")
        found += torch_weights.linear(f"{name}.{place}", (*layer, "dense"))
        if normed:
            found.append(Entry(f"{name}.{place + 1}.weight", (*layer, "scale")))
            found.append(Entry(f"{name}.{place + 1}.bias", (*layer, "shift")))
        place += 3 if normed else 2
    return found, place


def to_state_dict(
    params: Mapping[str, Any], settings: GanSettings
) -> dict[str, np.ndarray]:
    """Returns the weights under the names of the original.

    Args:
        params: {"generator", "critic"} or one of them.
        settings: of the model.
    """
    return torch_weights.to_torch(params, entries(settings, tuple(params)))


def from_state_dict(
    state_dict: Mapping[str, np.ndarray], settings: GanSettings
) -> dict[str, Any]:
    """Returns {"generator", "critic"} (or one of them) of the original's weights.

    Args:
        state_dict: names that begin with gen. or crit., as `to_state_dict` gives them;
            the running mean of |raw| is passed over.
        settings: of the model.

    Raises:
        ValueError: names are missing or have no place.
    """
    prefixes = {"gen.": "generator", "crit.": "critic"}
    networks = tuple(
        network
        for prefix, network in prefixes.items()
        if any(name.startswith(prefix) and name != EMA_NAME for name in state_dict)
    )
    pairs = entries(settings, networks)
    return torch_weights.to_flax(state_dict, pairs, [EMA_NAME])
