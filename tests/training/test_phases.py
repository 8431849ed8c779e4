"""Decisions between rounds: pure functions that follow PyTorch where it has them."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.training import optimizers, phases
from jaxphys.training.task import Progress, TrainState

METRICS = st.one_of(
    st.floats(-3, 3),
    st.sampled_from(
        [0.0, -1.0, 1.0, 1 - 1e-4, 1 + 1e-4, math.nan, math.inf, -math.inf]
    ),
)


def rates_of(plateau, values):
    progress, rates = Progress(), []
    for value in values:
        progress = plateau(progress, {"loss": value})
        rates.append(progress.extra["learning_rate"])
    return rates


def torch_rates_of(values, rate, **settings):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    rates = []
    for value in values:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(METRICS, max_size=60),
    mode=st.sampled_from(["min", "max"]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    factor=st.sampled_from([0.1, 0.5, 0.9, 0.999999999]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1, 1.5]),
    min_lr=st.sampled_from([0.0, 1e-3, 0.2]),
    rate=st.sampled_from([0.1, 1e-3, 1e-8]),
)
def test_plateau_equals_pytorch_for_any_metrics(values, rate, **rule):
    plateau = phases.Plateau("loss", rate, **rule)
    assert rates_of(plateau, values) == torch_rates_of(values, rate, **rule)


def test_plateau_counts_a_nan_as_bad():
    plateau = phases.Plateau("loss", 1.0, patience=1)
    assert rates_of(plateau, [1.0, math.nan, math.nan, math.nan, math.nan]) == [
        1.0, 1.0, 0.5, 0.5, 0.25,
    ]  # fmt: skip


def test_plateau_goes_on_from_its_progress_as_if_never_interrupted():
    plateau = phases.Plateau("loss", 1.0, patience=1, cooldown=1)
    values = [3.0, 2.0, 2.0, 2.0, 2.5, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    progress, rates = Progress(), []
    for value in values:
        progress = plateau(Progress.from_json(progress.to_json()), {"loss": value})
        rates.append(progress.extra["learning_rate"])
    assert rates == rates_of(plateau, values)
    assert len(set(rates)) == 3


@pytest.mark.parametrize("patience", [1, 3])
def test_run_stops_after_so_many_evaluations_without_improvement(patience):
    rule = phases.stop_when_impatient("loss", "min", patience)
    progress = rule(rule(Progress(), {"loss": 2.0}), {"loss": 1.0})
    for i in range(patience):
        assert not progress.stop, i
        progress = rule(progress, {"loss": 1.0})
    assert progress.stop == f"loss has not improved in {patience} evaluations"


def test_patience_of_zero_never_stops():
    rule = phases.stop_when_impatient("loss", "min", 0)
    progress = Progress()
    for _ in range(50):
        progress = rule(progress, {"loss": 1.0})
    assert not progress.stop


def test_rules_of_a_chain_see_what_the_ones_before_decided():
    chain = phases.chain(
        lambda progress, scalars: progress.replace(phase="b"),
        lambda progress, scalars: progress.replace(stop=progress.phase),
    )
    assert chain(Progress(), {}).stop == "b"


def test_decided_rate_is_applied_to_the_optimizer():
    optimizer = optimizers.make_optimizer("adam", 0.1)
    params = {"w": jnp.full(2, 3.0)}
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    extra = {"learning_rate": jnp.float32(0.025)}
    state = phases.apply_learning_rate(state, extra, {})
    assert state.opt_state.hyperparams["learning_rate"] == jnp.float32(0.025)
    np.testing.assert_array_equal(state.params["w"], 3.0)
