"""The exported program gives the probabilities of the predictor."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

from jaxphys.gdynet.inference import export, predict
from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.training import step

TYPES, TARGETS = np.array([3, 16, 16, 8]), np.array([0, 3])


@pytest.mark.parametrize("variant", ["vanilla", "ferro"])
def test_program_gives_the_probabilities_of_any_number_of_frames(variant):
    lobes = step.Lobes(GDyNet(6, 2, 3, 8, variant=variant), TYPES, TARGETS)
    variables = step.initial_variables(jax.random.key(0), lobes)["lobe_0"]
    predictor = predict.Predictor(lobes.model, variables, TYPES, TARGETS, 3)
    data = export.stablehlo(predictor)
    rng = np.random.default_rng(0)
    for frames in (1, 5):
        arrays = [
            rng.integers(0, 4, (frames, 4, 3)).astype(np.int32),
            rng.uniform(1, 6, (frames, 4, 3)).astype(np.float32),
        ]
        if variant == "ferro":
            arrays.append(rng.normal(size=(frames, 4, 3)).astype(np.float32))
        found = jax_export.deserialize(bytearray(data)).call(*arrays)
        np.testing.assert_allclose(found, predictor.probabilities(*arrays), rtol=1e-5)
