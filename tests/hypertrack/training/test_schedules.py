"""Learning rates against their formulas."""

import math

import numpy as np
import pytest

from jaxphys.hypertrack.training.schedules import learning_rates

RATE, PERIOD = 5e-4, 10
FORMULAS = {
    "constant": lambda k: 1.0,
    "cos": lambda k: 0.1 + 0.9 * (1 + math.cos(math.pi * k / PERIOD)) / 2,
    "warm-cos": lambda k: 0.1 + 0.9 * (1 + math.cos(math.pi * (k % 10) / PERIOD)) / 2,
    "exp": lambda k: (1 - 1e-5) ** k,
    "step": lambda k: 0.9 ** (k // 1000),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("count", [0, 3, 10, 13, 1000, 123457])
def test_rate_is_that_of_its_formula(name, count):
    got = np.asarray(learning_rates(name, RATE, PERIOD)(count)).item()
    assert got == pytest.approx(RATE * FORMULAS[name](count), rel=2e-6)


@pytest.mark.parametrize(("name", "period"), [("linear", 1), ("cos", 0)])
def test_nonsense_is_refused(name, period):
    with pytest.raises(ValueError, match="expected"):
        learning_rates(name, RATE, period)
