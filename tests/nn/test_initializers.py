"""Initial weights have the distributions of PyTorch."""

import math

import jax
import numpy as np
import pytest
import torch

from jaxphys.nn.initializers import (
    linear_bias,
    linear_kernel,
    xavier_normal,
    zero_bias,
)

SHAPE = (300, 200)  # [in, out]


def draw(initializer, shape=SHAPE):
    return np.asarray(initializer(jax.random.key(0), shape))


def test_xavier_normal_is_an_untruncated_normal():
    values = draw(xavier_normal())
    std = math.sqrt(2 / sum(SHAPE))
    assert values.std() == pytest.approx(std, rel=0.02)
    assert np.abs(values).max() > 3.5 * std  # a truncated normal ends at 2.3
    twin = torch.nn.init.xavier_normal_(torch.empty(SHAPE[::-1]))
    assert values.std() == pytest.approx(twin.std().item(), rel=0.03)


def test_xavier_normal_scales_with_gain():
    ratio = draw(xavier_normal(gain=2.0)) / draw(xavier_normal())
    np.testing.assert_allclose(ratio, 2.0, rtol=1e-6)


def test_linear_kernel_has_the_bounds_of_torch_linear():
    values = draw(linear_kernel())
    twin = torch.nn.Linear(*SHAPE).weight
    bound = 1 / math.sqrt(SHAPE[0])
    assert bound * 0.999 < np.abs(values).max() <= bound
    assert values.std() == pytest.approx(twin.std().item(), rel=0.02)


def test_linear_bias_depends_on_fan_in_only():
    values = draw(linear_bias(16), (100_000,))
    assert 0.2499 < np.abs(values).max() <= 0.25
    assert abs(values.mean()) < 2e-3


def test_zero_bias_is_zero():
    assert not draw(zero_bias(3), (7,)).any()
