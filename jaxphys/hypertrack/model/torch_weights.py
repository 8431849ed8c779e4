"""Weights of the original program, by its names, to those of the nets and back."""

from collections.abc import Mapping

import numpy as np

from jaxphys.equivalence.torch_weights import (
    Entry,
    Path,
    layer_norm,
    linear,
    to_flax,
    to_torch,
)
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.track_net import TrackNet

Arrays = Mapping[str, np.ndarray]
COUNTER = "num_batches_tracked"
NET_PARTS = ("conv_gnn_edx", "mlp_fusion_edx", "mlp_2pt_edx")
TRANSFORMER = "transformer_ccx"


def _blocks(name: str, path: Path, count: int, last_act: bool) -> list[Entry]:
    found = []
    for number in range(count):
        is_block = last_act or number + 1 < count
        torch_name = f"{name}.{number}" + (".0" if is_block else "")
        found += linear(torch_name, (*path, f"linear_{number}"))
        if is_block:
            found += layer_norm(f"{name}.{number}.2", (*path, f"norm_{number}"))
    return found


def _buffers(name: str, path: Path, count: int) -> list[Entry]:
    return [
        Entry(f"{name}.{number}.2.running_{kind}", (*path, f"norm_{number}", kind))
        for number in range(count)
        for kind in ("mean", "var")
    ]


def _parts(net: TrackNet) -> list[tuple[str, Path, int, bool]]:
    """Returns (original name, path, number of layers, last_act) of every MLP."""
    found: list[tuple[str, Path, int, bool]] = []
    for layer in range(net.nstack):
        for name, path in (("nn", "edge"), ("nn_final", "node")):
            torch_name = f"conv_gnn_edx.{layer}.{name}"
            found.append((torch_name, (f"conv_{layer}", path), 2, True))
    found.append(("mlp_fusion_edx", ("fusion",), 2, True))
    found.append(("mlp_2pt_edx", ("head", "mlp"), 3, False))
    return found


def param_entries(net: TrackNet) -> list[Entry]:
    """Returns the entries of the weights of a net."""
    return [entry for part in _parts(net) for entry in _blocks(*part)]


def buffer_entries(net: TrackNet) -> list[Entry]:
    """Returns the entries of the running statistics of a net."""
    return [
        entry
        for name, path, count, last_act in _parts(net)
        for entry in _buffers(name, path, count if last_act else count - 1)
    ]


def transformer_entries(transformer: SetTransformer) -> list[Entry]:
    """Returns the entries of the weights of a set transformer."""
    found = linear(f"{TRANSFORMER}.MLP_E.0.0", ("embed", "linear_0"))
    found += linear(f"{TRANSFORMER}.MLP_E.1", ("embed", "linear_1"))
    blocks = [(f"{TRANSFORMER}.mab_D", "cross")] + [
        (f"{TRANSFORMER}.sab_stack_D.{number}.0.mab", f"self_{number}")
        for number in range(transformer.nstack_dec)
    ]
    for name, path in blocks:
        for letter, ours in zip(
            "qkvo", ("query", "key", "value", "output"), strict=True
        ):
            found += linear(f"{name}.W_{letter}", (path, ours))
        for number in range(2):
            if transformer.ln:
                found += layer_norm(f"{name}.ln{number}", (path, f"norm_{number}"))
            found += linear(f"{name}.MLP.{number}.0", (path, "mlp", f"linear_{number}"))
    for number, suffix in enumerate((".0.0", ".1.0", ".2")):
        found += linear(f"{TRANSFORMER}.MLP_m{suffix}", ("mask", f"linear_{number}"))
    return found


def _named(state_dict: Arrays, parts: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {
        name: array
        for name, array in state_dict.items()
        if name.split(".")[0] in parts and not name.endswith(COUNTER)
    }


def variables_from_torch(state_dict: Arrays, net: TrackNet) -> dict[str, dict]:
    """Returns {params, batch_stats} of a net.

    Args:
        state_dict: original names to arrays; those of other parts are not read.
        net: of which the widths are the same.

    Raises:
        ValueError: names are missing or unexpected.
    """
    found = _named(state_dict, NET_PARTS)
    running = {name: a for name, a in found.items() if ".running_" in name}
    weights = {name: a for name, a in found.items() if name not in running}
    return {
        "params": to_flax(weights, param_entries(net)),
        "batch_stats": to_flax(running, buffer_entries(net)),
    }


def transformer_from_torch(state_dict: Arrays, transformer: SetTransformer) -> dict:
    """Returns the params of a set transformer; see `variables_from_torch`."""
    found = _named(state_dict, (TRANSFORMER,))
    return to_flax(found, transformer_entries(transformer))


def params_to_torch(params: Mapping, net: TrackNet) -> dict[str, np.ndarray]:
    """Returns weights, or their gradients, of a net by the original names."""
    return to_torch(params, param_entries(net))


def buffers_to_torch(batch_stats: Mapping, net: TrackNet) -> dict[str, np.ndarray]:
    """Returns the running statistics of a net by the original names."""
    return to_torch(batch_stats, buffer_entries(net))


def transformer_to_torch(
    params: Mapping, transformer: SetTransformer
) -> dict[str, np.ndarray]:
    """Returns weights, or their gradients, of a transformer by the original names."""
    return to_torch(params, transformer_entries(transformer))
