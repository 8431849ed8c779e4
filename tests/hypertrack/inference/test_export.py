"""Exported programs give the numbers of the nets; PyTorch takes the weights."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jax import export as jax_export

from jaxphys.hypertrack.inference import export, predict
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.model import torch_weights
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.training import step
from jaxphys.hypertrack.training.objective import Settings
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.task import Progress
from tests.hypertrack.net_graphs import (
    FAST,
    NET,
    TRANSFORMER,
    drawn_variables,
    make_graph,
)
from tests.hypertrack.tracked_events import CLUSTERING

CELL = VoxelModel(
    np.zeros((1, 3), np.float32), np.array([0, 1]), np.zeros(1, np.int32), "hyper", 1
)


def variables_of(net):
    """Untrained variables whose running statistics are not those of the start."""
    found = drawn_variables(Settings(net, TRANSFORMER))
    moved = jax.tree.map(lambda a: a + 0.2, found["batch_stats"])
    return {**found, "batch_stats": moved}


def tracker_of(net):
    variables = variables_of(net)
    params = variables["params"]
    own = {"params": params["net"], "batch_stats": variables["batch_stats"]}
    trained = params["transformer"]
    return Tracker(CELL, net, own, TRANSFORMER, trained, algorithm="none")


def save(folder, net, phase):
    settings = Settings(net, TRANSFORMER)
    bound = {"objective": settings, "optimizer": optax.sgd(1e-3)}
    state = step.initial_state(variables_of(net), **bound)
    keeper = Checkpointer(folder / "checkpoints")
    keeper.save(state, Progress(step=5, phase=phase), {})
    keeper.close()
    predict.save_network(folder, net, TRANSFORMER, CLUSTERING, "transformer", CELL)


@pytest.mark.slow
@pytest.mark.parametrize("net", [NET, FAST], ids=["tune-5", "fast"])
def test_the_program_of_a_net_takes_any_number_of_hits_and_edges(net):
    tracker = tracker_of(net)
    program = jax_export.deserialize(bytearray(export.network_stablehlo(tracker)))
    for hits in (12, 30):
        graph = make_graph(hits=hits, pairs=False)
        expected = net.apply(tracker.variables, graph, False)
        found = program.call(graph["position"], graph["edge_index"])
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, atol=2e-4)


@pytest.mark.slow
def test_the_program_of_the_transformer_takes_sets_of_any_size():
    tracker = tracker_of(NET)
    program = jax_export.deserialize(bytearray(export.transformer_stablehlo(tracker)))
    rng = np.random.default_rng(0)
    for sets, rows, pivots in ((1, 5, 3), (4, 9, 2)):
        x = rng.normal(size=(sets, rows, 10)).astype(np.float32)
        mask = np.arange(rows)[None] < rng.integers(3, rows + 1, (sets, 1))
        variables = {"params": tracker.transformer_params}
        expected: Any = TRANSFORMER.apply(variables, x, x[:, :pivots], mask)
        found = program.call(x, x[:, :pivots], mask)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_files_of_a_run_hold_its_weights_by_the_original_names(tmp_path):
    save(tmp_path / "run", NET, "joint")
    written = export.write(tmp_path / "out", tmp_path / "run")
    assert [path.name for path in written] == [
        "network.stablehlo",
        "transformer.stablehlo",
        "torch_state_dict.npz",
    ]
    with np.load(written[-1]) as file:
        found = dict(file)
    variables = variables_of(NET)
    net = torch_weights.variables_from_torch(found, NET)
    own = {"params": variables["params"]["net"], **net}
    own["batch_stats"] = variables["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, net, own)
    jax.tree.map(
        np.testing.assert_array_equal,
        torch_weights.transformer_from_torch(found, TRANSFORMER),
        variables["params"]["transformer"],
    )
    np.testing.assert_array_equal(found["thr"], [0.5])


def test_what_the_original_lacks_or_the_run_has_not_trained_is_not_written(tmp_path):
    save(tmp_path / "run", FAST, "edges")
    written = export.write(tmp_path / "out", tmp_path / "run")
    assert [path.name for path in written] == ["network.stablehlo"]
    assert list((tmp_path / "out").iterdir()) == written
    with pytest.raises(ValueError, match=r"expected TrackNet \(tune-5\), got FastNet"):
        export.torch_state_dict(tracker_of(FAST))
    untrained = dataclasses.replace(tracker_of(NET), transformer=None)
    assert not any("transformer" in name for name in export.torch_state_dict(untrained))
    with pytest.raises(ValueError, match="has not trained one"):
        export.transformer_stablehlo(untrained)


def test_pytorch_takes_the_state_dict_and_finds_the_same_logits():
    torch = pytest.importorskip("torch")
    from tests.hypertrack import torch_twin

    net = dataclasses.replace(NET, normalize_input=False)
    tracker = dataclasses.replace(tracker_of(net), transformer=None)
    twin = torch_twin.Net(net.nstack, net.h_dim, net.m_dim, net.z_dim).eval()
    found = export.torch_state_dict(tracker)
    twin.load_state_dict({name: torch.tensor(array) for name, array in found.items()})
    graph = make_graph(hits=25)
    edges = torch.from_numpy(graph["edge_index"]).long()
    latents = twin.encode(torch.from_numpy(graph["position"]), edges)
    expected: Any = jax.jit(net.apply, static_argnums=2)(
        tracker.variables, graph, False
    )
    np.testing.assert_allclose(
        twin.decode(latents, edges).detach(), expected.logits, rtol=1e-3, atol=2e-3
    )
