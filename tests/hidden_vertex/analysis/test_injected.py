"""Scores of events with a particle that was made harder."""

import jax
import numpy as np
import pytest

from jaxphys.hidden_vertex.analysis.injected import injected_scores
from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.inference import predict
from jaxphys.hidden_vertex.training.network import Network
from tests.hidden_vertex.samples import lhco_rows, write_lhco


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = write_lhco(folder / "events.h5", lhco_rows([8, 4, 30, 12, 7, 22, 9, 14]))
    return prepare(path, folder / "store", Reading().recipe(("jets",)))


@pytest.fixture(scope="module")
def detector(store):
    network = Network.of(kind="conditional")
    params = network.init(jax.random.key(0))
    statistics = predict.statistics_of(network, params, store, np.arange(len(store)))
    return predict.Detector(network, params, statistics)


def test_without_strength_the_scores_are_those_of_the_events(store, detector, tmp_path):
    positions = np.array([4, 0, 3])
    found = injected_scores(detector, store, positions, 0.0, 1, tmp_path / "store")
    plain = detector.predict(store, positions).score
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)


def test_a_harder_particle_changes_the_score_and_leaves_no_files(
    store, detector, tmp_path
):
    folder, positions = tmp_path / "store", np.arange(8)
    folder.mkdir()
    (folder / "left").write_text("by a run that was killed")
    found = injected_scores(detector, store, positions, 2.0, 1, folder)
    plain = detector.predict(store, positions).score
    assert np.mean(np.abs(found - plain) > 1e-3) > 0.5
    assert not folder.exists()
