"""The critic steps and the generator step of a batch."""

import jax
import pytest
from jax.flatten_util import ravel_pytree

from jaxphys.cr_muons.model import parts
from jaxphys.cr_muons.training import (
    critic_step,
    generator_step,
    latents,
    updates,
)
from jaxphys.cr_muons.training.gan_step import gan_step
from tests.cr_muons.gan_batches import (
    SMALL,
    cut,
    first_state,
    largest_difference,
    make_batch,
)
from tests.cr_muons.recipes import NEW as RECOMMENDED

KEY = jax.random.key(5)


def gradients(settings, state, batch):
    """Returns the gradients of the first critic step and of a generator step."""
    params = state.params
    head = parts.heads(params["generator"], batch["conditions"], settings)
    drawn = latents.draw(KEY, head, batch, settings)
    critic = critic_step.begin(
        params["critic"], state.opt_state["critic"], state.extra["score_ema"]
    )
    of_critic = critic_step.gradient(
        critic,
        0,
        drawn,
        lambda: latents.draw_pairs(KEY, drawn.plan, batch, settings),
        batch,
        params["generator"],
        settings.lambda_gp,
        settings,
    )[0]
    looks = critic.looks
    of_generator = generator_step.gradient(params, looks, drawn, batch, settings)[0]
    return ravel_pytree((of_critic, of_generator))[0]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["none", "sqrt_tanh", "sqrt_clamp"])
def test_passes_give_the_gradients_of_one_pass(head):
    settings = RECOMMENDED.replace(
        latent_dim_global=4,
        latent_dim_local=3,
        hidden_dim=8,
        fake_muon_budget=96,
        gp_max_pairs=0,
        score_head=head,
        gp_mode="flat",
        critic_steps=1,
    )
    state, batch = first_state(settings), cut(make_batch(), 4, 80)
    # the bias of the score has next to no gradient: real minus generated events
    one, four = (
        jax.jit(gradients, static_argnums=0)(
            settings.replace(grad_accum_steps=passes), state, batch
        )
        for passes in (1, 4)
    )
    assert largest_difference(four, one) < 1e-6


def test_the_weights_move_as_the_optimizers_say():
    settings = SMALL.replace(optimizer="sgd", lambda_gp=0.0)
    state, batch = first_state(settings), make_batch()
    # rates that are no part of the settings
    optimizer = updates.optimizers(settings.replace(learning_rate=0.0))
    optimizer["critic"] = updates.optimizers(settings.replace(learning_rate=0.1))[
        "critic"
    ]
    state = state.replace(opt_state=updates.initial(state.params, optimizer))
    take = jax.jit(
        lambda state, batch: gan_step(
            state, batch, KEY, settings=settings, optimizer=optimizer
        )
    )
    new, _ = take(state, batch)
    before, after = state.params, new.params
    assert largest_difference(after["generator"], before["generator"]) == 0
    assert largest_difference(after["critic"], before["critic"]) > 0
