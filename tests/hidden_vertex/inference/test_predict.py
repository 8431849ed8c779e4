"""A run is loaded with what its scores are measured against."""

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.inference import predict
from jaxphys.hidden_vertex.training.network import Network
from tests.hidden_vertex.samples import lhco_rows, write_lhco


@pytest.fixture(scope="module")
def rows():
    return lhco_rows([8, 1, 30, 12, 7, 22, 9, 14])


@pytest.fixture(scope="module")
def store(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = write_lhco(folder / "events.h5", rows)
    return prepare(path, folder / "store", Reading().recipe(("jets", "radius")))


def detector_of(store, positions, **choices):
    network = Network.of(**choices)
    params = network.init(jax.random.key(0))
    statistics = predict.statistics_of(network, params, store, positions)
    return predict.Detector(network, params, statistics)


def test_scores_of_training_events_are_standardised(store):
    positions = np.arange(len(store))
    detector = detector_of(store, positions, kind="conditional")
    scored = detector.predict(store)
    assert scored.code is not None
    assert scored.code.shape == (8, 2, 6)
    np.testing.assert_allclose(scored.scores["combined"].mean(), 0, atol=1e-9)
    nll = scored.scores["nll"]
    latent = np.log(scored.scores["latent"])
    want = (nll - nll.mean()) / nll.std() + (latent - latent.mean()) / latent.std()
    np.testing.assert_allclose(scored.scores["combined"], want, rtol=1e-9)


def test_scores_do_not_depend_on_the_other_events(store):
    detector = detector_of(store, np.arange(6), kind="conditional")
    whole = detector.predict(store)
    some = detector.predict(store, [5, 2])
    np.testing.assert_array_equal(some.event_id, [5, 2])
    np.testing.assert_allclose(some.score, whole.score[[5, 2]], rtol=1e-5)
    for name, values in whole.observables.items():
        np.testing.assert_array_equal(some.observables[name], values[[5, 2]])


def test_file_store_and_folder_score_alike(store, rows, tmp_path):
    detector = detector_of(store, np.arange(6), kind="conditional")
    path = write_lhco(tmp_path / "again.h5", rows)
    want = detector.predict(store).score
    np.testing.assert_allclose(detector.predict(path).score, want, rtol=1e-6)
    np.testing.assert_allclose(detector.predict(store.folder).score, want, rtol=1e-6)


def test_event_below_the_least_particles_is_named(store):
    detector = detector_of(store, np.array([0, 2, 3]), kind="node")
    with pytest.raises(ValueError, match=r"event 1: expected at least 2"):
        detector.predict(store)


def test_table_has_a_row_per_event_and_a_column_per_score(store, tmp_path):
    scored = detector_of(store, np.arange(8), kind="conditional").predict(store)
    predict.write_prediction(tmp_path / "scores.parquet", scored)
    table = pq.read_table(tmp_path / "scores.parquet")
    wanted = {"event_id", "label", "size", "score", "code", "mjj", "score_nll"}
    assert wanted <= set(table.column_names)
    np.testing.assert_array_equal(table["score_nll"], scored.scores["nll"])
    code = np.array(table["code"].to_pylist())
    assert scored.code is not None
    np.testing.assert_allclose(code, scored.code.reshape(8, 12), rtol=1e-6)


@pytest.mark.parametrize("missing", [predict.NETWORK_FILE, predict.STATISTICS_FILE])
def test_run_that_has_not_come_to_its_end_is_refused(store, tmp_path, missing):
    detector = detector_of(store, np.arange(8), kind="conditional")
    predict.save_network(tmp_path, detector.network, detector.reading)
    predict.save_statistics(tmp_path, {"best": detector.statistics}, 3)
    (tmp_path / missing).unlink()
    with pytest.raises(ValueError, match=missing):
        predict.load(tmp_path)
