"""All muons of all events are generated, whatever the chunks."""

import jax
import numpy as np
import pytest

from jaxphys.cr_muons.inference import sampling
from jaxphys.cr_muons.training import step
from tests.cr_muons.gan_batches import SMALL
from tests.cr_muons.recipes import NEW as RECOMMENDED

LAW = RECOMMENDED.replace(latent_dim_global=4, latent_dim_local=3, hidden_dim=8)
CONDITIONS = np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32)


def weights(settings):
    return step.initial_params(jax.random.key(0), settings)["generator"]


def test_chunks_do_not_change_a_muon():
    params = weights(LAW)
    number, features = sampling.sample(params, CONDITIONS, settings=LAW, seed=3)
    assert number.sum() == len(features)
    assert np.all(np.isfinite(features))
    same, again = sampling.sample(
        params,
        CONDITIONS,
        settings=LAW,
        seed=3,
        num_muons=number,
        events_per_call=1024,
        muons_per_call=1024,
    )
    np.testing.assert_array_equal(same, number)
    np.testing.assert_allclose(again, features, atol=1e-6)


def test_a_giant_event_is_not_cut_short():
    number = np.zeros(1500, np.int32)
    number[[3, 700]] = [5000, 2]
    found, features = sampling.sample(
        weights(LAW), CONDITIONS, settings=LAW, num_muons=number, muons_per_call=1024
    )
    assert len(features) == 5002
    np.testing.assert_array_equal(found, number)
    assert len(np.unique(features, axis=0)) == 5002


def test_seeds_differ_and_repeat():
    params = weights(LAW)
    one, other, again = (
        sampling.sample(params, CONDITIONS, settings=LAW, seed=s) for s in (0, 1, 0)
    )
    assert not np.array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], again[1])


def test_a_prediction_gives_every_event_its_number():
    number, _ = sampling.sample(weights(SMALL), CONDITIONS, settings=SMALL)
    assert set(number.tolist()) <= {1, 2, 3}


def test_no_event_and_no_muon_are_allowed():
    params = weights(LAW)
    number, features = sampling.sample(params, CONDITIONS[:0], settings=LAW)
    assert (number.shape, features.shape) == ((0,), (0, 3))
    none = np.zeros(1500, int)
    _, features = sampling.sample(params, CONDITIONS, settings=LAW, num_muons=none)
    assert features.shape == (0, 3)


def test_wrong_tables_are_refused():
    with pytest.raises(ValueError, match="conditions: expected"):
        sampling.sample(weights(LAW), CONDITIONS[:, :3], settings=LAW)
    with pytest.raises(ValueError, match="num_muons: expected"):
        sampling.sample(
            weights(LAW), CONDITIONS, settings=LAW, num_muons=np.full(1500, -1)
        )
