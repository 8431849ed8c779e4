"""Learning rates per iteration, by the names of the original."""

import math
from typing import Any

import jax.numpy as jnp
import optax

NAMES = ("constant", "cos", "warm-cos", "exp", "step")
LEAST = 0.1
EXP_DECAY, STEP_DECAY, STEP_LENGTH = 1e-5, 0.9, 1000


def learning_rates(name: str, rate: float, period: int = 10000) -> optax.Schedule:
    """Returns iteration -> rate.

    Args:
        name: "constant"; "warm-cos": from `rate` down to a tenth of it along half a
            cosine, again after every period; "cos": down and up along a cosine; "exp":
            loses 1e-5 per iteration; "step": times 0.9 every 1000 iterations.
        rate: at the start.
        period: iterations of the cosines.

    Raises:
        ValueError: an unknown name or a period below 1.
    """
    if name not in NAMES:
        raise ValueError(
            f"scheduler_type: expected one of {', '.join(NAMES)}, got {name!r}"
        )
    if period < 1:
        raise ValueError(f"scheduler_period: expected 1 or more, got {period}")

    def schedule(count: Any) -> Any:
        # iterations since the last repetition: float32 keeps them exactly
        along = jnp.asarray(count) % (2 * period if name == "cos" else period)
        wave = (1 + jnp.cos(math.pi * along.astype(jnp.float32) / period)) / 2
        passed = jnp.asarray(count).astype(jnp.float32)
        factor = {
            "constant": lambda: jnp.ones_like(wave),
            "cos": lambda: LEAST + (1 - LEAST) * wave,
            "warm-cos": lambda: LEAST + (1 - LEAST) * wave,
            "exp": lambda: jnp.exp(passed * math.log1p(-EXP_DECAY)),
            "step": lambda: STEP_DECAY ** jnp.floor(passed / STEP_LENGTH),
        }[name]()
        return rate * factor

    return schedule
