"""The description of a network: defaults, refusals, and what it makes of events."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.model.model import parameter_count
from jaxphys.hidden_vertex.training.network import (
    Network,
    Rows,
    bytes_on_device,
    evaluate,
)
from tests.hidden_vertex.samples import lhco_rows, write_lhco

KINDS = {
    "seed": {"kind": "seed"},
    "seed_mlp": {"kind": "seed", "encoder_mlp": (32,), "decoder_hidden": (32, 64)},
    "node": {"kind": "node"},
    "node_knn": {"kind": "node", "graph": "knn"},
    "jets": {"kind": "conditional", "view": "jets"},
    "event": {"kind": "conditional", "view": "event"},
    "event_nll": {"kind": "conditional", "view": "event", "loss": "nll"},
    "gcn": {"kind": "conditional", "view": "gcn"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sizes = np.random.default_rng(0).integers(5, 30, 40)
    path = write_lhco(folder / "events.h5", lhco_rows(sizes))
    recipe = Reading().recipe(("knn", "radius", "jets", "event"))
    return prepare(path, folder / "store", recipe)


@pytest.mark.parametrize("name", KINDS)
def test_network_survives_being_written_down(name):
    network = Network.of(**KINDS[name])
    network = dataclasses.replace(network, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0))
    assert Network.from_json(json.loads(json.dumps(network.to_json()))) == network


@pytest.mark.parametrize(
    ("name", "count"),
    [("seed", 3565), ("node", 420), ("jets", 22088), ("seed_mlp", 6381)],
)
def test_defaults_have_the_published_number_of_parameters(name, count):
    assert parameter_count(Network.of(**KINDS[name]).init(jax.random.key(0))) == count


@pytest.mark.parametrize("name", KINDS)
def test_evaluation_does_not_depend_on_the_size_of_batches(store, name):
    network = Network.of(**KINDS[name])
    params = network.init(jax.random.key(1))
    positions = np.array([7, 3, 20, 33, 1])
    whole = evaluate(network, params, store, positions, 256)
    parts = evaluate(network, params, store, positions, 2)
    assert whole["score"].shape == (5,)
    for key in ("score", "code", "loss"):
        np.testing.assert_allclose(parts[key], whole[key], rtol=2e-5, atol=2e-6)
    alone = evaluate(network, params, store, positions[2:3])
    np.testing.assert_allclose(alone["score"], whole["score"][2:3], rtol=2e-5)


@pytest.mark.parametrize("name", KINDS)
def test_events_on_the_device_are_the_events_on_disk(store, name):
    network = Network.of(**KINDS[name])
    positions = np.arange(0, 40, 3)
    rows = np.arange(len(positions), dtype=np.int32)
    disk, device = (
        network.batches(store, positions, 4, lambda epoch: rows, on_device=on)
        for on in (False, True)
    )
    held = jax.tree.map(jnp.asarray, device.resident(0))
    for index in range(disk.num_batches(0)):
        want = disk.expand(None, disk.batch(0, index, slice(None)))
        got = device.expand(held, device.batch(0, index, slice(None)))
        assert set(got) == set(want)
        for key, value in want.items():
            np.testing.assert_allclose(got[key], value, rtol=1e-6, atol=1e-6)


def test_standardised_features_reach_the_network(store):
    network = Network.of("node", graph="knn")
    rows = np.arange(4, dtype=np.int32)
    plain = network.batches(store, rows, 4, lambda epoch: rows)
    moved = dataclasses.replace(network, mean=(1.0, 0.5, 0.0), std=(2.0, 1.0, 4.0))
    other = moved.batches(store, rows, 4, lambda epoch: rows)
    before, after = (b.batch(0, 0, slice(None)) for b in (plain, other))
    real = before["graph_index"][0] < 4
    want = (before["x"][0][real] - [1.0, 0.5, 0.0]) / [2.0, 1.0, 4.0]
    np.testing.assert_allclose(after["x"][0][real], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"kind": "seed", "loss": "nll"}, "--loss"),
        ({"kind": "conditional", "loss": "mse"}, "--loss"),
        ({"kind": "conditional", "view": "gcn", "loss": "mse"}, "--loss"),
        ({"kind": "seed", "score": "nll"}, "--score"),
        ({"kind": "conditional", "score": "error"}, "--score"),
        ({"kind": "conditional", "hidden": (8, 4)}, "--hidden_layers"),
        ({"kind": "conditional", "dropout": 0.2}, "--dropout"),
        ({"kind": "node", "hidden": (8, 4, 2)}, "--hidden_layers"),
        ({"kind": "node", "decoder_hidden": (8,)}, "--decoder_hidden"),
        ({"kind": "vae"}, "--model"),
        ({"kind": "conditional", "view": "side"}, "--view"),
    ],
)
def test_choices_that_do_not_go_together_are_refused_with_the_flag(choices, named):
    with pytest.raises(ValueError, match=named):
        Network.of(**choices)


def test_store_without_what_the_network_sees_is_refused(store):
    rows = np.arange(4, dtype=np.int32)
    bare = dataclasses.replace(store, jets=None)
    with pytest.raises(ValueError, match="--contents=jets"):
        Network.of("conditional").batches(bare, rows, 4, lambda epoch: rows)


def test_rows_are_those_of_the_positions():
    array = np.arange(30).reshape(10, 3)
    rows = Rows(array, np.array([8, 2, 5]))
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[np.array([2, 0])], array[[5, 8]])


def test_size_on_the_device_is_that_of_the_arrays(store):
    positions = np.array([0, 4])
    particles = int(store.sizes[positions].sum())
    jets = bytes_on_device(Network.of("conditional"), store, positions)
    graphs = bytes_on_device(Network.of("seed"), store, positions)
    assert jets == 2 * 2 * 48 * 3 * 4
    assert graphs == particles * (12 + 12 + 2 * 6)
