import jax
import numpy as np

from jaxphys.hypertrack.inference.transformer_masks import transformer_masks
from jaxphys.hypertrack.model.set_transformer import SetTransformer


def test_probabilities_are_those_of_the_rows_that_are_asked_for():
    transformer = SetTransformer(in_features=5, h_dim=8, nstack_dec=0, num_heads=2)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5)).astype(np.float32)
    rows, pivots = rng.integers(0, 30, (2, 9)), rng.integers(0, 30, (2, 3))
    mask = np.arange(9) < np.array([[9], [4]])
    init, apply = jax.jit(transformer.init), jax.jit(transformer.apply)
    params = init(jax.random.key(0), features[rows], features[pivots], mask)["params"]
    masks = transformer_masks(transformer, params, features)
    got = masks(rows, mask, pivots)
    logits = apply({"params": params}, features[rows], features[pivots], mask)
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-np.asarray(logits))), rtol=1e-5)
    # what stands in the padding does not matter
    other = np.where(mask, rows, 7)
    np.testing.assert_allclose(masks(other, mask, pivots)[mask], got[mask], rtol=1e-6)
