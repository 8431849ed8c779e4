"""Devices as a mesh with the axes data and fsdp, and how arrays lie on it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp")
# A smaller array costs more to gather than the memory that splitting it saves.
SMALLEST_SPLIT = 2**14

PyTree = Any


def make_mesh(text: str = "", devices: Sequence[Any] | None = None) -> Mesh:
    """Builds the mesh from a flag such as ``data:4,fsdp:2``.

    Args:
      text: axis sizes; empty puts all devices on the axis data. Fewer devices than
        there are may be asked for in a single process.
      devices: the devices; all of them unless given.

    Returns:
      A mesh with the axes data and fsdp.

    Raises:
      ValueError: names the flag, an unknown axis, or too many devices asked for.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = {"data": len(devices), "fsdp": 1}
    if text:
        sizes = {"data": 1, "fsdp": 1}
        for item in text.split(","):
            name, _, size = item.partition(":")
            if name not in AXES or not size.isdecimal() or int(size) < 1:
                raise ValueError(
                    f"--mesh={text!r}: {item!r}: expected data:n or fsdp:n"
                )
            sizes[name] = int(size)
    needed = sizes["data"] * sizes["fsdp"]
    if needed > len(devices) or (jax.process_count() > 1 and needed != len(devices)):
        raise ValueError(f"--mesh={text!r}: {needed} devices, there are {len(devices)}")
    # Auto axes: on Explicit ones (the default of jax.make_mesh) gathers, sorts and
    # segment sums raise.
    return jax.make_mesh(
        (sizes["data"], sizes["fsdp"]),
        AXES,
        axis_types=(AxisType.Auto,) * 2,
        devices=devices[:needed],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def stack_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a stack of batches `[K, B, ...]`: B over all devices."""
    return NamedSharding(mesh, PartitionSpec(None, AXES))


def state_sharding(mesh: Mesh, shapes: PyTree) -> PyTree:
    """Returns the sharding of every leaf of a state by one shape rule.

    The largest axis that the fsdp axis divides is split over it, in leaves of at
    least `SMALLEST_SPLIT` elements; everything else is replicated. Parameters and
    the optimizer's moments have equal shapes, so they lie alike.

    Args:
      mesh: from `make_mesh`.
      shapes: tree with leaves that have a shape.
    """
    parts = mesh.shape["fsdp"]

    def rule(leaf: Any) -> NamedSharding:
        shape = leaf.shape
        if parts > 1 and np.prod(shape, dtype=np.int64) >= SMALLEST_SPLIT:
            for axis in sorted(range(len(shape)), key=lambda i: -shape[i]):
                if shape[axis] % parts == 0:
                    spec: list[str | None] = [None] * len(shape)
                    spec[axis] = "fsdp"
                    return NamedSharding(mesh, PartitionSpec(*spec))
        return replicated(mesh)

    return jax.tree.map(rule, shapes)


def process_rows(mesh: Mesh, batch_size: int) -> slice:
    """Returns the rows of a global batch that this process has to read.

    Raises:
      ValueError: the batch does not divide over the devices.
    """
    devices = mesh.devices.reshape(-1)
    if batch_size % len(devices):
        raise ValueError(
            f"--batch_size={batch_size} (global) does not divide over "
            f"{len(devices)} devices"
        )
    per_device = batch_size // len(devices)
    here = jax.process_index()
    mine = [i for i, device in enumerate(devices) if device.process_index == here]
    if not mine or mine != list(range(mine[0], mine[-1] + 1)):
        raise ValueError("the devices of a process are not neighbours on the mesh")
    return slice(mine[0] * per_device, (mine[-1] + 1) * per_device)


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Puts arrays on the devices; of split axes each process gives its own rows."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def to_host(tree: PyTree) -> PyTree:
    """Fetches arrays as numpy, whole, on every process."""

    def fetch(x: Any) -> np.ndarray:
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            if x.is_fully_replicated:
                return np.asarray(x.addressable_data(0))
            x = jax.jit(lambda y: y, out_shardings=_whole(x))(x)
            return np.asarray(x.addressable_data(0))
        return np.asarray(x)

    return jax.tree.map(fetch, tree)


def _whole(x: jax.Array) -> NamedSharding:
    sharding = x.sharding
    if not isinstance(sharding, NamedSharding) or not isinstance(sharding.mesh, Mesh):
        raise ValueError(f"an array on several processes without a mesh: {sharding}")
    return replicated(sharding.mesh)
