"""Scores of whole sets, from the probabilities of all their pairs at once."""

import numpy as np
import pytest

from jaxphys.gdynet.analysis.set_scores import set_scores
from jaxphys.gdynet.batches import eval_batches
from jaxphys.gdynet.data.dataset import all_pairs, from_arrays
from jaxphys.gdynet.inference.predict import Predictor
from jaxphys.gdynet.training import step
from tests.gdynet import networks
from tests.gdynet.oracles import arrays_of

TAU = 3


def vamp2(x, y):
    """Returns the VAMP-2 score of rows of probabilities without their means."""
    x, y = (np.asarray(a, np.float64) for a in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    # probabilities sum to one: one eigenvalue is 0
    inverses = [np.linalg.pinv(a.T @ a, 1e-6, hermitian=True) for a in (x, y)]
    return np.trace(inverses[0] @ (x.T @ y) @ inverses[1] @ (y.T @ x))


@pytest.mark.parametrize("batch_size", [5, 64])
def test_scores_are_those_of_all_pairs_whatever_the_batches(batch_size):
    arrays = arrays_of(frames=60, atoms=networks.ATOMS, n_nbrs=4, directions=True)
    data = from_arrays(arrays, "toy")
    model, pairs = networks.network(), all_pairs(data, TAU)
    variables = networks.variables(model)
    lobes = step.Lobes(
        model, data.atom_types, data.target_index, "shared", 1e-6, "trunc"
    )
    batches = eval_batches(data, pairs, batch_size, directions=True)
    (name,) = lobes.names
    found = set_scores(lobes, {name: variables}, {"val": batches})
    (p,) = Predictor(model, variables, data.atom_types, data.target_index, 4).predict(
        data
    )
    rows = [part.reshape(-1, part.shape[-1]) for part in (p[:-TAU], p[TAU:])]
    # sums of a batch are in float32
    assert found["val_vamp2"] == pytest.approx(vamp2(*rows), rel=1e-3)
    assert set(found) == {
        f"val_{key}" for key in ("vamp1", "vamp2", "vampe", "static", "centred")
    }
