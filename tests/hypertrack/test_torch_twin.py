"""The PyTorch twin has the original's numbers, and ours on any graph."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read
from jaxphys.hypertrack.model import torch_weights
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.hypertrack.replay.nets import track_of_hits
from tests.hypertrack.net_graphs import make_graph

torch = pytest.importorskip("torch")
FOLDER = pathlib.Path(__file__).parents[1] / "equivalence/golden/hypertrack"
NAMES = ("nstack", "h_dim", "m_dim", "z_dim", "edge_type", "aggr", "act")


def load(golden):
    from tests.hypertrack import torch_twin

    config = golden.config
    net = torch_twin.Net(
        use_residual=config["use_residual"], **{name: config[name] for name in NAMES}
    )
    parts = torch_weights.NET_PARTS
    net.load_state_dict(
        {
            name: torch.tensor(array)
            for name, array in golden.params.items()
            if name.split(".")[0] in parts
        }
    )
    return net


@pytest.mark.parametrize("variant", ["small_symmetrized", "small_sum_relu"])
def test_twin_replays_the_recorded_forward_pass(variant):
    golden = read(FOLDER / f"gnn_forward__{variant}.npz")
    net = load(golden)
    x = torch.tensor(golden.inputs["X"])
    edges = torch.tensor(golden.inputs["edge_index"]).long()
    got = {}
    for mode in ("eval", "train"):
        net.train(mode == "train")
        latents = net.encode(x, edges)
        logits = net.decode(latents, edges)
        got |= {f"{mode}/Z": latents, f"{mode}/edge_logits": logits}
    rows = compare(golden, {name: a.detach().numpy() for name, a in got.items()})
    rows = [row for row in rows if row.message != "not produced"]
    assert len(rows) == 4
    assert [row for row in rows if not row.ok] == []


def test_twin_replays_the_recorded_steps():
    from tests.hypertrack import torch_twin

    golden = read(FOLDER / "train_step__small.npz")
    net = load(golden)
    optimizer = torch_twin.make_adamw(net)
    for number, rate in enumerate(golden.outputs["learning_rate"]):
        inputs = {
            name.rpartition("/")[2]: array
            for name, array in golden.inputs.items()
            if name.startswith(f"batch/{number}/")
        }
        graph = {
            "position": torch.tensor(inputs["X"]),
            "edge_index": torch.tensor(inputs["edge_index"]).long(),
            "edge_label": torch.tensor(inputs["edge_label"]),
            "hit_weight": torch.tensor(inputs["hit_weights"]),
            "x_ind": inputs["x_ind"],
        }
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = torch_twin.train_step(net, optimizer, graph)
        assert loss == pytest.approx(golden.outputs["loss"][number], rel=1e-3)
        track = track_of_hits(inputs["x_ind"], len(inputs["X"]))
        assert track.max() == len(inputs["x_ind"]) - 1


def test_ours_and_the_twin_agree_on_any_graph():
    from tests.hypertrack import torch_twin

    net = TrackNet(nstack=3, h_dim=8, m_dim=7, z_dim=9)
    twin = torch_twin.Net(nstack=3, h_dim=8, m_dim=7, z_dim=9)
    state = {name: value.numpy() for name, value in twin.state_dict().items()}
    variables = torch_weights.variables_from_torch(state, net)
    for seed in range(3):
        graph = make_graph(hits=25, seed=seed)
        edges = torch.from_numpy(graph["edge_index"]).long()
        latents = twin.encode(torch.from_numpy(graph["position"]), edges)
        expected = twin.decode(latents, edges).detach()
        found = jax.jit(lambda g: net.apply(variables, g, True, mutable=["moments"]))(
            jax.tree.map(jnp.asarray, graph)
        )
        np.testing.assert_allclose(found[0].logits, expected, atol=2e-3)
