"""Weights by the original's names, there and back."""

import jax
import numpy as np
import pytest

from jaxphys.hypertrack.model import torch_weights
from tests.hypertrack.net_graphs import NET, TRANSFORMER, drawn, make_graph


def test_every_weight_of_a_net_goes_there_and_back():
    variables = drawn(NET, make_graph())
    named = torch_weights.params_to_torch(variables["params"], NET)
    named |= torch_weights.buffers_to_torch(variables["batch_stats"], NET)
    assert named["conv_gnn_edx.1.nn_final.0.0.weight"].shape == (6, 11)
    extra = {"conv_gnn_edx.0.nn.0.2.num_batches_tracked": np.array(3), "thr": 0}
    back = torch_weights.variables_from_torch({**named, **extra}, NET)
    for name in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, back[name], variables[name])


def test_every_weight_of_a_transformer_goes_there_and_back():
    rows, mask = np.zeros((1, 2, 10)), np.ones((1, 2), bool)
    params = TRANSFORMER.init(jax.random.key(0), rows, rows, mask)["params"]
    named = torch_weights.transformer_to_torch(params, TRANSFORMER)
    assert named["transformer_ccx.mab_D.W_q.weight"].shape == (8, 8)
    back = torch_weights.transformer_from_torch(named, TRANSFORMER)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_missing_name_is_reported():
    variables = drawn(NET, make_graph())
    named = torch_weights.params_to_torch(variables["params"], NET)
    named |= torch_weights.buffers_to_torch(variables["batch_stats"], NET)
    named.pop("mlp_2pt_edx.2.bias")
    with pytest.raises(ValueError, match=r"missing \['mlp_2pt_edx.2.bias'\]"):
        torch_weights.variables_from_torch(named, NET)


def test_the_twin_has_the_original_names():
    pytest.importorskip("torch")
    from tests.hypertrack import torch_twin

    twin = torch_twin.Net(nstack=2, h_dim=6, m_dim=5, z_dim=7)
    state = {name: value.numpy() for name, value in twin.state_dict().items()}
    torch_weights.variables_from_torch(state, NET)
