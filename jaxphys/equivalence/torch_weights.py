"""PyTorch state dicts (name -> numpy array) to flax trees and back.

A list of entries pairs every PyTorch name with a path in the flax tree, so that one
list serves both directions and nothing can be forgotten: a name without an entry and an
entry without a name are errors. PyTorch itself is needed only to open a .pt file.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """Pairs one PyTorch array with one flax leaf.

    Attributes:
        torch_name: key of the state dict, such as network.0.weight.
        path: keys of the flax tree, such as ("network", "dense_0", "kernel").
        transpose: whether the axes are reversed, [out, in] <-> [in, out].
    """

    torch_name: str
    path: Path
    transpose: bool = False


def linear(torch_name: str, path: Path, bias: bool = True) -> list[Entry]:
    """Returns the entries of a `torch.nn.Linear` and a flax `Dense`."""
    entries = [Entry(f"{torch_name}.weight", (*path, "kernel"), transpose=True)]
    if bias:
        entries.append(Entry(f"{torch_name}.bias", (*path, "bias")))
    return entries


def layer_norm(torch_name: str, path: Path) -> list[Entry]:
    """Returns the entries of a normalisation layer with a weight and a bias."""
    return [
        Entry(f"{torch_name}.weight", (*path, "scale")),
        Entry(f"{torch_name}.bias", (*path, "bias")),
    ]


def sequential(
    state_dict: Mapping,
    torch_name: str,
    path: Path,
    layer: str = "dense_{}",
    bias: bool | None = None,
) -> list[Entry]:
    """Returns the entries of the linear layers of a `torch.nn.Sequential`.

    The places of activations are skipped: network.0, network.2, ... become dense_0,
    dense_1, ...

    Args:
        state_dict: its names tell the places of the layers.
        torch_name: name of the sequential module.
        path: where the layers lie in the flax tree.
        layer: name of a layer there, with {} for its number.
        bias: whether every layer has one; None: those that the state dict has.

    Raises:
        ValueError: no such layer exists.
    """
    pattern = re.compile(rf"{re.escape(torch_name)}\.(\d+)\.(?:weight|bias)")
    matches = (pattern.fullmatch(name) for name in state_dict)
    places = sorted({int(match[1]) for match in matches if match})
    if not places:
        raise ValueError(
            f"state dict: expected names like {torch_name}.0.weight, got "
            f"{sorted(state_dict)}"
        )
    entries = []
    for number, place in enumerate(places):
        name = f"{torch_name}.{place}"
        has_bias = f"{name}.bias" in state_dict if bias is None else bias
        entries += linear(name, (*path, layer.format(number)), has_bias)
    return entries


def to_flax(
    state_dict: Mapping[str, np.ndarray],
    entries: Sequence[Entry],
    ignore: Sequence[str] = (),
) -> dict:
    """Returns the flax tree (nested dicts) of a state dict.

    Args:
        state_dict: PyTorch names to arrays.
        entries: one per array.
        ignore: PyTorch names without a place in the tree (num_batches_tracked).

    Raises:
        ValueError: names and entries do not cover each other.
    """
    expected = {entry.torch_name for entry in entries}
    found = set(state_dict) - set(ignore)
    _check_cover("state dict", expected, found)
    tree: dict = {}
    for entry in entries:
        array = np.asarray(state_dict[entry.torch_name])
        node = tree
        for key in entry.path[:-1]:
            node = node.setdefault(key, {})
        node[entry.path[-1]] = np.array(array.T if entry.transpose else array)
    return tree


def to_torch(tree: Mapping, entries: Sequence[Entry]) -> dict[str, np.ndarray]:
    """Returns the state dict (contiguous numpy arrays) of a flax tree.

    Raises:
        ValueError: leaves and entries do not cover each other.
    """
    leaves = _leaves(tree)
    _check_cover("flax tree", {entry.path for entry in entries}, set(leaves))
    state_dict = {}
    for entry in entries:
        array = np.asarray(leaves[entry.path])
        state_dict[entry.torch_name] = np.ascontiguousarray(
            array.T if entry.transpose else array
        )
    return state_dict


def check_shapes(tree: Mapping, template: Mapping, where: str = "weights") -> None:
    """Raises ValueError where a tree differs from the shapes of a model's own tree."""
    got, expected = _leaves(tree), _leaves(template)
    _check_cover(where, set(expected), set(got))
    for path, leaf in expected.items():
        if np.shape(got[path]) != np.shape(leaf):
            raise ValueError(
                f"{where}: {'/'.join(path)}: expected shape {np.shape(leaf)}, got "
                f"{np.shape(got[path])}"
            )


def load_state_dict(
    path: str | os.PathLike, key: str | None = None
) -> dict[str, np.ndarray]:
    """Returns the state dict in a .pt file as numpy arrays.

    Args:
        path: the file; it is read with `weights_only=True`, so it cannot run code.
        key: name of the state dict in a checkpoint that holds more than one thing.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the file holds something other than a state dict.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {os.fspath(path)} needs PyTorch: pip install torch"
        ) from error
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if key is not None:
        if not isinstance(loaded, dict) or key not in loaded:
            raise ValueError(f"{os.fspath(path)}: expected an entry {key!r}, got none")
        loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise ValueError(
            f"{os.fspath(path)}: expected names with tensors, got "
            f"{_describe(loaded)}; choose one with `key`"
        )
    # bfloat16 has no numpy type of its own
    return {
        name: (value.float() if value.dtype is torch.bfloat16 else value).numpy()
        for name, value in loaded.items()
    }


def _describe(loaded) -> str:
    if isinstance(loaded, dict):
        return f"a dict with {sorted(map(str, loaded))}"
    return type(loaded).__name__


def _leaves(tree: Mapping, prefix: Path = ()) -> dict[Path, np.ndarray]:
    found = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, (*prefix, key))
        else:
            found[(*prefix, key)] = value
    return found


def _check_cover(where: str, expected: set, found: set) -> None:
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    if missing or unexpected:
        raise ValueError(f"{where}: missing {missing}, unexpected {unexpected}")
