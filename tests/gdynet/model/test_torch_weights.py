"""State dicts of the original: names, prefixes, shapes."""

import jax
import numpy as np
import pytest

from jaxphys.gdynet.model import torch_weights
from tests.gdynet.networks import network, variables


@pytest.mark.parametrize("variant", ["vanilla", "ferro"])
def test_export_and_import_return_the_same_weights(variant):
    net = network(variant=variant)
    weights = variables(net)
    named = torch_weights.variables_to_torch(weights, net)
    assert named["convs.1.lin_core.weight"].shape == (8, 22)
    assert named["convs.0.bn1.running_var"].shape == (8,)
    assert ("atom_dir_fc.weight" in named) == (variant == "ferro")
    found = torch_weights.variables_from_torch(named, net)
    jax.tree.map(np.testing.assert_array_equal, found, weights)


def test_prefixes_and_counters_are_ignored():
    net = network()
    weights = variables(net)
    named = torch_weights.variables_to_torch(weights, net)
    wrapped = {f"module._orig_mod.{name}": array for name, array in named.items()}
    wrapped["module._orig_mod.convs.0.bn1.num_batches_tracked"] = np.array(7)
    found = torch_weights.variables_from_torch(wrapped, net)
    jax.tree.map(np.testing.assert_array_equal, found, weights)


def test_weights_of_another_model_are_refused():
    net = network()
    named = torch_weights.variables_to_torch(variables(net), net)
    with pytest.raises(ValueError, match=r"unexpected.*atom_dir_fc"):
        torch_weights.variables_from_torch(named, network(variant="vanilla"))
    with pytest.raises(ValueError, match=r"missing.*convs.2"):
        torch_weights.variables_from_torch(named, network(n_conv=3))
    with pytest.raises(ValueError, match=r"fc_state.weight: expected shape \(8, 4\)"):
        torch_weights.variables_from_torch(named, network(state_len=4))
    with pytest.raises(ValueError, match=r"convs.0.lin_core.weight: expected shape"):
        torch_weights.variables_from_torch(named, network(num_gaussians=7))


def test_gradients_have_the_names_of_the_weights():
    net = network()
    weights = variables(net)
    named = torch_weights.params_to_torch(weights["params"], net)
    assert "convs.0.bn1.weight" in named
    assert not [name for name in named if "running" in name]
