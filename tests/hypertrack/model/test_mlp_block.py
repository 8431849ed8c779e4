"""Blocks whose normalisation is taken up by the map that follows."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.model.batch_norm import COLLECTION
from jaxphys.hypertrack.model.mlp_block import Linear, MLPBlock, Normed


def test_a_map_takes_up_a_pending_normalisation():
    rng = np.random.default_rng(0)
    x = Normed(*(jnp.asarray(rng.normal(size=s)) for s in ((6, 4), (4,), (4,))))
    layer = Linear(4, 3)
    variables = layer.init(jax.random.key(0), x.rows)
    got, expected = (cast(Any, layer.apply(variables, v)) for v in (x, x.value))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_product_replaces_the_rows():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))
    block = MLPBlock((4, 6, 2), last_act=False)
    weight = jnp.ones(5)
    variables = block.init(jax.random.key(0), x, False, weight)
    found = [
        block.apply(variables, given, True, weight, mutable=[COLLECTION])[0]
        for given in (x, lambda kernel: x @ kernel)
    ]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_all_layers_but_a_linear_last_one_are_normalised():
    x, weight = jnp.ones((3, 4)), jnp.ones(3)
    for last_act, expected in ((True, {"norm_0", "norm_1"}), (False, {"norm_0"})):
        block = MLPBlock((4, 6, 2), last_act=last_act)
        stats = block.init(jax.random.key(0), x, False, weight)["batch_stats"]
        assert set(stats) == expected
