"""The step of the multiplicity network alone."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.training import generator_step, step, updates
from tests.cr_muons.gan_batches import (
    SMALL,
    cut,
    first_state,
    largest_difference,
    make_batch,
)

SPLIT = SMALL.replace(train_recipe="split", learning_rate=0.01)


def moved(settings, batch):
    state = first_state(settings)
    optimizer = updates.optimizers(settings)["multiplicity"]
    params, opt_state = state.params["generator"], state.opt_state["multiplicity"]
    return params, generator_step.update_multiplicity(
        params, opt_state, batch, settings, optimizer, None
    )


def test_only_the_multiplicity_network_moves():
    before, (after, _, loss) = moved(SPLIT, make_batch())
    for name in ("global_net", "local_net"):
        assert largest_difference(after[name], before[name]) == 0
    assert largest_difference(after["multiplicity_net"], before["multiplicity_net"]) > 0
    assert float(loss) > 0


def test_passes_give_the_same_step():
    batch = cut(make_batch(), 4, 80)
    _, (one, _, loss) = moved(SPLIT.replace(optimizer="sgd"), batch)
    passes = SPLIT.replace(optimizer="sgd", grad_accum_steps=2)
    _, (other, _, same) = moved(passes, batch)
    assert largest_difference(other, one) < 1e-5
    np.testing.assert_allclose(loss, same, rtol=1e-5)


def test_the_loss_is_the_mean_over_real_events():
    batch = make_batch()
    params = step.initial_params(jax.random.key(0), SMALL)["generator"]
    mask = jnp.zeros((1, 24)).at[0, 3].set(1)
    heads = parts.heads(params, batch["conditions"], SMALL)
    got = generator_step.multiplicity_loss(
        heads, {**batch, "event_mask": mask}, jnp.float32(1), SMALL
    )
    target = np.log10(float(batch["num_muons"][0, 3]) + 1)
    head = float(heads[0, 3, 0])
    np.testing.assert_allclose(float(got), (head - target) ** 2, rtol=1e-4, atol=1e-7)
