"""How the weights of a lobe pair with those of the original's PyTorch modules."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.equivalence import torch_weights
from jaxphys.equivalence.torch_weights import Entry
from jaxphys.gdynet.model.model import GDyNet

_PREFIXES = ("module.", "_orig_mod.")  # of data-parallel and of compiled modules
_COUNTER = "num_batches_tracked"


def entries(model: GDyNet) -> list[Entry]:
    """Returns the entries of all arrays; paths begin with params or batch_stats."""
    found = [Entry("embedding.weight", ("params", "embedding", "embedding"))]
    if model.variant == "ferro":
        found += torch_weights.linear("atom_dir_fc", ("params", "atom_dir_fc"))
    for number in range(model.n_conv):
        name, place = f"convs.{number}", f"convs_{number}"
        for layer in ("lin_core", "lin_filter"):
            found += torch_weights.linear(f"{name}.{layer}", ("params", place, layer))
        for layer in ("bn1", "bn2"):
            path = ("params", place, layer)
            found += torch_weights.layer_norm(f"{name}.{layer}", path)
            stats = ("batch_stats", place, layer)
            found += [
                Entry(f"{name}.{layer}.running_{which}", (*stats, which))
                for which in ("mean", "var")
            ]
    for layer in ("conv_to_fc", "fc_state"):
        found += torch_weights.linear(layer, ("params", layer))
    return found


def strip_prefixes(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the names without module. and _orig_mod., in any order and number."""
    found = {}
    for name, array in state_dict.items():
        while name.startswith(_PREFIXES):
            name = name.partition(".")[2]
        found[name] = array
    return found


def variables_from_torch(
    state_dict: Mapping[str, np.ndarray], model: GDyNet
) -> dict[str, Any]:
    """Returns params and batch_stats of a lobe of the original.

    Args:
        state_dict: names to arrays; counters of batches are ignored.
        model: whose weights these are.

    Raises:
        ValueError: names are missing or unknown, or a shape is not the model's.
    """
    named = strip_prefixes(state_dict)
    ignored = [name for name in named if name.endswith(_COUNTER)]
    tree = torch_weights.to_flax(named, entries(model), ignored)
    _check_shapes(tree, model)
    return {"params": tree["params"], "batch_stats": tree.get("batch_stats", {})}


def variables_to_torch(variables: Mapping[str, Any], model: GDyNet) -> dict:
    """Inverts `variables_from_torch`; there are no counters of batches."""
    return torch_weights.to_torch(
        {name: tree for name, tree in variables.items() if tree}, entries(model)
    )


def params_to_torch(params: Mapping[str, Any], model: GDyNet) -> dict:
    """Returns a tree of the shape of params, such as gradients, by PyTorch's names."""
    found = [e for e in entries(model) if e.path[0] == "params"]
    return torch_weights.to_torch({"params": params}, found)


def _check_shapes(tree: Mapping[str, Any], model: GDyNet) -> None:
    width, features = model.atom_fea_len, len(model.gaussians[0])
    inputs = 2 * width + features
    embedding = tree["params"]["embedding"]["embedding"]
    expected = {"embedding": (embedding, (model.num_atom_types, width))}
    state = tree["params"]["fc_state"]["kernel"]
    expected["fc_state"] = (state, (width, model.state_len))
    for number in range(model.n_conv):
        core = tree["params"][f"convs_{number}"]["lin_core"]["kernel"]
        expected[f"convs.{number}.lin_core"] = (core, (inputs, width))
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(
                f"state dict: {name}.weight: expected shape {shape} (transposed for "
                f"linear layers), got {array.shape}"
            )
