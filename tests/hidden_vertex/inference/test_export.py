"""Exported programs give the scores of the detector."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import export as jax_export

from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.inference import export, predict
from jaxphys.hidden_vertex.physics.graphs import features
from jaxphys.hidden_vertex.training.network import Network
from tests.hidden_vertex.samples import lhco_rows, write_lhco


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sizes = np.random.default_rng(0).integers(5, 30, 24)
    path = write_lhco(folder / "events.h5", lhco_rows(sizes))
    return prepare(path, folder / "store", Reading().recipe(("knn", "radius", "jets")))


def detector_of(store, **choices):
    network = Network.of(**choices)
    params = network.init(jax.random.key(2))
    statistics = predict.statistics_of(network, params, store, np.arange(20))
    return predict.Detector(network, params, statistics)


def called(detector, *inputs):
    data = export.stablehlo(detector)
    return jax_export.deserialize(bytearray(data)).call(*inputs)


def compare(found, scored):
    assert set(found) == {*scored.scores, "code"}
    for name, values in scored.scores.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found["code"], scored.code, rtol=1e-4, atol=1e-5)


def test_program_of_jets_gives_the_scores_of_any_number_of_events(store):
    detector = detector_of(store, kind="conditional")
    for positions in (np.arange(24), np.array([3])):
        jets = np.asarray(store.jets[positions])
        compare(called(detector, jets), detector.predict(store, positions))


@pytest.mark.parametrize("kind", ["seed", "node"])
def test_program_of_graphs_gives_the_scores(store, kind):
    detector = detector_of(store, kind=kind)
    x = features(np.asarray(store.x))
    sizes = store.sizes
    graph = np.repeat(np.arange(24), sizes).astype(np.int32)
    if kind == "seed":
        start = np.repeat(np.asarray(store.offset[:-1]), sizes)[:, None]
        near = np.asarray(store.neighbour).astype(np.int64)
        own = np.arange(len(x))[:, None]
        edges = [np.where(near == 65535, own, near + start).astype(np.int32)]
    else:
        count = np.diff(store.edge_offset)
        start = np.repeat(np.asarray(store.offset[:-1]), count)[:, None]
        edges = list((np.asarray(store.edge) + start).astype(np.int32).T)
    found = called(detector, x, graph, sizes.astype(np.int32), *edges)
    compare(found, detector.predict(store))


def test_program_does_not_depend_on_the_loss(store):
    plain = detector_of(store, kind="seed")
    other = dataclasses.replace(plain, network=Network.of("seed", loss="chamfer"))
    x = features(np.asarray(store.x))
    sizes = store.sizes.astype(np.int32)
    graph = np.repeat(np.arange(24, dtype=np.int32), sizes)
    near = np.tile(np.arange(len(x), dtype=np.int32)[:, None], 6)  # no neighbours
    inputs = (x, graph, sizes, near)
    np.testing.assert_array_equal(
        called(other, *inputs)["error"], called(plain, *inputs)["error"]
    )


def test_files_hold_the_program_and_the_original_names_of_the_weights(store, tmp_path):
    paths = export.write(tmp_path, detector_of(store, kind="seed"))
    assert [path.name for path in paths] == [
        "network.stablehlo",
        "torch_state_dict.npz",
    ]
    with np.load(paths[1]) as arrays:
        assert arrays["conv1.lin.weight"].shape == (64, 3)
        assert arrays["node_reconstructor.weight"].shape == (3, 64)
    jets = export.write(tmp_path / "jets", detector_of(store, kind="conditional"))
    assert [path.name for path in jets] == ["network.stablehlo"]
