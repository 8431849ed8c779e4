"""How devices are arranged and how arrays lie on them."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxphys.training import mesh as meshes
from jaxphys.training.mesh import make_mesh


def test_all_devices_lie_on_the_data_axis_by_default():
    mesh = make_mesh()
    assert dict(mesh.shape) == {"data": 4, "fsdp": 1}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("data:4", (4, 1)),
        ("data:2,fsdp:2", (2, 2)),
        ("fsdp:2,data:2", (2, 2)),
        ("fsdp:4", (1, 4)),
        ("data:3", (3, 1)),
        ("data:1", (1, 1)),
    ],
)
def test_mesh_has_the_axes_that_the_flag_says(text, shape):
    mesh = make_mesh(text)
    assert mesh.axis_names == ("data", "fsdp")
    assert mesh.devices.shape == shape


def test_axes_are_auto_so_that_gathers_and_segment_sums_work():
    assert make_mesh("data:2,fsdp:2").axis_types == (AxisType.Auto, AxisType.Auto)


@pytest.mark.parametrize(
    "text", ["model:2", "data", "data:0", "data:-1", "data:x", "data:2;fsdp:2", "4"]
)
def test_unreadable_mesh_is_refused(text):
    with pytest.raises(ValueError, match="expected data:n or fsdp:n"):
        make_mesh(text)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"'data:4,fsdp:2': 8 devices, there are 4"):
        make_mesh("data:4,fsdp:2")


def shardings(mesh, shapes):
    tree = {k: jax.ShapeDtypeStruct(s, np.float32) for k, s in shapes.items()}
    return {k: v.spec for k, v in meshes.state_sharding(mesh, tree).items()}


def test_large_parameters_are_split_along_their_largest_divisible_axis():
    found = shardings(
        make_mesh("data:2,fsdp:2"),
        {
            "wide": (128, 256),
            "tall": (256, 128),
            "odd": (2**14 + 1, 2),
            "none": (3**9, 3),
            "small": (64, 64),
            "scalar": (),
        },
    )
    assert found == {
        "wide": PartitionSpec(None, "fsdp"),
        "tall": PartitionSpec("fsdp", None),
        "odd": PartitionSpec(None, "fsdp"),
        "none": PartitionSpec(),
        "small": PartitionSpec(),
        "scalar": PartitionSpec(),
    }


def test_nothing_is_split_without_an_fsdp_axis():
    assert shardings(make_mesh("data:4"), {"w": (512, 512)}) == {"w": PartitionSpec()}


def test_moments_lie_like_their_parameters():
    shapes = {"w": (256, 128), "b": (128,)}
    mesh = make_mesh("fsdp:4")
    assert shardings(mesh, shapes) == shardings(mesh, dict(reversed(shapes.items())))


def test_batch_axis_of_a_stack_is_split_over_all_devices():
    mesh = make_mesh("data:2,fsdp:2")
    stack = meshes.place(np.zeros((3, 8, 5)), meshes.stack_sharding(mesh))
    assert {s.data.shape for s in stack.addressable_shards} == {(3, 2, 5)}
    starts = sorted(s.index[1].start or 0 for s in stack.addressable_shards)
    assert starts == [0, 2, 4, 6]


def test_one_process_reads_all_rows():
    assert meshes.process_rows(make_mesh(), 12) == slice(0, 12)


def test_batch_that_does_not_divide_is_refused_naming_the_flag():
    with pytest.raises(ValueError, match=r"--batch_size=10 \(global\).*4 devices"):
        meshes.process_rows(make_mesh("data:2,fsdp:2"), 10)


@pytest.mark.parametrize("text", ["data:4", "fsdp:4", "data:2,fsdp:2"])
def test_what_is_placed_comes_back_whole(text, monkeypatch):
    monkeypatch.setattr(meshes, "SMALLEST_SPLIT", 4)
    mesh = make_mesh(text)
    tree = {"a": np.arange(32.0, dtype=np.float32).reshape(8, 4), "b": np.int32(3)}
    placed = jax.tree.map(jax.device_put, tree, meshes.state_sharding(mesh, tree))
    back = meshes.to_host(placed)
    assert isinstance(back["a"], np.ndarray)
    np.testing.assert_array_equal(back["a"], tree["a"])
    assert back["b"] == 3
