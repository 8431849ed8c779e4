"""Names of the original map to our trees and back."""

import jax
import numpy as np
import pytest

from jaxphys.cr_muons.model.torch_weights import (
    EMA_NAME,
    from_state_dict,
    to_state_dict,
)
from jaxphys.cr_muons.training import step
from tests.cr_muons.gan_batches import SMALL, largest_difference


@pytest.mark.parametrize("head", ["ema_tanh", "sqrt_tanh", "sqrt_clamp"])
def test_weights_survive_the_round_trip(head):
    settings = SMALL.replace(score_head=head, init_weights="torch")
    params = step.initial_params(jax.random.key(0), settings)
    named = to_state_dict(params, settings)
    named[EMA_NAME] = np.asarray(1, np.float32)
    assert largest_difference(from_state_dict(named, settings), params) == 0


def test_names_and_shapes_are_those_of_the_twin():
    torch_twin = pytest.importorskip("tests.cr_muons.torch_twin")
    settings = SMALL.replace(latent_dim_global=32, latent_dim_local=16, hidden_dim=256)
    params = step.initial_params(jax.random.key(0), settings)
    named = to_state_dict(params, settings)
    theirs = {
        **{
            f"gen.{k}": v
            for k, v in torch_twin.ScalableGenerator().state_dict().items()
        },
        **{f"crit.{k}": v for k, v in torch_twin.ScalableCritic().state_dict().items()},
    }
    del theirs[EMA_NAME]
    assert {k: v.shape for k, v in named.items()} == {
        k: tuple(v.shape) for k, v in theirs.items()
    }


def test_a_missing_name_is_an_error():
    named = to_state_dict(step.initial_params(jax.random.key(0), SMALL), SMALL)
    del named["gen.local_net.2.bias"]
    with pytest.raises(ValueError, match=r"gen\.local_net\.2\.bias"):
        from_state_dict(named, SMALL)
